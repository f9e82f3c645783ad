import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { ADMITTED, type Admission, OUTSIDE, QUEUED, REFUSED, RUNNING, WAITING } from "./admission.ts";
import { HandlerFigures } from "./handler-figures.ts";
import { Principal } from "./principal.ts";
import type { PriorityRank } from "./refusal.ts";
import { admissionOf, Call, full, heavyFigures, offeredTogether, SOMEBODY } from "./testdata/admission-call.ts";

/** An admission with one permit that has been over its capacity for long: one more call waits at `nowMs`. */
function over(): { admission: Admission; figures: HandlerFigures; running: Call; nowMs: number; current: () => Call } {
  const { admission, figures, first } = full();
  let running = first;
  let nowMs = 0;
  for (; nowMs < 400; nowMs += 10) {
    for (let i = 0; i < 3; i++) {
      const call = new Call(figures);
      call.onAdmitted = () => (running = call);
      admission.offer(call, nowMs + i);
    }
    admission.drainTurn(nowMs + 9);
    admission.ended(running, nowMs + 9, true);
  }
  assert.ok(admission.isOverCapacity(nowMs));
  return { admission, figures, running, nowMs, current: () => running };
}

describe("admission below the limits", () => {
  it("admits at once, and nothing is due", () => {
    const admission = admissionOf();
    const figures = new HandlerFigures();
    for (let nowMs = 0; nowMs < 100; nowMs++) {
      const call = new Call(figures);
      assert.equal(admission.offer(call, nowMs), ADMITTED);
      assert.equal(call.admissionState, RUNNING);
      assert.equal(admission.isTurnDue, false);
      assert.equal(admission.nextDueMs, Number.POSITIVE_INFINITY);
      admission.ended(call, nowMs + 0.5, true);
      // A handler that is told it was admitted did so from the answer: nothing is called on it.
      assert.deepEqual(call.heard, []);
    }
    const { running, admitted } = admission.snapshot(100);
    assert.deepEqual([running, admitted], [0, 100]);
  });

  it("counts a call that ended twice once", () => {
    const { admission, first } = full();
    admission.ended(first, 1, true);
    admission.ended(first, 2, true);
    assert.equal(admission.snapshot(2).running, 0);
    assert.equal(SOMEBODY.held, 0);
  });

  it("refuses options that are out of range", () => {
    assert.throws(() => admissionOf({ concurrencyMax: 0 }), {
      name: "RangeError",
      message: "admission.concurrencyMax must be 1..1_000_000, got 0",
    });
    assert.throws(() => admissionOf({ turnBudgetMs: 0 }), RangeError);
  });
});

describe("calls that wait for a permit", () => {
  it("begin in the order in which they came while the server is not over its capacity", () => {
    const { admission, figures, first } = full();
    const calls = [new Call(figures), new Call(figures), new Call(figures)] as const;
    for (const call of calls) assert.equal(admission.offer(call, 1), QUEUED);
    admission.ended(first, 2, true);
    assert.deepEqual(
      calls.map(({ admissionState }) => admissionState),
      [RUNNING, WAITING, WAITING],
    );
    admission.ended(calls[0], 3, true);
    assert.deepEqual(calls[1].heard, ["admitted"]);
    assert.deepEqual(calls[2].heard, []);
  });

  it("begin though the begin of one before them threw", () => {
    const { admission, figures, first } = full();
    const [thrower, other] = [new Call(figures), new Call(figures)];
    thrower.onAdmitted = () => {
      throw new Error("in its begin");
    };
    for (const call of [thrower, other]) assert.equal(admission.offer(call, 1), QUEUED);
    assert.throws(() => admission.ended(first, 2, true), /in its begin/);
    admission.ended(thrower, 3, false);
    assert.deepEqual(other.heard, ["admitted"]);
  });

  it("critical ones go before normal ones, those before sheddable ones", () => {
    const { admission, figures, first } = full();
    const ranks = [2, 1, 0] as const;
    const order: number[] = [];
    const calls = ranks.map((rank) => new Call(figures, { rank }));
    for (const call of calls) {
      call.onAdmitted = (nowMs) => {
        order.push(call.priorityRank);
        admission.ended(call, nowMs + 1, true);
      };
      admission.offer(call, 1);
    }
    admission.ended(first, 2, true);
    assert.deepEqual(order, [0, 1, 2]);
  });

  it("a call that ends within its own begin lets the next one begin, however many there are", () => {
    const { admission, figures, first } = full({ queueMax: 100_000 });
    const calls = Array.from({ length: 20_000 }, () => new Call(figures));
    for (const call of calls) {
      call.onAdmitted = (nowMs) => admission.ended(call, nowMs, true);
      admission.offer(call, 1);
    }
    admission.ended(first, 1, true);
    assert.ok(calls.every(({ heard }) => heard.length === 1 && heard[0] === "admitted"));
  });

  it("one that is withdrawn hears nothing, and its place is free", () => {
    const { admission, figures, first } = full({ queueMax: 1 });
    const gone = new Call(figures);
    const next = new Call(figures);
    admission.offer(gone, 1);
    admission.withdraw(gone);
    admission.withdraw(gone);
    assert.equal(admission.offer(next, 1), QUEUED);
    admission.ended(first, 2, true);
    assert.deepEqual([gone.heard, next.heard], [[], ["admitted"]]);
    admission.withdraw(next);
    assert.equal(next.admissionState, RUNNING);
  });

  it("a call that is not held back by the queue's own limit finds it at its limit", () => {
    const { admission, figures } = full({ queueMax: 0 });
    const call = new Call(figures);
    assert.equal(admission.offer(call, 1), REFUSED);
    assert.deepEqual(call.heard, ["queue-full"]);
    assert.ok(call.retryAfterMs >= 25);
  });
});

describe("a full queue", () => {
  it("gives up a sheddable call for a critical one, and a critical one for nobody below it", () => {
    const { admission, figures } = full({ queueMax: 2 });
    const sheddable = [new Call(figures, { rank: 2 }), new Call(figures, { rank: 2 })] as const;
    for (const call of sheddable) admission.offer(call, 1);
    const critical = [new Call(figures, { rank: 0 }), new Call(figures, { rank: 0 })] as const;
    assert.equal(admission.offer(critical[0], 2), QUEUED);
    assert.deepEqual(sheddable[0].heard, ["displaced"]);
    assert.equal(admission.offer(critical[1], 2), QUEUED);
    const late = new Call(figures, { rank: 1 });
    assert.equal(admission.offer(late, 3), REFUSED);
    assert.deepEqual(late.heard, ["queue-full"]);
    assert.deepEqual(admission.snapshot(3).waiting, [2, 0, 0]);
  });

  it("tells a refused repeat not to come again", () => {
    const { admission, figures } = full({ queueMax: 0 });
    const repeat = new Call(figures, { isRepeat: true });
    admission.offer(repeat, 1);
    assert.equal(repeat.retryAfterMs, -1);
  });
});

describe("time that is over", () => {
  it("an expired call never runs: not when it arrives, and not after it has waited", () => {
    const { admission, figures, first } = full();
    const expired = new Call(figures, { deadlineMs: 5 });
    assert.equal(admission.offer(expired, 5), REFUSED);
    assert.deepEqual(expired.heard, ["expired"]);
    const waiting = new Call(figures, { deadlineMs: 10 });
    admission.offer(waiting, 6);
    admission.ended(first, 10, true);
    assert.deepEqual(waiting.heard, ["expired"]);
    assert.equal(admission.snapshot(10).running, 0);
  });

  it("an expired call does not run where the permit is free either", () => {
    const call = new Call(new HandlerFigures(), { deadlineMs: 1 });
    assert.equal(admissionOf().offer(call, 2), REFUSED);
  });

  it("a doomed call is refused while it queues, and never where it need not", () => {
    const { admission, figures, first } = full();
    for (let i = 0; i < 32; i++) figures.sample(100, i, true);
    const doomed = new Call(figures, { deadlineMs: 90 });
    const hopeful = new Call(figures, { deadlineMs: 300 });
    assert.equal(admission.offer(doomed, 40), REFUSED);
    assert.deepEqual([doomed.heard, doomed.retryAfterMs], [["doomed"], -1]);
    assert.equal(admission.offer(hopeful, 40), QUEUED);
    admission.ended(first, 40, false);
    const free = admissionOf();
    assert.equal(free.offer(new Call(figures, { deadlineMs: 60 }), 40), ADMITTED);
  });

  it("a handler that never runs beside another, for it keeps the loop, is doomed as well", () => {
    const { admission, figures: other } = full();
    const figures = heavyFigures();
    for (let i = 0; i < 32; i++) figures.sample(50, i, true);
    figures.began(100);
    figures.running -= 1;
    assert.equal(admission.offer(new Call(figures, { deadlineMs: 140 }), 101), REFUSED);
    assert.equal(admission.offer(new Call(figures, { deadlineMs: 240 }), 200), QUEUED);
    assert.equal(other.running, 1);
  });

  it("a doomed latch cannot happen: with none of the method running one passes, and old samples doom nobody", () => {
    const { admission, figures: other } = full();
    const figures = new HandlerFigures();
    for (let i = 0; i < 32; i++) figures.sample(5_000, i, true);
    const one = new Call(figures, { deadlineMs: 140 });
    assert.equal(admission.offer(one, 40), QUEUED);
    const samplesOld = new Call(other, { deadlineMs: 20_100 });
    for (let i = 0; i < 32; i++) other.sample(5_000, i, true);
    assert.equal(admission.offer(new Call(other, { deadlineMs: 140 }), 40), REFUSED);
    assert.equal(admission.offer(samplesOld, 20_000), QUEUED);
  });
});

describe("over the capacity", () => {
  it("a burst is not: it waits and nobody is refused", () => {
    const { admission, figures, first } = full();
    const calls = Array.from({ length: 500 }, () => new Call(figures));
    for (const call of calls) assert.equal(admission.offer(call, 1), QUEUED);
    let running = first;
    for (const call of calls) call.onAdmitted = () => (running = call);
    for (let nowMs = 1; nowMs < 6; nowMs += 0.01) admission.ended(running, nowMs, true);
    assert.equal(admission.snapshot(6).waiting[1], 0);
    assert.ok(calls.every(({ heard }) => heard[0] === "admitted"));
  });

  it("the newest begins first, and who has waited too long is refused", () => {
    const { admission, figures, running, nowMs } = over();
    const calls = [new Call(figures), new Call(figures), new Call(figures)] as const;
    calls.forEach((call, index) => admission.offer(call, nowMs + index));
    admission.ended(running, nowMs + 3, true);
    assert.deepEqual(calls[2].heard, ["admitted"]);
    for (let ms = 0; ms < 500; ms += 5) admission.drainTurn(nowMs + ms);
    assert.deepEqual(calls[0].heard, ["too-old"]);
    assert.deepEqual(calls[1].heard, ["too-old"]);
    assert.ok(calls[0].retryAfterMs >= 25 && calls[0].retryAfterMs <= 3_000, `${calls[0].retryAfterMs}`);
  });

  it("a repeat of a priority that lacks capacity is refused, for good", () => {
    const { admission, figures, nowMs } = over();
    const repeat = new Call(figures, { isRepeat: true });
    assert.equal(admission.offer(repeat, nowMs), REFUSED);
    assert.deepEqual([repeat.heard, repeat.retryAfterMs], [["shed"], -1]);
    assert.equal(admission.offer(new Call(figures, { isRepeat: true, rank: 0 }), nowMs), QUEUED);
  });

  it("a hog does not starve the one who asks for little", () => {
    const { admission, figures, nowMs, running } = over();
    const little = new Call(figures, { principal: new Principal("little") });
    admission.offer(little, nowMs);
    for (let i = 1; i < 10; i++) admission.offer(new Call(figures), nowMs + i * 0.1);
    admission.ended(running, nowMs + 1, true);
    assert.deepEqual(little.heard, ["admitted"]);
  });

  it("is over when nothing waits and nothing is refused any more", () => {
    const { admission, figures, nowMs, current } = over();
    for (let i = 0; i < 10; i++) admission.ended(current(), nowMs, true);
    assert.deepEqual(admission.snapshot(nowMs).waiting, [0, 0, 0]);
    for (let ms = 0; ms < 2_000; ms += 10) {
      admission.drainTurn(nowMs + ms);
      const call = new Call(figures);
      if (admission.offer(call, nowMs + ms) === ADMITTED) admission.ended(call, nowMs + ms + 5, true);
    }
    assert.equal(admission.isOverCapacity(nowMs + 2_000), false);
    assert.equal(admission.nextDueMs, Number.POSITIVE_INFINITY);
  });

  it("what is due comes: a timer alone refuses who waits behind a handler that hangs", () => {
    const { admission, figures } = full();
    const call = new Call(figures);
    admission.offer(call, 1);
    let nowMs = 1;
    for (let wakes = 0; call.heard.length === 0 && wakes < 100; wakes++) {
      assert.ok(admission.nextDueMs >= nowMs && admission.nextDueMs < 10_000, `${admission.nextDueMs}`);
      nowMs = admission.nextDueMs;
      admission.drainTurn(nowMs);
    }
    assert.deepEqual(call.heard, ["too-old"]);
  });
});

describe("what a refusal sets off", () => {
  it("may take every other call out, or offer a new one", () => {
    const { admission, figures } = full();
    const calls = Array.from({ length: 10 }, () => new Call(figures, { deadlineMs: 50 }));
    for (const call of calls) {
      call.refused = (why) => {
        call.heard.push(why);
        for (const other of calls) admission.withdraw(other);
        admission.offer(new Call(figures), 60);
      };
      admission.offer(call, 1);
    }
    for (let nowMs = 60; nowMs < 500; nowMs += 20) admission.drainTurn(nowMs);
    assert.equal(calls.filter(({ heard }) => heard.length > 0).length, 1);
    assert.ok(calls.every(({ admissionState }) => admissionState === OUTSIDE));
  });
});

describe("handlers that keep the loop", () => {
  it("begin for about the budget in one turn, one at least, the rest in the next", () => {
    const admission = admissionOf({ turnBudgetMs: 2 });
    const figures = heavyFigures();
    const calls = Array.from({ length: 5 }, () => new Call(figures));
    assert.deepEqual(offeredTogether(admission, calls), [ADMITTED, ADMITTED, QUEUED, QUEUED, QUEUED]);
    assert.equal(admission.isTurnDue, true);
    for (const call of calls) call.onAdmitted = () => admission.timed(call, 1);
    admission.drainTurn(2);
    assert.deepEqual(
      calls.map(({ heard }) => heard.length),
      [0, 0, 1, 1, 0],
    );
    assert.equal(admission.isTurnDue, true);
    admission.drainTurn(4);
    assert.deepEqual(calls[4]?.heard, ["admitted"]);
    admission.drainTurn(5);
    assert.equal(admission.isTurnDue, false);
  });

  it("one that takes longer than the whole budget still begins, one in a turn", () => {
    const admission = admissionOf({ turnBudgetMs: 0.5 });
    const figures = heavyFigures();
    assert.equal(admission.offer(new Call(figures), 0), ADMITTED);
    assert.equal(admission.offer(new Call(figures), 0), QUEUED);
  });

  it("do not make light ones wait", () => {
    const admission = admissionOf();
    const figures = heavyFigures();
    for (let i = 0; i < 4; i++) admission.offer(new Call(figures), 0);
    assert.equal(admission.snapshot(0).waiting[1], 2);
    assert.equal(admission.offer(new Call(new HandlerFigures()), 0), ADMITTED);
  });

  it("light ones are never made to wait for a turn, and no turn is due for them", () => {
    const admission = admissionOf({ concurrencyMax: 1_000_000, isAdaptive: false });
    const figures = new HandlerFigures();
    for (let i = 0; i < 10_000; i++) {
      const call = new Call(figures);
      assert.equal(admission.offer(call, 0), ADMITTED);
      admission.timed(call, 0.02);
    }
    assert.equal(admission.isTurnDue, false);
  });
});

describe("whatever happens", () => {
  it("each call is admitted or refused once, counts add up, and in the end nothing is held", () => {
    const step = fc.record({
      act: fc.constantFrom("offer", "offer", "offer", "end", "withdraw", "drain"),
      waitMs: fc.double({ min: 0, max: 30, noNaN: true }),
      rank: fc.constantFrom<PriorityRank>(0, 1, 2),
      who: fc.nat(3),
      isHeavy: fc.boolean(),
      isRepeat: fc.boolean(),
      deadlineMs: fc.double({ min: -1, max: 200, noNaN: true }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), fc.boolean(), (steps, isAdaptive) => {
        const admission = admissionOf({ concurrencyMax: isAdaptive ? 20 : 2, isAdaptive, queueMax: 8 });
        const principals = ["a", "b", "c", "d"].map((key) => new Principal(key));
        const figures = { light: new HandlerFigures(), heavy: heavyFigures() };
        const calls: Call[] = [];
        let nowMs = 0;
        for (const { act, waitMs, rank, who, isHeavy, isRepeat, deadlineMs } of steps) {
          nowMs += waitMs;
          if (act === "offer") {
            const call = new Call(isHeavy ? figures.heavy : figures.light, {
              rank,
              isRepeat,
              principal: principals[who] as Principal,
              deadlineMs: nowMs + deadlineMs,
            });
            calls.push(call);
            const offer = admission.offer(call, nowMs);
            if (offer === ADMITTED) call.heard.push("admitted");
            else assert.equal(offer === REFUSED, call.admissionState === OUTSIDE && call.heard.length === 1);
          }
          const some = calls[(who * 7 + rank) % Math.max(1, calls.length)];
          if (act === "end")
            for (const call of calls)
              if (call.admissionState === RUNNING && rank > 0) admission.ended(call, nowMs, !isRepeat);
          if (act === "withdraw" && some !== undefined) admission.withdraw(some);
          if (act === "drain") {
            admission.drainTurn(nowMs);
            // Else a server would wake without end.
            assert.ok(admission.nextDueMs > nowMs || admission.isTurnDue, `${admission.nextDueMs} at ${nowMs}`);
          }
          const { running, waiting } = admission.snapshot(nowMs);
          assert.equal(running, calls.filter(({ admissionState }) => admissionState === RUNNING).length);
          assert.equal(
            waiting.reduce((sum, one) => sum + one, 0),
            calls.filter(({ admissionState }) => admissionState === WAITING).length,
          );
          assert.ok(waiting.reduce((sum, one) => sum + one, 0) <= 8);
          assert.ok(running <= 20);
        }
        for (let i = 0; i < 100; i++) {
          nowMs += 50;
          admission.drainTurn(nowMs);
          for (const call of calls) if (call.admissionState === RUNNING) admission.ended(call, nowMs, true);
        }
        for (const call of calls) {
          assert.equal(call.admissionState, OUTSIDE);
          assert.ok(call.heard.length <= 1, call.heard.join());
        }
        assert.deepEqual(
          principals.map(({ held }) => held),
          [0, 0, 0, 0],
        );
        assert.deepEqual([figures.light.running, figures.heavy.running], [0, 0]);
      }),
    );
  });
});
