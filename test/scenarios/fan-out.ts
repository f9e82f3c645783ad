/**
 * A root call waits for a hundred leaf calls, so that it is as slow as the slowest of them: what is rare at a leaf is usual at the root.
 * The setting of "The Tail at Scale" (Dean and Barroso, CACM 2013): there copies after 10 ms took p99.9 from 1,800 to 74 ms with 2 %
 * more requests.
 */
import type { Policy } from "holdfast";
import { type Cluster, createCluster } from "holdfast/testing";
import type { Random } from "../../src/world/random.ts";
import { seededRandom } from "../../src/world/seeded-random.ts";
import { Bench, type BenchClient, benchHandlers } from "../calls/bench-service.ts";
import { LogNormalMs } from "./draws.ts";
import { type Outcome, openLoop } from "./open-loop.ts";

export interface FanOutPlan {
  readonly seed: number;
  readonly roots: number;
  /** Of the leaf calls. Default the client's own. */
  readonly policy?: Policy<"none"> | undefined;
}

export interface FanOutResult {
  readonly roots: number;
  readonly failed: number;
  readonly examples: readonly string[];
  /** Leaf attempts beyond one for each leaf call. */
  readonly extraShare: number;
  /** Leaf attempts that stalled. */
  readonly stalls: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
}

/** Leaf calls of a root call. */
export const LEAVES = 100;
/** Replicas of the leaf. */
export const LEAF_SERVERS = 20;
/** Root calls a second: 5,000 leaf calls. */
export const ROOTS_PER_SECOND = 50;
/** A root that takes longer than the slowest stall is late. */
const LATE_MS = 2_000;

/** How long a leaf takes: log-normal with median 3 ms and 2 % above 10 ms; and once in 5,000 calls, for no reason, 0.2 to 1.8 s more. */
export class LeafMs {
  stalls: number;
  private readonly random: Random;
  private readonly usual: LogNormalMs;

  constructor(random: Random) {
    this.stalls = 0;
    this.random = random;
    this.usual = new LogNormalMs(random, 3, { share: 0.02, ms: 10 });
  }

  draw(): number {
    const usualMs = this.usual.draw();
    if (this.random.float() >= 2e-4) return usualMs;
    this.stalls += 1;
    return usualMs + 200 + 1_600 * this.random.float();
  }
}

export async function playFanOut({ seed, roots, policy }: FanOutPlan): Promise<FanOutResult> {
  await using cluster = createCluster({ seed });
  const leafMs = new LeafMs(seededRandom(seed));
  serveLeaves(cluster, leafMs);
  const leaf = cluster.client(Bench, "leaf", policy === undefined ? {} : { policy });
  const arrivals = { perSecond: ROOTS_PER_SECOND, forMs: (roots / ROOTS_PER_SECOND) * 1_000, lateMs: LATE_MS };
  const outcome = await openLoop(cluster, arrivals, () => callLeaves(leaf));
  return resultOf(outcome, leaf.$channel.reliability()[0]?.extraLoadShare ?? Number.NaN, leafMs.stalls);
}

function serveLeaves(cluster: Cluster, leafMs: LeafMs): void {
  cluster.serve("leaf", LEAF_SERVERS, (server, index) => {
    const { timers } = cluster.simulation.host(`leaf/${index}`);
    return server.service(Bench, {
      ...benchHandlers,
      add: ({ a, b }) => new Promise((resolve) => timers.schedule(leafMs.draw(), () => resolve({ result: a + b }))),
    });
  });
}

/** Calls all leaves at once, and waits for all of them. */
export async function callLeaves(leaf: BenchClient): Promise<number> {
  const replies = await Promise.all(Array.from({ length: LEAVES }, (_, a) => leaf.add({ a, b: 1 })));
  return replies.reduce((sum, { result }) => sum + result, 0);
}

function resultOf(outcome: Outcome, extraShare: number, stalls: number): FanOutResult {
  return {
    roots: outcome.calls,
    failed: outcome.failed,
    examples: outcome.examples,
    extraShare,
    stalls,
    p50Ms: outcome.quantileMs(0.5),
    p99Ms: outcome.quantileMs(0.99),
    p999Ms: outcome.quantileMs(0.999),
    maxMs: outcome.quantileMs(1),
  };
}
