import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { wilsonInterval } from "./wilson.ts";

/** Successes among trials. */
const anySample = fc
  .tuple(fc.integer({ min: 1, max: 1_000_000_000 }), fc.double({ min: 0, max: 1, noNaN: true }))
  .map(([trials, share]) => ({ trials, successes: Math.round(trials * share) }));

describe("Wilson's interval", () => {
  it("is the published one: R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 3", () => {
    const published: readonly (readonly [successes: number, trials: number, low: string, high: string])[] = [
      [81, 263, "0.2553", "0.3662"],
      [15, 148, "0.0624", "0.1605"],
      [0, 20, "0.0000", "0.1611"],
      [1, 29, "0.0061", "0.1718"],
    ];
    for (const [successes, trials, ...bounds] of published)
      assert.deepEqual(
        wilsonInterval(successes, trials).map((bound) => bound.toFixed(4)),
        bounds,
      );
  });

  it("says nothing without trials, and little after one", () => {
    assert.deepEqual(wilsonInterval(0, 0), [0, 1]);
    const [low, high] = wilsonInterval(1, 1);
    assert.ok(low > 0.2 && low < 0.21 && high === 1);
    const [failedLow, failedHigh] = wilsonInterval(0, 1);
    assert.ok(failedLow === 0 && failedHigh > 0.79 && failedHigh < 0.8);
  });

  it("is z²/(n + z²) away from certainty when nothing failed, which is about 3.84 / n", () => {
    for (const trials of [10, 1_000, 1_000_000]) {
      const [low, high] = wilsonInterval(trials, trials);
      assert.ok(Math.abs((1 - low) * (trials + 3.841458820694124) - 3.841458820694124) < 1e-6);
      assert.equal(high, 1);
    }
  });

  it("solves the equation it comes from: each bound is z standard errors of its own from what was seen", () => {
    const sample = fc
      .tuple(fc.integer({ min: 2, max: 1_000_000 }), fc.double({ min: 0, max: 1, noNaN: true }))
      .map(([trials, share]) => ({ trials, successes: 1 + Math.floor(share * (trials - 2)) }));
    fc.assert(
      fc.property(sample, ({ successes, trials }) => {
        for (const bound of wilsonInterval(successes, trials)) {
          const errors = Math.abs(successes / trials - bound) / Math.sqrt((bound * (1 - bound)) / trials);
          assert.ok(Math.abs(errors - 1.959963984540054) < 1e-3, String(errors));
        }
      }),
    );
  });

  it("lies in 0..1, holds what was seen, and mirrors when successes and failures change places", () => {
    fc.assert(
      fc.property(anySample, ({ successes, trials }) => {
        const [low, high] = wilsonInterval(successes, trials);
        const [mirroredLow, mirroredHigh] = wilsonInterval(trials - successes, trials);
        assert.ok(low >= 0 && high <= 1);
        assert.ok(low <= successes / trials && successes / trials <= high);
        assert.ok(Math.abs(low - (1 - mirroredHigh)) < 1e-9);
        assert.ok(Math.abs(high - (1 - mirroredLow)) < 1e-9);
      }),
    );
  });

  it("gets narrower with more of the same", () => {
    fc.assert(
      fc.property(
        fc.nat({ max: 1_000 }),
        fc.integer({ min: 1, max: 1_000 }),
        fc.integer({ min: 2, max: 50 }),
        (k, more, times) => {
          const trials = k + more;
          const [low, high] = wilsonInterval(k, trials);
          const [laterLow, laterHigh] = wilsonInterval(k * times, trials * times);
          assert.ok(laterHigh - laterLow < high - low);
        },
      ),
    );
  });

  it("refuses what cannot have been seen", () => {
    assert.throws(() => wilsonInterval(3, 2), { name: "RangeError", message: "successes must be 0..2, got 3" });
    assert.throws(() => wilsonInterval(-1, 2), RangeError);
    assert.throws(() => wilsonInterval(Number.NaN, 2), RangeError);
    assert.throws(() => wilsonInterval(0, -1), { name: "RangeError", message: "trials must be 0 or more, got -1" });
    assert.throws(() => wilsonInterval(0, Infinity), RangeError);
    assert.throws(() => wilsonInterval(0, Number.NaN), RangeError);
  });
});
