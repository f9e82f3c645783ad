import assert from "node:assert/strict";
import { it } from "node:test";
import { createCluster } from "holdfast/testing";
import { pause, probe, SafeProbe } from "../simulation/probe-cluster.ts";
import { AttemptLog } from "./attempt-log.ts";
import { steadyLoad } from "./steady-load.ts";

const PEERS = 5;
const CALLS_PER_SECOND = 500;
const SILENT_MS = 4_000;
/** Slow start takes 5 s, and half of the share is due after half of that; redialling may take 1 s. */
const HALF_MS = 3_500;

for (const [name, isPartition] of [
  ["stopped for 4 s", false],
  ["cut off for 4 s", true],
] as const) {
  it(`gives a peer that was ${name} its share again with slow start, and not before`, async () => {
    await using cluster = createCluster({ seed: 3 });
    cluster.serve("shop", PEERS, (server, index) => {
      const world = cluster.simulation.host(`shop/${index}`);
      return probe(server, {
        unary: async ({ body }, call) => {
          await pause(world, 2, call.signal);
          return { body };
        },
      });
    });
    const client = cluster.client(SafeProbe, "shop");
    const log = new AttemptLog(client, cluster.simulation, cluster.world);
    const load = steadyLoad(cluster.world, CALLS_PER_SECOND, () => client.unary({}));
    await cluster.advance(2_000);
    const forMs = SILENT_MS;
    cluster.inject(
      isPartition
        ? { kind: "partition", between: ["client", "shop/0"], forMs }
        : { kind: "freeze", peer: "shop/0", forMs },
    );
    await cluster.advance(SILENT_MS);
    const backMs = cluster.simulation.nowMs;
    await cluster.advance(HALF_MS + 2_000);
    load.stop();
    await cluster.settle(load.drained());
    assert.deepEqual(load.tally.failures, []);
    const victim = cluster.target("shop")[0] as string;
    const shareIn = (fromMs: number, untilMs: number): number => {
      const all = log.attempts.filter(({ startedMs }) => startedMs >= fromMs && startedMs < untilMs);
      return (all.filter(({ address }) => address === victim).length * PEERS) / all.length;
    };
    const atFirst = shareIn(backMs, backMs + 500);
    assert.ok(atFirst < 0.5, `${atFirst} of its share at once`);
    const later = shareIn(backMs + HALF_MS, backMs + HALF_MS + 2_000);
    // A thousand picks are counted: two standard errors of a tenth of them are a tenth of the share.
    assert.ok(later >= 0.4, `${later} of its share after ${HALF_MS} ms`);
  });
}
