import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { seededRandom } from "../src/world/seeded-random.ts";
import { slopeOf, without } from "./slope.ts";

const xs = Array.from({ length: 100 }, (_, index) => index * 10);

/** Noise of which each value keeps so much of the one before. */
function noise(seed: number, keeps: number): readonly number[] {
  const random = seededRandom(seed);
  let last = 0;
  return xs.map(() => (last = keeps * last + random.float() - 0.5));
}

describe("a slope", () => {
  it("is exact on a line", () => {
    const { perUnit, within } = slopeOf(
      xs,
      xs.map((x) => 3 * x + 7),
    );
    assert.ok(Math.abs(perUnit - 3) < 1e-12);
    assert.ok(within < 1e-9);
  });

  it("has the true slope within its confidence, whether samples resemble their neighbours or not", () => {
    for (const keeps of [0, 0.7]) {
      let missed = 0;
      for (let seed = 1; seed <= 200; seed += 1) {
        const errors = noise(seed, keeps);
        const { perUnit, within } = slopeOf(
          xs,
          xs.map((x, i) => 0.01 * x + (errors[i] ?? 0)),
        );
        if (Math.abs(perUnit - 0.01) > within) missed += 1;
      }
      assert.ok(missed <= 24, `${missed} of 200 outside at ${keeps}`);
    }
  });

  it("is the same beside another figure that grows meanwhile, once that is taken out of both", () => {
    const beside = noise(7, 0.9).map((value, i) => value + i / 50);
    const ys = xs.map((x, i) => 0.01 * x + 5 * (beside[i] ?? 0));
    assert.ok(slopeOf(xs, ys).perUnit > 0.015);
    assert.ok(Math.abs(slopeOf(without(beside, xs), without(beside, ys)).perUnit - 0.01) < 1e-9);
    assert.deepEqual(without([1, 1, 1], [1, 2, 3]), [1, 2, 3]);
  });

  it("is none of fewer than three points, or of points at one place", () => {
    assert.ok(Number.isNaN(slopeOf([1, 2], [1, 2]).perUnit));
    assert.ok(Number.isNaN(slopeOf([1, 1, 1], [1, 2, 3]).perUnit));
  });
});
