import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { SelfWatch } from "./self.ts";

/** Punctual beats, ten a second, from one time up to another. */
function beatsUpTo(self: SelfWatch, fromMs: number, untilMs: number): void {
  for (let due = fromMs; due <= untilMs; due += 100) self.beat(due, due + 1);
}

describe("the watch over our own stalls", () => {
  it("is healthy before the first beat and while beats are punctual, a little late too", () => {
    const self = new SelfWatch();
    assert.equal(self.score(0), 0);
    assert.equal(self.stalledUntilMs, Number.NEGATIVE_INFINITY);
    for (let due = 100; due < 10_000; due += 100) {
      self.beat(due, due + 99);
      assert.equal(self.score(due + 99), 0);
    }
    assert.equal(self.stalledUntilMs, Number.NEGATIVE_INFINITY);
    assert.equal(self.lastStallMs, 0);
  });

  it("takes a timer 100 ms late for a stall, and says when it ended and how long it was", () => {
    const self = new SelfWatch();
    self.beat(1_000, 1_100);
    assert.equal(self.score(1_100), 1);
    assert.equal(self.stalledUntilMs, 1_100);
    assert.equal(self.lastStallMs, 100);
  });

  it("scores a longer stall higher, one more for each doubling", () => {
    const scores = [100, 199, 200, 400, 800, 1_000, 1_600, 3_200, 60_000].map((lateMs) => {
      const self = new SelfWatch();
      self.beat(0, lateMs);
      return self.score(lateMs);
    });
    assert.deepEqual(scores, [1, 1, 2, 3, 4, 4, 5, 6, 8]);
  });

  it("counts the many late timers of one stall once", () => {
    const self = new SelfWatch();
    for (let due = 0; due < 1_000; due += 10) self.beat(due, 1_000 + due / 1_000);
    assert.equal(self.score(1_001), 4);
    assert.equal(self.lastStallMs, 1_000);
  });

  it("learns from a timer that was due earlier that the stall was longer", () => {
    const self = new SelfWatch();
    self.beat(900, 1_000);
    assert.equal(self.score(1_000), 1);
    self.beat(0, 1_000);
    assert.equal(self.score(1_000), 4);
    assert.equal(self.lastStallMs, 1_000);
  });

  it("is not forgiven by timers that were due at the end of the very stall", () => {
    const self = new SelfWatch();
    self.beat(0, 1_000);
    for (let i = 0; i < 50; i += 1) self.beat(950 + i, 1_000);
    assert.equal(self.score(1_000), 4);
  });

  it("adds up stalls that follow each other, and never exceeds 8", () => {
    const self = new SelfWatch();
    let now = 0;
    for (let i = 0; i < 20; i += 1) {
      self.beat(now, now + 300);
      now += 301;
    }
    assert.equal(self.score(now), 8);
  });

  it("forgives a stall of a second after about two seconds of punctual beats", () => {
    const self = new SelfWatch();
    self.beat(0, 1_000);
    beatsUpTo(self, 1_100, 1_500);
    assert.ok(self.score(1_501) > 0);
    beatsUpTo(self, 1_600, 3_000);
    assert.equal(self.score(3_001), 0);
    assert.equal(self.stalledUntilMs, 1_000, "when it was is not forgotten");
  });

  it("forgives with time alone, for there are no beats while there is no work", () => {
    const self = new SelfWatch();
    self.beat(0, 1_000);
    assert.equal(self.score(3_500), 2);
    assert.equal(self.score(5_000), 0);
  });

  it("stays within 0..8 whatever comes", () => {
    const beats = fc.array(fc.tuple(fc.integer({ min: 0, max: 5_000 }), fc.integer({ min: -50, max: 5_000 })));
    fc.assert(
      fc.property(beats, (steps) => {
        const self = new SelfWatch();
        let now = 0;
        for (const [afterMs, lateMs] of steps) {
          now += afterMs;
          self.beat(now - lateMs, now);
          const score = self.score(now);
          assert.ok(Number.isInteger(score) && score >= 0 && score <= 8);
          assert.ok(self.stalledUntilMs <= now);
          if (lateMs >= 100) assert.equal(self.stalledUntilMs, now);
        }
      }),
    );
  });
});
