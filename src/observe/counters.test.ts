import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { CallCounters } from "./counters.ts";

/** One call: when and how it ended, its failed attempts, its cancelled losers. An answered call has one attempt more. */
const anyEnd = fc.record({
  afterMs: fc.double({ min: 0, max: 1_000, noNaN: true }),
  how: fc.constantFrom("ok", "failed", "cancelled"),
  failed: fc.nat({ max: 4 }),
  losers: fc.nat({ max: 2 }),
  isCopyWin: fc.boolean(),
});

describe("counters of a method", () => {
  it("tell a call that went well at once from one that recovered, and from one that failed", () => {
    const counters = new CallCounters();
    counters.ended(0, true, 1, 0);
    counters.ended(1, true, 3, 2);
    counters.ended(2, false, 3, 3);
    counters.ended(3, false, 0, 0);
    const { calls, failures, recovered, troubled, attempts, outages } = counters;
    assert.deepEqual([calls, failures, recovered, troubled, attempts, outages.count], [4, 2, 1, 2, 7, 1]);
  });

  it("count a copy that answered first, and apart from it one that also made up for a failure", () => {
    const counters = new CallCounters();
    counters.ended(0, true, 2, 0, true);
    counters.ended(0, true, 2, 1, true);
    counters.ended(0, false, 2, 2, false);
    assert.deepEqual([counters.copyWins, counters.copyRecoveries, counters.recovered], [2, 1, 1]);
  });

  it("take what the caller ended for nobody's failure and nobody's success, but for load", () => {
    const counters = new CallCounters();
    counters.ended(0, false, 1, 1);
    counters.endedByCaller(2);
    const { calls, failures, cancelled, recovered, attempts, outages } = counters;
    assert.deepEqual([calls, failures, cancelled, recovered, attempts], [1, 1, 1, 0, 3]);
    assert.equal(outages.totalMs(10), 10, "it does not end an outage");
  });

  it("are sums over all calls and attempts, whatever their order", () => {
    fc.assert(
      fc.property(fc.array(anyEnd, { maxLength: 100 }), (ends) => {
        const counters = new CallCounters();
        let nowMs = 0;
        for (const { afterMs, how, failed, losers, isCopyWin } of ends) {
          nowMs += afterMs;
          const isOk = how === "ok";
          for (let i = 0; i < failed; i += 1) counters.attemptEnded(nowMs, false);
          if (isOk) counters.attemptEnded(nowMs, true);
          const attempts = failed + losers + (isOk ? 1 : 0);
          if (how === "cancelled") counters.endedByCaller(attempts);
          else counters.ended(nowMs, isOk, attempts, failed, isOk && isCopyWin);
        }
        const sum = (of: (end: (typeof ends)[number]) => number): number =>
          ends.reduce((total, end) => total + of(end), 0);
        const count = (is: (end: (typeof ends)[number]) => boolean): number => sum((end) => (is(end) ? 1 : 0));
        const { calls, failures, cancelled, recovered, troubled } = counters;
        assert.deepEqual(
          { calls, failures, cancelled, recovered, troubled },
          {
            calls: count(({ how }) => how !== "cancelled"),
            failures: count(({ how }) => how === "failed"),
            cancelled: count(({ how }) => how === "cancelled"),
            recovered: count(({ how, failed }) => how === "ok" && failed > 0),
            troubled: count(({ how, failed }) => how !== "cancelled" && failed > 0),
          },
        );
        const { attempts, endedAttempts, failedAttempts, copyWins, copyRecoveries } = counters;
        assert.deepEqual(
          { attempts, endedAttempts, failedAttempts, copyWins, copyRecoveries },
          {
            attempts: sum(({ how, failed, losers }) => failed + losers + (how === "ok" ? 1 : 0)),
            endedAttempts: sum(({ how, failed }) => failed + (how === "ok" ? 1 : 0)),
            failedAttempts: sum(({ failed }) => failed),
            copyWins: count(({ how, isCopyWin }) => how === "ok" && isCopyWin),
            copyRecoveries: count(({ how, isCopyWin, failed }) => how === "ok" && isCopyWin && failed > 0),
          },
        );
      }),
    );
  });
});

describe("counters of a peer", () => {
  it("know its attempts and the outages of these, and no calls", () => {
    const counters = new CallCounters();
    counters.attemptEnded(0, true);
    counters.attemptEnded(1, false);
    counters.attemptEnded(5, true);
    const { calls, endedAttempts, failedAttempts, outages, attemptOutages } = counters;
    assert.deepEqual([calls, endedAttempts, failedAttempts], [0, 3, 1]);
    assert.deepEqual([outages.count, attemptOutages.count, attemptOutages.endedMs], [0, 1, 4]);
  });
});
