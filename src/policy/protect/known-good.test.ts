import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { KnownGood } from "./known-good.ts";

describe("known-good requests", () => {
  it("excuses a request that was answered, and no other", () => {
    const known = new KnownGood();
    known.answered(7, 3, 0);
    assert.equal(known.excuses(7, 3, "a", 1), true);
    assert.equal(known.excuses(7, 4, "a", 1), false);
    assert.equal(known.excuses(8, 3, "a", 1), false);
    assert.equal(known.excuses(0, 0, "a", 1), false);
  });

  it("takes a hash for the same, signed or not", () => {
    const known = new KnownGood();
    known.answered(-1, 3, 0);
    assert.equal(known.excuses(0xffff_ffff, 3, "a", 1), true);
  });

  it("excuses all that were on the connection of one peer, but not what dies at another one before it was answered again", () => {
    const known = new KnownGood();
    known.answered(7, 3, 0);
    assert.equal(known.excuses(7, 3, "a", 1), true);
    assert.equal(known.excuses(7, 3, "a", 2), true);
    assert.equal(known.excuses(7, 3, "b", 3), false);
    assert.equal(known.has(7, 3, 3), true, "its past is not forgotten");
    known.answered(7, 3, 4);
    assert.equal(known.excuses(7, 3, "b", 5), true);
  });

  it("forgets after 60 s what was not answered again", () => {
    const known = new KnownGood();
    known.answered(7, 3, 0);
    known.answered(8, 3, 0);
    assert.equal(known.excuses(7, 3, "a", 60_000), true);
    assert.equal(known.has(7, 3, 60_000), true);
    assert.equal(known.has(7, 3, 60_001), false);
    assert.equal(known.excuses(8, 3, "a", 60_001), false);
  });

  it("asks for one answer in 100 ms, and for each while something is in doubt", () => {
    const known = new KnownGood();
    assert.equal(known.isDue(0), true);
    known.answered(7, 3, 0);
    assert.equal(known.isDue(99), false);
    assert.equal(known.isDue(100), true);
    known.answered(7, 3, 100);
    assert.equal(known.excuses(7, 3, "a", 101), true);
    assert.equal(known.isDue(102), true);
    known.answered(8, 3, 102);
    assert.equal(known.isDue(103), true, "it was another one");
    known.answered(7, 3, 103);
    assert.equal(known.isDue(104), false);
  });

  it("holds 256 requests, the last ones", () => {
    const known = new KnownGood();
    for (let hash = 0; hash <= 256; hash++) known.answered(hash, 1, hash);
    assert.equal(known.excuses(0, 1, "a", 300), false);
    for (let hash = 1; hash <= 256; hash++) assert.equal(known.excuses(hash, 1, "a", 300), true);
    // All are in doubt; as they are forgotten, so is the doubt.
    for (let hash = 1_000; hash < 1_256; hash++) known.answered(hash, 1, 301);
    assert.equal(known.isDue(302), false);
  });

  it("never excuses what was not answered within 60 s, nor twice without an answer between, whatever happens", () => {
    const step = fc.record({
      isAnswer: fc.boolean(),
      hash: fc.integer({ min: 0, max: 3 }),
      peer: fc.constantFrom("a", "b", "c"),
      afterMs: fc.constantFrom(0, 1, 90, 59_000, 61_000),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const known = new KnownGood();
        const answeredAtMs = new Map<number, number>();
        const excusedAt = new Map<number, string>();
        let nowMs = 0;
        for (const { isAnswer, hash, peer, afterMs } of steps) {
          nowMs += afterMs;
          if (isAnswer) {
            known.answered(hash, 1, nowMs);
            answeredAtMs.set(hash, nowMs);
            excusedAt.delete(hash);
            continue;
          }
          const isFresh = nowMs - (answeredAtMs.get(hash) ?? Number.NEGATIVE_INFINITY) <= 60_000;
          const isExcused = known.excuses(hash, 1, peer, nowMs);
          assert.equal(isExcused, isFresh && (excusedAt.get(hash) ?? peer) === peer);
          if (isExcused) excusedAt.set(hash, peer);
          else if (!isFresh) answeredAtMs.delete(hash);
        }
      }),
    );
  });
});
