import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { codeBits, REPEATED_CODES } from "./attempts.ts";
import { askAgainMs, attemptsMaxWithCopies, copyDelayMs, isAnswer } from "./copies.ts";
import { LatencySketch } from "./latency-sketch.ts";
import { Overdue } from "./overdue.ts";

describe("an attempt in flight", () => {
  it("is copied after what its policy says, and not before its kind has shown how long it takes", () => {
    const sketch = new LatencySketch();
    const overdue = new Overdue(sketch);
    assert.equal(copyDelayMs({ kind: "fixed", afterMs: 7 }, undefined, 0), 7);
    assert.equal(copyDelayMs({ kind: "overdue" }, undefined, 0), Infinity);
    assert.equal(copyDelayMs({ kind: "quantile", quantile: 0.9 }, overdue, 0), Infinity);
    for (let i = 1; i <= 1_000; i++) sketch.record(0, i / 10);
    assert.equal(copyDelayMs({ kind: "overdue" }, overdue, 200), overdue.delayMs(200));
    assert.equal(copyDelayMs({ kind: "quantile", quantile: 0.9 }, overdue, 200), overdue.quantileMs(200, 0.9));
  });

  it("that could not be copied is looked at again when it has waited twice as long: in 2 ms at least, in 1 s at most", () => {
    assert.equal(askAgainMs(0, 100), 102);
    assert.equal(askAgainMs(30, 100), 130);
    assert.equal(askAgainMs(5_000, 100), 1_100);
  });

  it("of a call without repeats has its copies all the same", () => {
    assert.equal(attemptsMaxWithCopies(1, 1), 2);
    assert.equal(attemptsMaxWithCopies(3, 1), 3);
    assert.equal(attemptsMaxWithCopies(3, 3), 4);
    assert.equal(attemptsMaxWithCopies(Infinity, 1), Infinity);
  });
});

describe("a failure", () => {
  it("is an answer if a handler gave it and its code is not repeated", () => {
    assert.equal(isAnswer("NOT_FOUND", true, REPEATED_CODES), true);
    assert.equal(isAnswer("NOT_FOUND", false, REPEATED_CODES), false);
    assert.equal(isAnswer("UNAVAILABLE", true, REPEATED_CODES), false);
    assert.equal(isAnswer("UNAVAILABLE", true, codeBits(["INTERNAL"])), true);
  });

  it("is none if it is a refusal for overload, which another peer may not share", () => {
    assert.equal(isAnswer("RESOURCE_EXHAUSTED", true, 0), false);
  });
});
