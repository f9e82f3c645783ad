import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { RetryBudget } from "./budget.ts";

const WINDOW_MS = 10_000;

/** Calls `count` times, evenly over `overMs` from `fromMs`. */
function depositMany(budget: RetryBudget, count: number, fromMs: number, overMs = 0): void {
  for (let i = 0; i < count; i++) budget.deposit(fromMs + (overMs * i) / count);
}

/** Takes until it is refused. */
function takeAll(take: () => boolean): number {
  let taken = 0;
  while (taken < 1_000_000 && take()) taken += 1;
  return taken;
}

interface Taken {
  readonly atMs: number;
  readonly isCopy: boolean;
  isUsed: boolean;
}

/** Takes back one of those that were used, however old it is. */
function giveOneBack(budget: RetryBudget, taken: Taken[], nowMs: number, which: number): void {
  const used = taken.filter((one) => one.isUsed);
  const one = used[which % Math.max(1, used.length)];
  if (one === undefined) return;
  one.isUsed = false;
  if (one.isCopy) budget.giveBackCopy(one.atMs, nowMs);
  else budget.giveBack(one.atMs, nowMs);
}

/** At each time of a use, what the window that ends there has seen. */
function assertBounded(calls: readonly number[], taken: readonly Taken[], share: number, perSecondMin: number): void {
  const used = taken.filter((one) => one.isUsed);
  for (const { atMs, isCopy } of used) {
    const inWindow = (at: number): boolean => at > atMs - WINDOW_MS && at <= atMs;
    const called = calls.filter(inWindow).length;
    const recent = used.filter((one) => inWindow(one.atMs));
    assert.ok(recent.length <= perSecondMin * 10 + share * called + 1e-4, `${recent.length} of ${called}`);
    if (!isCopy) continue;
    const copies = recent.filter((one) => one.isCopy).length;
    assert.ok(copies <= Math.max(1, 0.02 * called + 1e-4), `${copies} copies of ${called}`);
  }
}

describe("the retry budget", () => {
  it("whenever it gives, has given no more in the last window than the reserve and its share of that window's calls", () => {
    const step = fc.record({
      waitMs: fc.oneof(
        fc.constant(0),
        fc.double({ min: 0, max: 400, noNaN: true }),
        fc.integer({ min: 0, max: 25_000 }),
      ),
      calls: fc.nat({ max: 120 }),
      what: fc.constantFrom("repeat", "copy", "back", "none"),
      times: fc.integer({ min: 1, max: 30 }),
    });
    const options = fc.record({ share: fc.constantFrom(0, 0.05, 0.1, 0.5), perSecondMin: fc.constantFrom(0, 0.3, 1) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), options, fc.nat({ max: 5_000 }), (steps, given, startMs) => {
        const budget = new RetryBudget(given);
        const calls: number[] = [];
        const taken: Taken[] = [];
        let nowMs = startMs;
        for (const { waitMs, calls: count, what, times } of steps) {
          nowMs += waitMs;
          for (let i = 0; i < count; i++) {
            calls.push(nowMs);
            budget.deposit(nowMs);
          }
          for (let i = 0; i < times; i++) {
            if (what === "repeat" && budget.takeRepeat(nowMs)) taken.push({ atMs: nowMs, isCopy: false, isUsed: true });
            if (what === "copy" && budget.takeCopy(nowMs)) taken.push({ atMs: nowMs, isCopy: true, isUsed: true });
            if (what === "back") giveOneBack(budget, taken, nowMs, i * 7);
          }
        }
        assertBounded(calls, taken, given.share, given.perSecondMin);
      }),
    );
  });

  it("lets a client of one call a minute repeat it", () => {
    const budget = new RetryBudget();
    for (let minute = 0; minute < 60; minute++) {
      budget.deposit(minute * 60_000);
      assert.ok(budget.takeRepeat(minute * 60_000 + 50));
      assert.ok(budget.takeRepeat(minute * 60_000 + 150));
    }
  });

  it("keeps a client of 100,000 calls a second that wants to repeat each of them at its share, and no lower than it must", () => {
    const budget = new RetryBudget();
    let repeats = 0;
    const calls = 3_000_000;
    for (let i = 0; i < calls; i++) {
      const nowMs = i / 100;
      budget.deposit(nowMs);
      if (budget.takeRepeat(nowMs)) repeats += 1;
    }
    assert.ok(repeats <= 0.1 * calls + 40, `${repeats}`);
    assert.ok(repeats >= 0.085 * calls, `${repeats}`);
  });

  it("forgets a burst within the window of silence that follows", () => {
    const budget = new RetryBudget();
    depositMany(budget, 10_000, 100);
    assert.equal(budget.left(100), 1_010);
    assert.equal(budget.left(9_999), 1_010);
    assert.equal(budget.left(10_000), 10);
    assert.equal(
      takeAll(() => budget.takeRepeat(10_000)),
      10,
    );
    assert.equal(budget.left(20_999), 0);
    assert.equal(budget.left(21_000), 10);
  });

  it("has its ten repeats again after an hour, a year or a thousand years in which nothing was asked", () => {
    for (const laterMs of [3_600_000, 3.2e10, 3.2e13]) {
      const budget = new RetryBudget();
      depositMany(budget, 5_000, 0);
      takeAll(() => budget.takeRepeat(0));
      assert.equal(budget.left(laterMs), 10);
      assert.equal(
        takeAll(() => budget.takeRepeat(laterMs)),
        10,
      );
    }
  });

  it("gives nothing more when the clock goes back", () => {
    const budget = new RetryBudget();
    depositMany(budget, 100, 50_000);
    assert.equal(
      takeAll(() => budget.takeRepeat(50_000)),
      20,
    );
    assert.equal(
      takeAll(() => budget.takeRepeat(1_000)),
      0,
    );
    budget.deposit(1_000);
    assert.equal(budget.left(50_500), 0);
    assert.equal(budget.left(61_000), 10);
  });

  it("when it is empty refuses the new copy and leaves all else as it was (failsafe-go#141)", () => {
    const budget = new RetryBudget({ perSecondMin: 0, share: 0.01 });
    depositMany(budget, 100, 0);
    assert.equal(budget.left(0), 1);
    assert.ok(budget.takeCopy(0), "the copy that is in flight");
    for (let i = 0; i < 10; i++) assert.equal(budget.takeCopy(0), false);
    assert.equal(budget.left(0), 0);
    budget.giveBackCopy(0, 0);
    assert.equal(budget.left(0), 1, "ten refusals cost nothing");
    assert.ok(budget.takeCopy(0));
  });

  it("copies one call of fewer than a hundred, and at most 2 % of more, however much of the budget is left", () => {
    const few = new RetryBudget();
    depositMany(few, 49, 0);
    assert.equal(
      takeAll(() => few.takeCopy(0)),
      1,
    );
    assert.ok(few.mayRepeat(0));
    const many = new RetryBudget();
    depositMany(many, 1_000, 0);
    assert.equal(
      takeAll(() => many.takeCopy(0)),
      20,
    );
    assert.equal(many.left(0), 90);
  });

  it("copies nothing without a share for copies, or when repeats have taken all", () => {
    const none = new RetryBudget({ copyShareMax: 0 });
    depositMany(none, 1_000, 0);
    assert.equal(none.takeCopy(0), false);
    const budget = new RetryBudget();
    depositMany(budget, 1_000, 0);
    assert.equal(
      takeAll(() => budget.takeRepeat(0)),
      110,
    );
    assert.equal(budget.takeCopy(0), false);
  });

  it("gives back what was taken, and never more", () => {
    const budget = new RetryBudget();
    assert.equal(
      takeAll(() => budget.takeRepeat(500)),
      10,
    );
    budget.giveBack(500, 1_500);
    assert.equal(budget.left(1_500), 1);
    for (let i = 0; i < 100; i++) budget.giveBack(500, 1_500);
    assert.equal(budget.left(1_500), 10);
    assert.ok(budget.takeCopy(1_500));
    budget.giveBackCopy(1_500, 1_500);
    budget.giveBackCopy(1_500, 1_500);
    assert.equal(
      takeAll(() => budget.takeCopy(1_500)),
      1,
    );
    assert.equal(budget.left(1_500), 9);
  });

  it("counts what was used a whole window long, also when something older is given back", () => {
    const budget = new RetryBudget();
    assert.ok(budget.takeRepeat(0));
    for (let i = 0; i < 9; i++) assert.ok(budget.takeRepeat(5_000));
    budget.giveBack(0, 5_500);
    assert.equal(budget.left(5_500), 1);
    assert.equal(budget.left(14_999), 1);
    assert.equal(budget.left(16_000), 10);
  });

  it("gives nothing back for what counts no more: what was taken since is another's", () => {
    const budget = new RetryBudget();
    assert.ok(budget.takeCopy(0));
    for (let i = 0; i < 10; i++) assert.ok(budget.takeRepeat(11_500));
    budget.giveBackCopy(0, 12_000);
    assert.equal(budget.left(12_000), 0);
    assert.equal(budget.takeCopy(12_000), false);
  });

  it("says of a repeat beforehand what taking it will say", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat({ max: 3_000 }), fc.nat({ max: 20 })), { maxLength: 80 }), (steps) => {
        const budget = new RetryBudget({ perSecondMin: 0.2 });
        let nowMs = 0;
        for (const [waitMs, calls] of steps) {
          nowMs += waitMs;
          depositMany(budget, calls, nowMs);
          const may = budget.mayRepeat(nowMs);
          assert.equal(budget.left(nowMs) >= 1, may);
          assert.equal(budget.takeRepeat(nowMs), may);
        }
      }),
    );
  });

  it("checks its options", () => {
    assert.throws(() => new RetryBudget({ share: 2 }), new RangeError("budget.share must be 0..1, got 2"));
    assert.throws(() => new RetryBudget({ windowMs: 10 }), /budget\.windowMs must be 1000\.\.60_000, got 10/);
    const misspelt: object = { shares: 0.1 };
    assert.throws(() => new RetryBudget(misspelt), /unknown key "budget.shares", did you mean "budget.share"\?/);
  });
});
