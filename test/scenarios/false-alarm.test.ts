import assert from "node:assert/strict";
import { it } from "node:test";
import { type Cluster, createCluster } from "holdfast/testing";
import { probe, SafeProbe } from "../simulation/probe-cluster.ts";
import { steadyLoad } from "./steady-load.ts";

/** The rule itself is played for 1,000 hours in src/policy/detect/suspicion-accuracy.test.ts; here it is the whole stack, for as long as CPU allows. */
const HOURS = Number(process.env["HOLDFAST_SCENARIO_HOURS"] ?? 2);
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

/** Peers that are there all the time, behind links that lose segments as TCP shows it: bytes come late, and in order. */
async function callOverLossyLinks(cluster: Cluster, perSecond: number, hours: number): Promise<Alarms> {
  cluster.serve("shop", 1, (server) => probe(server));
  const client = cluster.client(SafeProbe, "shop");
  let condemned = 0;
  let suspected = 0;
  let ejected = 0;
  client.$on("condemned", () => {
    condemned += 1;
  });
  client.$on("suspected", () => {
    suspected += 1;
  });
  client.$on("ejection", () => {
    ejected += 1;
  });
  const load = steadyLoad(cluster.world, perSecond, () => client.unary({}));
  await cluster.advance(hours * HOUR_MS);
  load.stop();
  await cluster.settle(load.drained());
  const { begun, failures, slowestMs } = load.tally;
  return { condemned, suspected, ejected, failures: failures.map(String), calls: begun, slowestMs };
}

for (const perSecond of [1, 10]) {
  it(`condemns a peer behind 1 % loss at most ${PER_100_HOURS_MAX} times in 100 hours, at ${perSecond} calls/s`, async (context) => {
    // A tenth of the rate gives ten times the hours for the same work.
    const hours = HOURS * (10 / perSecond);
    await using cluster = createCluster({ seed: 1, link: { lossShare: 0.01 } });
    const t = performance.now();
    const alarms = await callOverLossyLinks(cluster, perSecond, hours);
    console.log(hours, JSON.stringify(alarms), performance.now() - t);
    assert.ok(alarms.condemned * 100 <= PER_100_HOURS_MAX * hours, `${alarms.condemned} times in ${hours} hours`);
  });
}
