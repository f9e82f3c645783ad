import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { CodeOrOk } from "../call/code.ts";
import type { AttemptRecord } from "../call/event.ts";
import { type CallMoments, decidingAttempt, phasesOf } from "./phases.ts";

const NONE = Number.NaN;
/** 3 ms until a peer took it, 20 for an attempt that failed, 40 until the first sign of an answer, 6 to its end. */
const whole: CallMoments = {
  placedMs: 3,
  decidingMs: 23,
  answeredMs: 63,
  endedMs: 69,
  stalledFromMs: NONE,
  stalledUntilMs: NONE,
};

function phases(moments: Partial<CallMoments>): Record<string, number> {
  return phasesOf({ ...whole, ...moments });
}

describe("the phases of a call", () => {
  it("are the times between its moments", () => {
    assert.deepEqual(phases({}), { queue: 3, earlier: 20, server: 40, receive: 6, stall: 0 });
  });

  it("are left out where nobody noted when they began: their time is that of the phase before", () => {
    assert.deepEqual(phases({ answeredMs: NONE }), { queue: 3, earlier: 20, server: 46, stall: 0 });
    assert.deepEqual(phases({ placedMs: NONE, decidingMs: NONE, answeredMs: NONE }), { queue: 69, stall: 0 });
  });

  it("take no time where they were noted and took none", () => {
    assert.deepEqual(phases({ decidingMs: 3 }), { queue: 3, earlier: 0, server: 60, receive: 6, stall: 0 });
  });

  it("give to our own stall what it took of each", () => {
    assert.deepEqual(phases({ stalledFromMs: 13, stalledUntilMs: 33 }), {
      ...{ queue: 3, earlier: 10, server: 30, receive: 6 },
      stall: 20,
    });
    const none = { queue: 0, earlier: 0, server: 0, receive: 0 };
    assert.deepEqual(phases({ stalledFromMs: -100, stalledUntilMs: 900 }), { ...none, stall: 69 });
    assert.deepEqual(phases({ stalledFromMs: -100, stalledUntilMs: 0 }), phases({}));
    assert.deepEqual(phases({ stalledFromMs: 69, stalledUntilMs: 80 }), phases({}));
  });

  it("are never negative and add up to the whole, whatever is missing, late or out of order", () => {
    const moment = fc.oneof(fc.constant(NONE), fc.double({ min: -10, max: 1_010, noNaN: true }));
    const anyMoments = fc.record({
      placedMs: moment,
      decidingMs: moment,
      answeredMs: moment,
      endedMs: fc.double({ min: 0, max: 1_000, noNaN: true }),
      stalledFromMs: moment,
      stalledUntilMs: moment,
    });
    fc.assert(
      fc.property(anyMoments, (moments) => {
        const times = Object.values(phasesOf(moments));
        for (const ms of times) assert.ok(ms >= 0, JSON.stringify(phasesOf(moments)));
        const sum = times.reduce((total, ms) => total + ms, 0);
        assert.ok(Math.abs(sum - moments.endedMs) < 1e-6);
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("the attempt that decided a call", () => {
  const attempt = (startMs: number, tookMs: number, code: CodeOrOk): AttemptRecord => {
    return { peer: undefined, why: "first", startMs, tookMs, code, fault: undefined };
  };

  it("is the one that succeeded, whatever was started after it", () => {
    const attempts = [attempt(0, 30, "UNAVAILABLE"), attempt(5, 40, "OK"), attempt(20, 25, "CANCELLED")];
    assert.equal(decidingAttempt(attempts, "OK"), attempts[1]);
  });

  it("is the last to end as the call did, and the youngest of several that ended together", () => {
    const failed = [attempt(0, 40, "INTERNAL"), attempt(20, 10, "INTERNAL"), attempt(25, 15, "CANCELLED")];
    assert.equal(decidingAttempt(failed, "INTERNAL"), failed[0]);
    const late = [attempt(0, 100, "DEADLINE_EXCEEDED"), attempt(60, 40, "DEADLINE_EXCEEDED")];
    assert.equal(decidingAttempt(late, "DEADLINE_EXCEEDED"), late[1]);
  });

  it("is the last to end if none ended as the call did, and nobody if there was none", () => {
    const attempts = [attempt(0, 30, "UNAVAILABLE"), attempt(5, 10, "INTERNAL")];
    assert.equal(decidingAttempt(attempts, "DEADLINE_EXCEEDED"), attempts[0]);
    assert.equal(decidingAttempt([], "CANCELLED"), undefined);
  });
});
