import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { LoopDelay } from "./loop-delay.ts";

/** A loop that was late by `lateMs` for the last five samples, up to time 100. */
function late(lateMs: number): LoopDelay {
  const delay = new LoopDelay();
  for (let nowMs = 0; nowMs <= 100; nowMs += 20) delay.sample(lateMs, nowMs);
  return delay;
}

describe("the coarse shed", () => {
  it("refuses nothing while the loop is punctual, and nothing when it was never looked at", () => {
    assert.equal(late(5).refuses(2, 100, 1_000, 1_000, 10), undefined);
    assert.equal(new LoopDelay().refuses(2, 100, 1_000, 1_000, 10), undefined);
  });

  it("refuses the sheddable first, then the normal, critical ones last", () => {
    const refused = (lateMs: number): unknown[] =>
      ([0, 1, 2] as const).map((rank) => late(lateMs).refuses(rank, 100, 1, 10, 10));
    assert.deepEqual(refused(100), [undefined, undefined, undefined]);
    assert.deepEqual(refused(101), [undefined, undefined, "shed"]);
    assert.deepEqual(refused(201), [undefined, "shed", "shed"]);
    assert.deepEqual(refused(401), ["shed", "shed", "shed"]);
  });

  it("refuses what a connection has beyond its share before what others have", () => {
    const delay = late(150);
    assert.equal(delay.refuses(1, 100, 90, 100, 2), "share");
    assert.equal(delay.refuses(1, 100, 10, 100, 2), undefined);
    // Alone it has no share to exceed.
    assert.equal(delay.refuses(1, 100, 100, 100, 1), undefined);
    assert.equal(delay.refuses(0, 100, 90, 100, 2), undefined);
    assert.equal(late(70).refuses(2, 100, 90, 100, 2), "share");
    assert.equal(late(50).refuses(2, 100, 90, 100, 2), undefined);
  });

  it("does not shed for one long pause", () => {
    const delay = late(1);
    delay.sample(5_000, 5_100);
    assert.equal(delay.standingMs(5_100), 0);
    delay.sample(2, 5_120);
    assert.equal(delay.refuses(2, 5_120, 1, 1, 1), undefined);
  });

  it("sheds nothing once samples stop: a watch that stands is no loop that does", () => {
    const delay = late(1_000);
    assert.equal(delay.refuses(0, 100, 1, 1, 1), "shed");
    assert.equal(delay.refuses(2, 2_101, 1, 1, 1), undefined);
    delay.sample(1_000, 3_000);
    assert.equal(delay.refuses(2, 3_000, 1, 1, 1), undefined);
  });

  it("takes a clock that went back, and NaN, for nothing", () => {
    const delay = late(1);
    delay.sample(Number.NaN, 120);
    delay.sample(-50, 140);
    assert.equal(delay.standingMs(140), 0);
  });

  it("refuses options that are out of range", () => {
    assert.throws(() => new LoopDelay({ loopDelayMsMax: 0 }), {
      name: "RangeError",
      message: "loopDelay.loopDelayMsMax must be 1..60_000, got 0",
    });
  });
});
