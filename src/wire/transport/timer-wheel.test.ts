import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { Clock } from "../../world/clock.ts";
import type { Timer, Timers } from "../../world/timers.ts";
import { TimerWheel, WheelEntry } from "./timer-wheel.ts";

/** A clock that the test moves, with timers that fire as late as `latenessMs` said when they were set. */
class FakeTime implements Clock, Timers {
  nowMs: number;
  latenessMs = 0;
  scheduled = 0;
  readonly thrown: unknown[] = [];
  readonly waiting = new Map<Timer, { readonly dueMs: number; readonly callback: () => void }>();
  private turnEnd: (() => void)[] = [];

  constructor(nowMs: number) {
    this.nowMs = nowMs;
  }

  monotonicMs(): number {
    return this.nowMs;
  }

  wallMs(): number {
    return 0;
  }

  schedule(delayMs: number, callback: () => void): Timer {
    assert.ok(delayMs >= 0, `delay ${delayMs}`);
    this.scheduled += 1;
    const timer: Timer = { cancel: () => this.waiting.delete(timer) };
    this.waiting.set(timer, { dueMs: this.nowMs + delayMs + this.latenessMs, callback });
    return timer;
  }

  hold(): Timer {
    return { cancel: () => {} };
  }
  afterTurn(callback: () => void): void {
    this.turnEnd.push(callback);
  }

  advanceTo(targetMs: number): void {
    // A timer of delay 0 that is set for ever would hang the loop: the wheel must never do that.
    for (let turns = 0; ; turns += 1) {
      assert.ok(turns < 100_000, "timers fire without end");
      const next = [...this.waiting].sort(([, a], [, b]) => a.dueMs - b.dueMs)[0];
      if (next === undefined || next[1].dueMs > targetMs) break;
      this.waiting.delete(next[0]);
      this.nowMs = Math.max(this.nowMs, next[1].dueMs);
      next[1].callback();
      this.endTurn();
    }
    this.nowMs = Math.max(this.nowMs, targetMs);
  }

  private endTurn(): void {
    const callbacks = this.turnEnd;
    this.turnEnd = [];
    for (const callback of callbacks) {
      try {
        callback();
      } catch (error) {
        this.thrown.push(error);
      }
    }
  }
}

class Probe extends WheelEntry {
  readonly expiredAtMs: number[] = [];
  private readonly then: (nowMs: number) => void;

  constructor(then: (nowMs: number) => void = () => {}) {
    super();
    this.then = then;
  }

  expired(nowMs: number): void {
    this.expiredAtMs.push(nowMs);
    this.then(nowMs);
  }
}

function setUp(nowMs = 1000.25): { time: FakeTime; wheel: TimerWheel } {
  const time = new FakeTime(nowMs);
  return { time, wheel: new TimerWheel(time, time) };
}

describe("timer wheel", () => {
  it("lets an entry expire at its time, once, and unlinks it", () => {
    const { time, wheel } = setUp();
    const entry = new Probe(() => assert.equal(entry.isArmed, false));
    wheel.arm(entry, 1010.5);
    assert.equal(entry.isArmed, true);
    time.advanceTo(1010.49);
    assert.deepEqual(entry.expiredAtMs, []);
    time.advanceTo(5000);
    assert.deepEqual(entry.expiredAtMs, [1011]);
    assert.equal(wheel.size, 0);
    assert.equal(entry.wheelNext, undefined);
    assert.equal(entry.wheelPrevious, undefined);
    assert.equal(time.waiting.size, 0);
  });

  it("sets no timer of the world for entries later than the one it has", () => {
    const { time, wheel } = setUp();
    const entries = Array.from({ length: 1000 }, () => new Probe());
    for (const [index, entry] of entries.entries()) wheel.arm(entry, 2000 + index);
    assert.equal(time.scheduled, 1);
    for (const entry of entries) wheel.cancel(entry);
    for (const entry of entries) wheel.arm(entry, 2500);
    assert.equal(time.scheduled, 1);
    assert.equal(time.waiting.size, 1);
    wheel.arm(entries[0] ?? new Probe(), 1500);
    assert.equal(time.scheduled, 2);
    assert.equal(time.waiting.size, 1);
  });

  it("lets nothing expire that was cancelled, and stops waking when nothing waits", () => {
    const { time, wheel } = setUp();
    const entry = new Probe();
    wheel.arm(entry, 1100);
    wheel.cancel(entry);
    wheel.cancel(entry);
    assert.equal(wheel.size, 0);
    time.advanceTo(1e6);
    assert.deepEqual(entry.expiredAtMs, []);
    assert.equal(time.waiting.size, 0);
  });

  it("lets an entry that is due in the past expire in the next turn", () => {
    const { time, wheel } = setUp();
    const entry = new Probe();
    for (const dueMs of [5, -1e12, Number.NEGATIVE_INFINITY, 1000.25]) {
      wheel.arm(entry, dueMs);
      assert.equal(entry.isArmed, true);
      time.advanceTo(time.nowMs + 1);
      assert.equal(entry.isArmed, false, `due ${dueMs}`);
    }
    assert.equal(entry.expiredAtMs[0], 1000.25);
    assert.equal(entry.expiredAtMs.length, 4);
  });

  it("gives an entry that arms itself for the past another turn, not the same one", () => {
    const { time, wheel } = setUp();
    let turns = 0;
    const entry: Probe = new Probe(() => {
      turns += 1;
      if (turns < 5) wheel.arm(entry, 0);
    });
    const before = time.scheduled;
    wheel.arm(entry, 1001);
    time.advanceTo(1010);
    assert.equal(turns, 5);
    assert.equal(time.scheduled - before, 5);
  });

  it("holds Infinity for ever, moves an armed entry, refuses NaN without forgetting the entry", () => {
    const { time, wheel } = setUp();
    const entry = new Probe();
    wheel.arm(entry, Number.POSITIVE_INFINITY);
    time.advanceTo(1e9);
    assert.equal(entry.isArmed, true);
    wheel.arm(entry, 1e9 + 20);
    assert.equal(wheel.size, 1);
    assert.throws(() => wheel.arm(entry, Number.NaN), RangeError);
    assert.equal(entry.isArmed, true);
    time.advanceTo(1e9 + 21);
    assert.deepEqual(entry.expiredAtMs, [1e9 + 20]);
  });

  it("lets an entry cancel and move others of the same slot while they expire", () => {
    const { time, wheel } = setUp();
    const cancelled = new Probe();
    const moved = new Probe();
    const first: Probe = new Probe(() => {
      if (first.expiredAtMs.length > 1) return;
      wheel.cancel(cancelled);
      wheel.arm(moved, 1500);
      wheel.arm(first, 1600);
    });
    const last = new Probe();
    for (const entry of [first, cancelled, moved, last]) wheel.arm(entry, 1100);
    time.advanceTo(1200);
    assert.deepEqual(
      [first, cancelled, moved, last].map((entry) => entry.expiredAtMs),
      [[1100], [], [], [1100]],
    );
    assert.equal(wheel.size, 2);
    time.advanceTo(2000);
    assert.deepEqual(
      [first, cancelled, moved, last].map((entry) => entry.expiredAtMs.length),
      [2, 0, 1, 1],
    );
    assert.equal(wheel.size, 0);
  });

  it("loses no entry when some throw, and throws each error on after the turn", () => {
    const { time, wheel } = setUp();
    const entries = [0, 1, 2, 3].map(
      (index) =>
        new Probe(() => {
          if (index % 2 === 0) throw new Error(`entry ${index}`);
        }),
    );
    for (const entry of entries) wheel.arm(entry, 1100);
    const later = new Probe();
    wheel.arm(later, 1200);
    time.advanceTo(1300);
    assert.deepEqual(
      entries.map((entry) => entry.expiredAtMs),
      [[1100], [1100], [1100], [1100]],
    );
    assert.deepEqual(time.thrown.map(String), ["Error: entry 0", "Error: entry 2"]);
    assert.deepEqual(later.expiredAtMs, [1200]);
  });

  it("fires in order of time after a long sleep of the process", () => {
    const { time, wheel } = setUp();
    const order: number[] = [];
    const dues = [1001, 1255.5, 1300, 70_000, 100_000, 2e7, 6e7];
    time.latenessMs = 1e8;
    for (const dueMs of dues.toReversed()) wheel.arm(new Probe(() => order.push(dueMs)), dueMs);
    time.advanceTo(2e8);
    assert.deepEqual(order, dues);
  });

  const delay = fc.oneof(
    fc.double({ min: -10, max: 600, noNaN: true }),
    fc.double({ min: 0, max: 200_000, noNaN: true }),
    fc.double({ min: 0, max: 5e7, noNaN: true }),
    fc.constantFrom(0, 1, 255, 256, 257, 65_535, 65_536, 65_537, 2 ** 24 - 1, 2 ** 24, 2 ** 24 + 1),
  );
  const entryIndex = fc.nat({ max: 19 });
  const step = fc.oneof(
    { weight: 5, arbitrary: fc.record({ kind: fc.constant("arm" as const), index: entryIndex, delay }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("cancel" as const), index: entryIndex }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant("advance" as const), delay }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("late" as const), latenessMs: fc.nat({ max: 70_000 }) }) },
    // What an entry does when it expires: arm itself or another, or cancel another.
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant("chain" as const),
        index: entryIndex,
        other: entryIndex,
        delay: fc.option(delay),
      }),
    },
  );

  it("agrees with a naive model: never early, at most a millisecond late, nothing lost, one timer", () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0, max: 1e10, noNaN: true }),
        fc.array(step, { maxLength: 80, size: "max" }),
        (startMs, steps) => {
          const { time, wheel } = setUp(startMs);
          const due = new Map<number, number>();
          const chains = new Map<number, () => void>();
          let latenessMsMax = 0;
          const arm = (index: number, dueMs: number): void => {
            // Being armed late for the past is not lateness.
            due.set(index, Math.max(dueMs, time.nowMs));
            wheel.arm(entries[index] ?? assert.fail(), dueMs);
          };
          const entries = Array.from({ length: 20 }, (_, index) => {
            const entry = new Probe((nowMs) => {
              const dueMs = due.get(index) ?? assert.fail(`entry ${index} expired without being armed`);
              assert.ok(nowMs >= dueMs, `early: ${dueMs} at ${nowMs}`);
              assert.ok(nowMs < dueMs + 1 + latenessMsMax + 1e-3, `late: ${dueMs} at ${nowMs}`);
              due.delete(index);
              const chain = chains.get(index);
              chains.delete(index);
              chain?.();
            });
            return entry;
          });
          for (const each of steps) {
            if (each.kind === "arm") arm(each.index, time.nowMs + each.delay);
            if (each.kind === "cancel") {
              due.delete(each.index);
              wheel.cancel(entries[each.index] ?? assert.fail());
            }
            if (each.kind === "advance") time.advanceTo(time.nowMs + Math.max(0, each.delay));
            if (each.kind === "late") {
              time.latenessMs = each.latenessMs;
              latenessMsMax = Math.max(latenessMsMax, each.latenessMs);
            }
            if (each.kind === "chain") {
              chains.set(each.index, () => {
                if (each.delay !== null) return arm(each.other, time.nowMs + each.delay);
                due.delete(each.other);
                wheel.cancel(entries[each.other] ?? assert.fail());
              });
            }
            assert.equal(wheel.size, due.size);
            assert.ok(time.waiting.size <= 1, "one timer of the world");
            assert.deepEqual(time.thrown, []);
            for (const [index, entry] of entries.entries()) assert.equal(entry.isArmed, due.has(index));
          }
          time.advanceTo(time.nowMs + 3e8);
          assert.deepEqual(time.thrown, []);
          assert.equal(wheel.size, 0);
          assert.equal(due.size, 0);
          assert.equal(time.waiting.size, 0);
        },
      ),
      { numRuns: 500 },
    );
  });
});
