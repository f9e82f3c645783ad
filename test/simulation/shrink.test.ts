import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import type { PlannedFault } from "./fault-plan.ts";
import { keptFaults, shrink } from "./shrink.ts";
import { commandOf } from "./simulate.ts";
import { planUniverse, reducedPlan, type UniversePlan } from "./universe-plan.ts";

function planOf(count: number): UniversePlan {
  const faults: PlannedFault[] = Array.from({ length: count }, (_, index) => ({
    kind: "stall",
    peer: "shop/0",
    atMs: index,
    stallMs: 1,
  }));
  return { ...planUniverse(1), stormMs: 16_000, faults };
}

test("leaves exactly the faults that are needed, whichever they are", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 30 }),
      fc.uniqueArray(fc.nat(29), { maxLength: 4 }),
      async (count, places) => {
        const plan = planOf(count);
        const needed = places.filter((place) => place < count);
        const fails = async ({ faults }: UniversePlan): Promise<boolean> =>
          needed.every((place) => faults.some(({ atMs }) => atMs === place));
        const { plan: small, plays } = await shrink(plan, fails, 500);
        assert.deepEqual(
          keptFaults(plan, small),
          [...needed].sort((left, right) => left - right),
        );
        assert.ok(plays <= 500);
      },
    ),
  );
});

test("halves the storm as long as it still fails", async () => {
  const { plan } = await shrink(planOf(3), async ({ stormMs }) => stormMs >= 3000);
  assert.equal(plan.stormMs, 4000);
  assert.equal(plan.faults.length, 0);
});

test("takes out again what a shorter storm makes superfluous", async () => {
  // Needed in a long storm, not in a short one.
  const fails = async ({ stormMs, faults }: UniversePlan): Promise<boolean> => stormMs <= 8000 || faults.length >= 2;
  const { plan } = await shrink(planOf(2), fails);
  assert.deepEqual([plan.faults.length, plan.stormMs], [0, 125]);
});

test("gives back the plan itself when nothing smaller fails, and stops at its limit", async () => {
  const plan = planOf(8);
  let plays = 0;
  const only = async (candidate: UniversePlan): Promise<boolean> => {
    plays += 1;
    return candidate === plan;
  };
  assert.deepEqual(await shrink(plan, only, 5), { plan, plays: 5 });
  assert.equal(plays, 5);
});

test("names the command that plays the smaller plan again", () => {
  const whole = planUniverse(5);
  assert.equal(commandOf(whole, whole, undefined), "npm run simulate -- --seed 5");
  const [first, , third] = whole.faults as [PlannedFault, PlannedFault, PlannedFault];
  const small = reducedPlan(planUniverse(5), [{ ...first }, { ...third }], 8000);
  assert.deepEqual(keptFaults(whole, small), [0, 2].slice(0, small.faults.length));
  assert.match(
    commandOf(whole, small, "some-bug"),
    /^npm run simulate -- --bug some-bug --seed 5 --keep 0(,2)? --storm-ms 8000$/,
  );
  assert.match(commandOf(whole, reducedPlan(whole, [], 8000), undefined), / --keep none /);
});
