import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { DECAY_MS, decayOver } from "./decay.ts";

describe("decay", () => {
  it("is e^(-t / 10 s) to 3 in 10 million, from a microsecond to ten minutes", () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 600_000, noNaN: true }), (elapsedMs) => {
        const exact = Math.exp(-elapsedMs / DECAY_MS);
        assert.ok(Math.abs(decayOver(elapsedMs) - exact) <= 3e-7 * exact, String(elapsedMs));
      }),
    );
    for (const elapsedMs of [0, 0.001, 99.999, 100, 100.001, 299.99999999999994, 102_399.9, 102_400, 102_400.1]) {
      const exact = Math.exp(-elapsedMs / DECAY_MS);
      assert.ok(Math.abs(decayOver(elapsedMs) - exact) <= 3e-7 * exact, String(elapsedMs));
    }
  });

  it("is 1 for time that runs backwards, and nothing after for ever", () => {
    assert.equal(decayOver(0), 1);
    assert.equal(decayOver(-5), 1);
    assert.equal(decayOver(Number.NEGATIVE_INFINITY), 1);
    assert.equal(decayOver(Number.POSITIVE_INFINITY), 0);
  });
});
