import assert from "node:assert/strict";
import { it, type TestContext } from "node:test";
import { createSwitches } from "holdfast/policy";
import { createCluster } from "holdfast/testing";
import { BIN_MS, type Lane, type LaneCounts, Overload, PER_SECOND } from "./overload.ts";

/** `HOLDFAST_SCENARIO_FULL=1`: as many steps as were published, and more seeds. */
const IS_FULL = process.env["HOLDFAST_SCENARIO_FULL"] === "1";
const STEPS = IS_FULL ? 50 : 10;
const SEEDS = IS_FULL ? [1, 2, 3, 4, 5] : [1, 2];
/** Arrivals are what they are: nothing is sent again, and no client holds anything back. */
const RAW = { switches: () => createSwitches({ states: { retry: "off" } }), preset: "none" } as const;

function normal(stretches: Lane["stretches"]): Lane {
  return { priority: "normal", clients: 4, stretches };
}

function failuresOf({ failures }: LaneCounts): string {
  return [...failures].map(([text, count]) => `${count} x ${text}`).join(", ") || "none failed";
}

it("a step from 0.7 to 1.4 times the capacity: good answers are 95 % of the capacity within 100 ms (Breakwater, OSDI 2020, in 10 ms bins)", async (context: TestContext) => {
  const low = { ms: 500, perSecond: 0.7 * PER_SECOND };
  const high = { ms: 500, perSecond: 1.4 * PER_SECOND };
  await using cluster = createCluster({ seed: 1 });
  const overload = new Overload(cluster, 1);
  // A server that has served for a while, as those have that are stepped on.
  await overload.run([normal([{ ms: 5_000, perSecond: 0.7 * PER_SECOND }])], { switches: RAW.switches() }, RAW.preset);
  const steps = Array.from({ length: STEPS }, () => [low, high]).flat();
  const [lane] = await overload.run(
    [{ ...normal(steps), priority: "normal", clients: 5 }],
    { switches: RAW.switches() },
    RAW.preset,
  );
  assert.ok(lane !== undefined);
  const perStep = (low.ms + high.ms) / BIN_MS;
  const shares = Array.from({ length: high.ms / BIN_MS }, (_, bin) => {
    let sum = 0;
    for (let step = 0; step < STEPS; step++) sum += lane.goodBins[step * perStep + low.ms / BIN_MS + bin] ?? 0;
    return sum / STEPS / ((PER_SECOND * BIN_MS) / 1_000);
  });
  const mean = (from: number, until: number): number =>
    shares.slice(from, until).reduce((sum, share) => sum + share, 0) / (until - from);
  const percent = shares.map((share) => (share * 100).toFixed(0)).join(" ");
  context.diagnostic(`% of the capacity in each 10 ms after the step: ${percent}`);
  assert.ok(mean(10, 15) >= 0.95, `100 to 150 ms: ${percent}`);
  assert.ok(mean(10, shares.length) >= 0.95, `from 100 ms on: ${percent}`);
});

it("ten times the capacity: good answers are 90 % of the capacity, however long", async (context: TestContext) => {
  for (const seed of SEEDS) {
    await using cluster = createCluster({ seed });
    const overload = new Overload(cluster, 1);
    const [lane] = await overload.run(
      [
        normal([
          { ms: 3_000, perSecond: 0.7 * PER_SECOND },
          { ms: 3_000, perSecond: 10 * PER_SECOND },
          { ms: 1_000, perSecond: 0.7 * PER_SECOND },
        ]),
      ],
      { switches: RAW.switches() },
      RAW.preset,
    );
    assert.ok(lane !== undefined);
    const [, flood, after] = lane.stretches;
    const share = (flood?.good ?? 0) / (3 * PER_SECOND);
    context.diagnostic(`seed ${seed}: ${(share * 100).toFixed(1)} % of the capacity; ${failuresOf(lane)}`);
    assert.ok(share >= 0.9, `seed ${seed}: ${share}`);
    assert.ok((after?.good ?? 0) >= 0.95 * (after?.offered ?? Infinity), `seed ${seed}: good again at once`);
  }
});

for (const servers of [1, 3]) {
  it(`sheddable calls twelvefold at ${servers === 1 ? "one server" : "three replicas"}: 99.9 % of the critical ones are answered, during and after, with the whole default stack`, async (context: TestContext) => {
    for (const seed of SEEDS) {
      await using cluster = createCluster({ seed });
      const overload = new Overload(cluster, servers);
      const half = 0.5 * PER_SECOND * servers;
      const steady = { ms: 3_000, perSecond: half };
      const sheddable = { ms: 3_000, perSecond: 0.25 * PER_SECOND * servers };
      const [critical, other] = await overload.run([
        { priority: "critical", clients: 5, stretches: [steady, steady, steady, steady] },
        {
          priority: "sheddable",
          clients: 5,
          stretches: [sheddable, { ...sheddable, perSecond: 12 * half }, sheddable, sheddable],
        },
      ]);
      assert.ok(critical !== undefined && other !== undefined);
      const shares = critical.stretches.map(({ answered, offered }) => answered / offered);
      const attempts = critical.stretches.map((each) => (each.attempts / each.offered).toFixed(3));
      const text = shares.map((share) => (share * 100).toFixed(2)).join(" ");
      const [, during] = other.stretches;
      const left = (during?.good ?? 0) / (0.5 * servers * PER_SECOND * 3);
      context.diagnostic(
        `seed ${seed}: critical ${text} %, ${attempts.join(" ")} attempts a call, ${failuresOf(critical)}; sheddable ${(left * 100).toFixed(0)} % of what is left; ${failuresOf(other)}; answered ${other.stretches.map((each) => (each.answered / each.offered).toFixed(3)).join(" ")}; begun ${overload.begun.join(" ")}`,
      );
      assert.ok(
        shares.every((share) => share >= 0.999),
        `seed ${seed}: ${text}`,
      );
      // What critical calls leave is not left undone.
      assert.ok(left >= 0.8, `seed ${seed}: sheddable calls get ${left} of what is left`);
      // Clients that were refused hold some back for a second or two yet, but no longer.
      const [, , , last] = other.stretches;
      assert.ok(
        (last?.answered ?? 0) >= 0.99 * (last?.offered ?? Infinity),
        `seed ${seed}: sheddable calls in the end`,
      );
    }
  });
}
