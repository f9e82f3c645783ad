/**
 * One of eleven servers becomes slow, not dead: from 167 ms to 2 s for half a minute. The experiment of "Beyond Round Robin: Load
 * Balancing for Latency" (Linkerd, 2016): within 1 s round robin answered 95 % of the calls, least loaded 99 %, peak EWMA 99.9 %.
 */
import type { Policy, ServerOptions } from "holdfast";
import { createCluster } from "holdfast/testing";
import { seededRandom } from "../../src/world/seeded-random.ts";
import { Bench, benchHandlers } from "../calls/bench-service.ts";
import { normalMs } from "./draws.ts";
import { openLoop } from "./open-loop.ts";

export interface SlowPeerPlan {
  readonly seed: number;
  /** Default the client's own. */
  readonly policy?: Policy<"none"> | undefined;
  /** Default the servers' own. */
  readonly server?: Omit<ServerOptions, "world"> | undefined;
}

/** What one minute of it came to. */
export interface SlowPeerResult {
  readonly calls: number;
  readonly failed: number;
  readonly late: number;
  readonly examples: readonly string[];
  /** Attempts beyond one for each call, as the client counts them. */
  readonly extraShare: number;
  /** Attempts that reached a server; a copy's loser may be cancelled on its way. */
  readonly handled: number;
  /** Attempts that reached the slow server while it was slow, and in the last seconds of the run, when it has long been well again. */
  readonly handledWhileSlow: number;
  readonly handledAtTheEnd: number;
  /** Attempts that the client thinks are in flight when all calls have ended. */
  readonly leftInFlight: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
}

const SERVERS = 11;
const PER_SECOND = 1_000;
const FOR_MS = 60_000;
const MEAN_MS = 167;
const DEVIATION_MS = 5;
const SLOW_MS = 2_000;
const SLOW_FROM_MS = 15_000;
const SLOW_UNTIL_MS = 45_000;
/** From here on the slow server is to have calls again. */
const END_FROM_MS = 55_000;
const TIMEOUT_MS = 1_000;

export async function playSlowPeer({ seed, policy, server: options }: SlowPeerPlan): Promise<SlowPeerResult> {
  await using cluster = createCluster({ seed });
  const { simulation } = cluster;
  const random = seededRandom(seed);
  const slow = seed % SERVERS;
  const handled = { all: 0, whileSlow: 0, atTheEnd: 0 };
  let startMs = 0;
  cluster.serve(
    "shop",
    SERVERS,
    (server, index) => {
      const { timers } = simulation.host(`shop/${index}`);
      const add = ({ a, b }: { readonly a: number; readonly b: number }): Promise<{ result: number }> => {
        const atMs = simulation.nowMs - startMs;
        const isSlow = index === slow && atMs >= SLOW_FROM_MS && atMs < SLOW_UNTIL_MS;
        handled.all += 1;
        if (isSlow) handled.whileSlow += 1;
        if (index === slow && atMs >= END_FROM_MS) handled.atTheEnd += 1;
        const tookMs = isSlow ? SLOW_MS : normalMs(random, MEAN_MS, DEVIATION_MS);
        return new Promise((resolve) => timers.schedule(tookMs, () => resolve({ result: a + b })));
      };
      return server.service(Bench, { ...benchHandlers, add });
    },
    options,
  );
  const client = cluster.client(Bench, "shop", { policy: { ...policy, timeoutMs: TIMEOUT_MS } });
  await cluster.settle(client.$channel.ready());
  startMs = simulation.nowMs;
  const arrivals = { perSecond: PER_SECOND, forMs: FOR_MS, lateMs: TIMEOUT_MS };
  const outcome = await openLoop(cluster, arrivals, (number) => client.add({ a: number, b: 1 }));
  const [row] = client.$channel.reliability();
  return {
    calls: outcome.calls,
    failed: outcome.failed,
    late: outcome.late,
    examples: outcome.examples,
    extraShare: row?.extraLoadShare ?? Number.NaN,
    handled: handled.all,
    handledWhileSlow: handled.whileSlow,
    handledAtTheEnd: handled.atTheEnd,
    leftInFlight: client.$channel.peers().reduce((sum, { inFlight }) => sum + inFlight, 0),
    p50Ms: outcome.quantileMs(0.5),
    p99Ms: outcome.quantileMs(0.99),
    p999Ms: outcome.quantileMs(0.999),
    maxMs: outcome.quantileMs(1),
  };
}
