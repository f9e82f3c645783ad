import assert from "node:assert/strict";
import { test } from "node:test";
import { contenderNames } from "./contender.ts";
import { idleRatios, loadRatios } from "./summary.ts";
import { judge, plans } from "./verdict.ts";

const report = (value: number) =>
  ({ ratios: { "64": { rpsOverGrpcJs: value, spread: { rpsOverGrpcJs: [1, 20] } } } }) as const;

test("a goal is reached at its bound and missed below it", () => {
  const goal = { caseKey: "64", ratio: "rpsOverGrpcJs", atLeast: 14 };
  assert.equal(judge("unary", report(14), goal).passed, true);
  assert.equal(judge("unary", report(13.99), goal).passed, false);
  assert.equal(judge("unary", report(13.99), { ...goal, atLeast: undefined, atMost: 13 }).passed, false);
});

test("what was not measured is missed", () => {
  assert.equal(judge("unary", report(100), { caseKey: "1", ratio: "rpsOverGrpcJs", atLeast: 1 }).passed, false);
  assert.equal(judge("unary", report(100), { caseKey: "64", ratio: "rpsOverFloor", atMost: 1 }).passed, false);
  assert.equal(judge("unary", report(Number.NaN), { caseKey: "64", ratio: "rpsOverGrpcJs", atLeast: 1 }).passed, false);
});

test("every goal asks for a ratio that its run's contenders give", () => {
  for (const plan of plans) {
    for (const { ratio } of plan.goals) {
      const spec = [...loadRatios, ...idleRatios].find(({ name }) => name === ratio);
      assert.ok(spec !== undefined, ratio);
      assert.ok(plan.contenders.includes(spec.of) && plan.contenders.includes(spec.over), `${plan.title} ${ratio}`);
      assert.ok(plan.contenders.every((name) => contenderNames.includes(name)));
    }
  }
});
