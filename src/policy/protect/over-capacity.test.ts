import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { AGE_TARGETS_MAX, AGE_TARGETS_MIN, OverCapacity } from "./over-capacity.ts";

const TARGET_MS = 10;
const NOBODY = Number.POSITIVE_INFINITY;

/** Looked at each millisecond, with an oldest that came `waitedMs` before each look. */
function looked(capacity: OverCapacity, fromMs: number, untilMs: number, waitedMs: number): void {
  for (let nowMs = fromMs; nowMs < untilMs; nowMs++) capacity.look(nowMs - waitedMs, TARGET_MS, nowMs);
}

describe("over capacity", () => {
  it("is what lasts for an interval of four targets, not a moment less", () => {
    const capacity = new OverCapacity();
    looked(capacity, 0, 40, 11);
    assert.equal(capacity.isOver, false);
    assert.equal(capacity.look(29, TARGET_MS, 40), true);
    assert.equal(capacity.isOver, true);
  });

  it("is not a queue that is never empty, as long as nobody waits for longer than the target", () => {
    const capacity = new OverCapacity();
    looked(capacity, 0, 10_000, 9);
    assert.equal(capacity.isOver, false);
  });

  it("is not what one short wait interrupts", () => {
    const capacity = new OverCapacity();
    looked(capacity, 0, 39, 20);
    looked(capacity, 39, 40, 1);
    looked(capacity, 40, 79, 20);
    assert.equal(capacity.isOver, false);
  });

  it("ends when nothing waits and nothing was refused for an interval, and then begins again sooner", () => {
    const capacity = new OverCapacity();
    looked(capacity, 0, 41, 20);
    capacity.countRefused(1, "too-old", 50);
    capacity.look(NOBODY, TARGET_MS, 60);
    assert.equal(capacity.isOver, true);
    capacity.look(NOBODY, TARGET_MS, 90);
    assert.equal(capacity.isOver, false);
    looked(capacity, 100, 111, 20);
    assert.equal(capacity.isOver, true);
    const later = new OverCapacity();
    looked(later, 0, 41, 20);
    later.look(NOBODY, TARGET_MS, 60);
    looked(later, 300, 311, 20);
    assert.equal(later.isOver, false);
  });

  it("says when to look, and looking then is enough", () => {
    const capacity = new OverCapacity();
    let nowMs = 0;
    for (let looks = 0; !capacity.isOver && looks < 5; looks++) {
      nowMs = capacity.lookDueMs(0, TARGET_MS);
      capacity.look(0, TARGET_MS, nowMs);
    }
    assert.equal(capacity.isOver, true);
    assert.equal(nowMs, 50);
  });
});

describe("how old a call may grow", () => {
  it("falls with how many come for each that begins", () => {
    const capacity = new OverCapacity();
    looked(capacity, 0, 41, 20);
    assert.equal(capacity.ageMaxMs(1, TARGET_MS), AGE_TARGETS_MAX * TARGET_MS);
    for (let nowMs = 41; nowMs < 141; nowMs++) {
      capacity.countRefused(1, "too-old", nowMs);
      capacity.countBegun(1, nowMs);
    }
    // Two come for one that begins: six targets by four.
    assert.ok(Math.abs(capacity.ageMaxMs(1, TARGET_MS) - 15) < 1, `${capacity.ageMaxMs(1, TARGET_MS)}`);
    for (let nowMs = 141; nowMs < 241; nowMs++) {
      for (let i = 0; i < 20; i++) capacity.countRefused(1, "too-old", nowMs);
      capacity.countBegun(1, nowMs);
    }
    assert.equal(capacity.ageMaxMs(1, TARGET_MS), AGE_TARGETS_MIN * TARGET_MS);
  });

  it("is not changed for a priority by what is refused below it, and neither does that one lack capacity", () => {
    const capacity = new OverCapacity();
    looked(capacity, 0, 41, 20);
    for (let nowMs = 41; nowMs < 141; nowMs++) {
      for (let i = 0; i < 20; i++) capacity.countRefused(2, "too-old", nowMs);
      capacity.countBegun(0, nowMs);
    }
    assert.equal(capacity.ageMaxMs(0, TARGET_MS), AGE_TARGETS_MAX * TARGET_MS);
    assert.deepEqual(capacity.lacks, [false, false, true]);
  });

  it("is an interval for a priority that has enough while one below it has not: what is late then is so by chance", () => {
    const capacity = new OverCapacity();
    const targetMs = 2;
    for (let nowMs = 0; nowMs <= 40; nowMs++) capacity.look(0, targetMs, nowMs);
    assert.equal(capacity.isOver, true);
    assert.equal(capacity.ageMaxMs(0, targetMs), AGE_TARGETS_MAX * targetMs);
    for (let nowMs = 41; nowMs < 141; nowMs++) {
      for (let i = 0; i < 20; i++) capacity.countRefused(2, "too-old", nowMs);
      capacity.countBegun(0, nowMs);
    }
    assert.equal(capacity.ageMaxMs(0, targetMs), 30);
    assert.equal(capacity.ageMaxMs(2, targetMs), AGE_TARGETS_MIN * targetMs);
    for (let i = 0; i < 20; i++) capacity.countRefused(0, "queue-full", 141);
    assert.ok(capacity.ageMaxMs(0, targetMs) <= AGE_TARGETS_MAX * targetMs, "it lacks capacity itself");
  });

  it("work that had no time left is no lack of capacity", () => {
    const capacity = new OverCapacity();
    looked(capacity, 0, 41, 20);
    capacity.countRefused(1, "expired", 41);
    capacity.countRefused(1, "doomed", 41);
    assert.deepEqual(capacity.lacks, [false, false, false]);
    capacity.countRefused(1, "share", 41);
    assert.deepEqual(capacity.lacks, [false, true, false]);
  });
});

describe("how long it would take", () => {
  it("is what waits and was refused, by what begins; unknown is 0", () => {
    const capacity = new OverCapacity();
    assert.equal(capacity.drainMs(10), 0);
    assert.equal(capacity.begunPerMs(), 0);
    looked(capacity, 0, 41, 20);
    for (let nowMs = 41; nowMs < 91; nowMs++) {
      capacity.countRefused(1, "shed", nowMs);
      capacity.countBegun(1, nowMs);
    }
    assert.ok(Math.abs(capacity.begunPerMs() - 1) < 0.05, `${capacity.begunPerMs()}`);
    assert.ok(Math.abs(capacity.drainMs(50) - 100) < 5, `${capacity.drainMs(50)}`);
  });
});
