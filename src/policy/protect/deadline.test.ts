import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { nestedDeadlineMs } from "./deadline.ts";

describe("the deadline of a nested call", () => {
  it("is its own, or what the outer call has left less 5 ms, whichever is sooner", () => {
    assert.equal(nestedDeadlineMs(1_000, 30_000), 1_000);
    assert.equal(nestedDeadlineMs(30_000, 1_000), 995);
    assert.equal(nestedDeadlineMs(996, 1_000), 995);
    assert.equal(nestedDeadlineMs(30_000, 1_000, 50), 950);
    assert.equal(nestedDeadlineMs(30_000, 1_000, 0), 1_000);
  });

  it("is only limited by who has a limit", () => {
    assert.equal(nestedDeadlineMs(Number.POSITIVE_INFINITY, 1_000), 995);
    assert.equal(nestedDeadlineMs(1_000, Number.POSITIVE_INFINITY), 1_000);
    assert.equal(nestedDeadlineMs(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY), Number.POSITIVE_INFINITY);
  });

  it("is over when the outer call's is, or would be before the answer is home", () => {
    for (const left of [5, 4.9, 0, -20, Number.NEGATIVE_INFINITY]) assert.equal(nestedDeadlineMs(1_000, left), 0);
  });

  it("never lasts longer than either, over any chain of calls", () => {
    const limit = fc.double({ min: 0, max: 1e6, noNaN: true });
    fc.assert(
      fc.property(limit, fc.array(limit, { minLength: 1, maxLength: 10 }), (rootMs, own) => {
        let leftMs = rootMs;
        for (const ownMs of own) {
          const nested = nestedDeadlineMs(ownMs, leftMs);
          assert.ok(nested >= 0 && nested <= ownMs && nested <= Math.max(0, leftMs - 5));
          leftMs = nested;
        }
      }),
    );
  });
});
