import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Cluster, createCluster, type Injection } from "holdfast/testing";
import { pause, probe, SafeProbe } from "../simulation/probe-cluster.ts";
import { AttemptLog } from "./attempt-log.ts";
import { type LoadTally, steadyLoad } from "./steady-load.ts";

const STALL_MS = 1_000;
const WARM_MS = 2_000;

interface Stalled {
  readonly log: AttemptLog;
  readonly tally: LoadTally;
  readonly peers: number;
  /** Health of the peers 100 ms after the stall, other than "ready". */
  readonly soonAfter: readonly string[];
}

/** A client under load whose process does nothing for a while. */
async function stall(
  size: number,
  seed: number,
  faults: readonly Injection[],
  options: { readonly timeoutMs?: number; readonly serverMs?: number } = {},
): Promise<Stalled> {
  const { timeoutMs = 5_000, serverMs = 5 } = options;
  await using cluster = createCluster({ seed });
  serve(cluster, size, serverMs);
  const client = cluster.client(SafeProbe, "shop", { policy: { timeoutMs } });
  const log = new AttemptLog(client, cluster.simulation, cluster.world);
  const load = steadyLoad(cluster.world, 20 * size, () => client.unary({}));
  await cluster.advance(WARM_MS + cluster.world.random.float() * 100);
  cluster.inject(...faults);
  await cluster.advance(STALL_MS + 100);
  const soonAfter = client.$channel
    .peers()
    .filter(({ health }) => health !== "ready")
    .map(({ address, health, why }) => `${address} ${health}: ${why}`);
  await cluster.advance(5_000);
  load.stop();
  await cluster.settle(load.drained());
  return { log, tally: load.tally, peers: size, soonAfter };
}

function serve(cluster: Cluster, replicas: number, serverMs: number): void {
  cluster.serve("shop", replicas, (server, index) => {
    const world = cluster.simulation.host(`shop/${index}`);
    return probe(server, {
      unary: async ({ body }, call) => {
        await pause(world, serverMs, call.signal);
        return { body };
      },
    });
  });
}

for (const size of [2, 3, 5, 50]) for (const seed of [1,2,3]) for (const timeoutMs of [500]) for (const serverMs of [5, 250]) for (const vm of [true])
it(`${size}`, async () => {
  const s = await stall(size, seed, [{ kind: "stall", peer: "client", stallMs: STALL_MS }, ...(vm ? [{kind: "partition", between: ["client", "shop"], forMs: STALL_MS} as const] : [])], { timeoutMs, serverMs });
  const n = (name) => s.log.named(name).length;
  console.log("{", size, seed, timeoutMs, serverMs, vm, "ok", s.tally.ok, "fail", s.tally.failures.length, "susp", n("suspected"), "cond", n("condemned"), "ej", n("ejection"), "stall", s.log.named("stall").map(x=>x.why), s.soonAfter.slice(0,2), [...new Set(s.log.attempts.filter(a => a.fault).map(a => a.fault.blame))], [...new Set(s.tally.failures.flatMap(a => a.faults.map(f => f.blame)))]);
});
