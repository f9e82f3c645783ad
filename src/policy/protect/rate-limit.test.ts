import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { RateLimit } from "./rate-limit.ts";

describe("the rate limit", () => {
  it("lets a burst go, then one call each 1 / rate, and says when", () => {
    const limit = new RateLimit({ perSecond: 10, burst: 3 });
    assert.deepEqual(
      [0, 0, 0, 0].map((nowMs) => limit.take("a", nowMs)),
      [0, 0, 0, 100],
    );
    assert.equal(limit.take("a", 60), 40);
    assert.equal(limit.take("a", 100), 0);
    assert.equal(limit.take("a", 100), 100);
  });

  it("what it refuses costs nothing: a caller who keeps trying is not punished for it", () => {
    const limit = new RateLimit({ perSecond: 10, burst: 1 });
    limit.take("a", 0);
    for (let nowMs = 0; nowMs < 100; nowMs++) assert.ok(limit.take("a", nowMs) > 0);
    assert.equal(limit.take("a", 100), 0);
  });

  it("keeps keys apart", () => {
    const limit = new RateLimit({ perSecond: 1, burst: 1 });
    assert.equal(limit.take("a", 0), 0);
    assert.equal(limit.take("b", 0), 0);
    assert.ok(limit.take("a", 0) > 0);
  });

  it("never lets more go than burst and rate, in any stretch of time", () => {
    const gaps = fc.array(fc.double({ min: 0, max: 300, noNaN: true }), { maxLength: 200 });
    fc.assert(
      fc.property(gaps, fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 50 }), (waits, burst, perSecond) => {
        const limit = new RateLimit({ perSecond, burst });
        const taken: number[] = [];
        let nowMs = 0;
        for (const wait of waits) {
          nowMs += wait;
          if (limit.take("a", nowMs) === 0) taken.push(nowMs);
        }
        for (let from = 0; from < taken.length; from++) {
          for (let to = from; to < taken.length; to++) {
            const spanMs = (taken[to] as number) - (taken[from] as number);
            assert.ok(to - from + 1 <= burst + (spanMs * perSecond) / 1_000 + 1e-3);
          }
        }
      }),
    );
  });

  it("waiting for as long as it says is enough", () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0.01, max: 10_000, noNaN: true }),
        fc.integer({ min: 1, max: 5 }),
        (perSecond, burst) => {
          const limit = new RateLimit({ perSecond, burst });
          let nowMs = 1_000;
          for (let i = 0; i < 50; i++) {
            const waitMs = limit.take("a", nowMs);
            if (waitMs === 0) continue;
            nowMs += waitMs;
            assert.equal(limit.take("a", nowMs), 0);
          }
        },
      ),
    );
  });

  it("remembers no more keys than it may, and forgets those first that are full again", () => {
    const limit = new RateLimit({ perSecond: 1, burst: 1, keysMax: 10 });
    for (let i = 0; i < 9; i++) limit.take(`old-${i}`, 0);
    limit.take("busy", 1_900);
    for (let i = 0; i < 9; i++) limit.take(`new-${i}`, 2_000);
    assert.ok(limit.size <= 10, `${limit.size}`);
    assert.ok(limit.take("busy", 2_000) > 0);
    for (let i = 0; i < 10_000; i++) limit.take(`flood-${i}`, 2_000);
    assert.ok(limit.size <= 10, `${limit.size}`);
  });

  it("refuses options that are out of range, and keys that look like an object's own are keys", () => {
    assert.throws(() => new RateLimit({ burst: 0 }), { message: "rateLimit.burst must be 1..1_000_000, got 0" });
    assert.throws(() => new RateLimit({ perSecond: 0 }), RangeError);
    const limit = new RateLimit({ perSecond: 1, burst: 1 });
    assert.equal(limit.take("__proto__", 0), 0);
    assert.ok(limit.take("__proto__", 0) > 0);
  });
});
