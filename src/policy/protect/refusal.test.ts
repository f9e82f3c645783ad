import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { seededRandom } from "../../world/seeded-random.ts";
import { NOT_AGAIN, PUSHBACK_MAX_MS, PUSHBACK_MIN_MS, pushbackMs } from "./refusal.ts";

describe("the pushback", () => {
  it("is final for a repeat, however short the queue", () => {
    assert.equal(pushbackMs(0, true, seededRandom(1)), NOT_AGAIN);
    assert.equal(pushbackMs(1_000, true, seededRandom(1)), NOT_AGAIN);
  });

  it("lies within half of its bounds and one and a half of them, whatever the estimate", () => {
    const random = seededRandom(2);
    fc.assert(
      fc.property(fc.double(), (drainMs) => {
        const ms = pushbackMs(drainMs, false, random);
        return Number.isInteger(ms) && ms >= PUSHBACK_MIN_MS * 0.5 && ms <= PUSHBACK_MAX_MS * 1.5;
      }),
    );
  });

  it("does not call all back at once", () => {
    const random = seededRandom(3);
    const waits = new Set(Array.from({ length: 100 }, () => pushbackMs(400, false, random)));
    assert.ok(waits.size > 50, `${waits.size}`);
  });
});
