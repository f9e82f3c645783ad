import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { DECAY_MS } from "./decay.ts";
import { FleetCost } from "./fleet-cost.ts";

/** Decay is exact to 3 in 10 million, of costs up to 30,000. */
function near(actual: number, expected: number): void {
  assert.ok(Math.abs(actual - expected) <= 0.02 + 1e-5 * expected, `${actual} is not ${expected}`);
}

describe("the mean cost of a fleet", () => {
  it("is that of the costs summed up one by one, whatever was observed when", () => {
    const observation = fc.record({
      peer: fc.nat({ max: 4 }),
      costMs: fc.double({ min: 0, max: 30_000, noNaN: true }),
      afterMs: fc.double({ min: 0, max: 30_000, noNaN: true }),
    });
    fc.assert(
      fc.property(fc.array(observation, { maxLength: 40 }), (observations) => {
        const fleet = new FleetCost();
        const costs = new Array<{ costMs: number; atMs: number }>(5).fill({ costMs: 0, atMs: 0 });
        for (let peer = 0; peer < 5; peer += 1) fleet.join(0, 0);
        let nowMs = 0;
        const costAt = (peer: number): number => {
          const { costMs, atMs } = costs[peer] ?? { costMs: 0, atMs: 0 };
          return costMs * Math.exp(-(nowMs - atMs) / DECAY_MS);
        };
        for (const { peer, costMs, afterMs } of observations) {
          nowMs += afterMs;
          fleet.changedBy(costMs - costAt(peer), nowMs);
          costs[peer] = { costMs, atMs: nowMs };
          const sum = costs.reduce((before, _, each) => before + costAt(each), 0);
          near(fleet.meanMs(nowMs), sum / 5);
        }
      }),
    );
  });

  it("is 0 without peers", () => {
    const fleet = new FleetCost();
    assert.equal(fleet.meanMs(5), 0);
    fleet.join(100, 5);
    assert.equal(fleet.meanMs(5), 100);
    fleet.reset();
    assert.equal(fleet.meanMs(5), 0);
    assert.equal(fleet.count, 0);
  });

  it("is not moved by a clock that goes back", () => {
    const fleet = new FleetCost();
    fleet.join(100, 10_000);
    fleet.changedBy(0, 5_000);
    near(fleet.meanMs(10_000), 100);
    near(fleet.meanMs(20_000), 100 / Math.E);
  });

  it("takes the first answer for usual, follows the later ones slowly, and does not fade", () => {
    const fleet = new FleetCost();
    fleet.answered(100);
    assert.equal(fleet.usualMs, 100);
    fleet.answered(2_000);
    assert.ok(fleet.usualMs > 100 && fleet.usualMs < 200);
    for (let i = 0; i < 1_000; i += 1) fleet.answered(50);
    near(fleet.usualMs, 50);
  });
});
