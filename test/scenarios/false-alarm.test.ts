import assert from "node:assert/strict";
import { it } from "node:test";
import { createCluster } from "holdfast/testing";
import { probe, SafeProbe } from "../simulation/probe-cluster.ts";
import { steadyLoad } from "./steady-load.ts";

/**
 * The rule itself is played for 1,000 hours in src/policy/detect/suspicion-accuracy.test.ts; this is the whole stack, for as long as CPU
 * allows. `HOLDFAST_SCENARIO_HOURS` says how long at 10 calls/s; at 1 call/s it is ten times that, for the same work.
 */
const HOURS = Number(process.env["HOLDFAST_SCENARIO_HOURS"] ?? 1);
const HOUR_MS = 3_600_000;
const PER_100_HOURS_MAX = 10;

interface Alarms {
  readonly condemned: number;
  readonly suspected: number;
  readonly ejected: number;
  readonly failures: readonly string[];
  readonly calls: number;
  readonly slowestMs: number;
}

/** A peer that is there all the time, behind links that lose segments as TCP shows it: bytes come late, and in order. */
async function callOverLossyLinks(lossShare: number, perSecond: number, hours: number): Promise<Alarms> {
  await using cluster = createCluster({ seed: 1, link: { lossShare } });
  cluster.serve("shop", 1, (server) => probe(server));
  const client = cluster.client(SafeProbe, "shop");
  const heard = { condemned: 0, suspected: 0, ejection: 0 };
  for (const name of ["condemned", "suspected", "ejection"] as const) {
    client.$on(name, () => {
      heard[name] += 1;
    });
  }
  const load = steadyLoad(cluster.world, perSecond, () => client.unary({}));
  await cluster.advance(hours * HOUR_MS);
  load.stop();
  await cluster.settle(load.drained());
  const { begun, failures, slowestMs } = load.tally;
  const { condemned, suspected, ejection } = heard;
  return { condemned, suspected, ejected: ejection, failures: failures.map(String), calls: begun, slowestMs };
}

for (const perSecond of [1, 10]) {
  it(`condemns a peer behind 1 % loss at most ${PER_100_HOURS_MAX} times in 100 hours, and loses no call, at ${perSecond} calls/s`, async (context) => {
    const hours = (HOURS * 10) / perSecond;
    const alarms = await callOverLossyLinks(0.01, perSecond, hours);
    const { condemned, suspected, ejected, failures, calls, slowestMs } = alarms;
    context.diagnostic(`${hours} hours, ${calls} calls: ${suspected} times suspected, ${condemned} condemned`);
    assert.ok(condemned * 100 <= PER_100_HOURS_MAX * hours, `${condemned} times in ${hours} hours`);
    assert.equal(ejected, 0);
    assert.deepEqual(failures, []);
    assert.ok(slowestMs > 200, "a segment was lost");
  });
}

it("is a scenario that shows wrong condemnations where loss is worse: some in an hour at 20 %", async () => {
  const { condemned } = await callOverLossyLinks(0.2, 2, 1);
  assert.ok(condemned > 0);
});
