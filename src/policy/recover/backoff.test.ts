import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { BackoffRule } from "./backoff.ts";
import { backoffDelayMs, DEFAULT_BACKOFF } from "./backoff.ts";

const chance = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
/** None, or from a microsecond on: below that a half is not exact. */
const wait = fc.oneof(fc.constant(0), fc.double({ min: 1e-3, max: 100_000, noNaN: true }));
const rule: fc.Arbitrary<BackoffRule> = fc.record({
  kind: fc.constantFrom("exponential", "linear", "constant"),
  baseMs: wait,
  factor: fc.double({ min: 1, max: 10, noNaN: true }),
  stepMs: wait,
  maxMs: wait,
  jitter: fc.constantFrom("none", "equal", "full", "decorrelated"),
});

function waits(given: Partial<BackoffRule>, count: number, at = 0.5): readonly number[] {
  const whole = { ...DEFAULT_BACKOFF, ...given };
  return Array.from({ length: count }, (_, repeat) => backoffDelayMs(whole, repeat, 0, at));
}

describe("backoff", () => {
  it("doubles from 50 ms up to a second by default, at a random point of it", () => {
    assert.deepEqual(waits({ jitter: "none" }, 7), [50, 100, 200, 400, 800, 1_000, 1_000]);
    assert.deepEqual(waits({}, 7, 0.5), [25, 50, 100, 200, 400, 500, 500]);
    assert.ok(Object.isFrozen(DEFAULT_BACKOFF));
  });

  it("grows by its family: t0 * factor^n, t0 + k * d, or not at all", () => {
    const plain = { jitter: "none", baseMs: 10, maxMs: 1_000 } as const;
    assert.deepEqual(waits({ ...plain, kind: "exponential", factor: 3 }, 5), [10, 30, 90, 270, 810]);
    assert.deepEqual(waits({ ...plain, kind: "linear", stepMs: 7 }, 5), [10, 17, 24, 31, 38]);
    assert.deepEqual(waits({ ...plain, kind: "constant", stepMs: 7, factor: 3 }, 5), [10, 10, 10, 10, 10]);
  });

  it("is a number from 0 to maxMs, after however many repeats", () => {
    const repeat = fc.oneof(fc.nat({ max: 20 }), fc.nat());
    fc.assert(
      fc.property(rule, repeat, wait, chance, (given, repeats, previousMs, at) => {
        const ms = backoffDelayMs(given, repeats, previousMs, at);
        assert.ok(ms >= 0 && ms <= given.maxMs, `${ms}`);
      }),
    );
  });

  it("jitters within w/2..w when equal, 0..w when full", () => {
    fc.assert(
      fc.property(rule, fc.nat({ max: 50 }), chance, (given, repeats, at) => {
        const whole = backoffDelayMs({ ...given, jitter: "none" }, repeats, 0, at);
        const equal = backoffDelayMs({ ...given, jitter: "equal" }, repeats, 0, at);
        assert.ok(equal >= whole / 2 && equal <= whole);
        assert.equal(backoffDelayMs({ ...given, jitter: "full" }, repeats, 0, at), whole * at);
      }),
    );
    assert.deepEqual(waits({ jitter: "equal" }, 2, 0), [25, 50]);
    assert.deepEqual(waits({ jitter: "full" }, 2, 0), [0, 0]);
  });

  it("is between the base and three times the wait before when decorrelated", () => {
    const decorrelated = { ...DEFAULT_BACKOFF, jitter: "decorrelated" } as const;
    assert.equal(backoffDelayMs(decorrelated, 0, 0, 0), 50);
    assert.equal(backoffDelayMs(decorrelated, 0, 0, 0.5), 100);
    assert.equal(backoffDelayMs(decorrelated, 3, 200, 0.5), 325);
    assert.equal(backoffDelayMs(decorrelated, 3, 900, 0.5), 525);
    fc.assert(
      fc.property(rule, wait, chance, (given, previousMs, at) => {
        const ms = backoffDelayMs({ ...given, jitter: "decorrelated" }, 1, previousMs, at);
        assert.ok(ms >= Math.min(given.baseMs, given.maxMs));
        assert.ok(ms <= Math.max(given.baseMs, 3 * previousMs, 3 * given.baseMs));
      }),
    );
  });

  it("waits not at all from a base of 0, also after a thousand repeats", () => {
    assert.equal(backoffDelayMs({ ...DEFAULT_BACKOFF, baseMs: 0, jitter: "none" }, 2_000, 0, 0.5), 0);
    assert.equal(backoffDelayMs({ ...DEFAULT_BACKOFF, jitter: "none" }, 2_000, 0, 0.5), 1_000);
  });
});
