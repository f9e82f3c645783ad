import assert from "node:assert/strict";
import { test } from "node:test";
import type { Timers } from "../../world/timers.ts";
import { patientTimers } from "./patient-timers.ts";

/** Time that goes where it is told to, and fires what is due once it is there, as a stalled process does. */
function leapingWorld(): { readonly timers: Timers; leapTo(ms: number): void } {
  let nowMs = 0;
  let waiting: { readonly dueMs: number; readonly callback: () => void }[] = [];
  const timers: Timers = {
    schedule(delayMs, callback) {
      const entry = { dueMs: nowMs + delayMs, callback };
      waiting.push(entry);
      return {
        cancel: () => {
          waiting = waiting.filter((other) => other !== entry);
        },
      };
    },
    hold: () => ({ cancel() {} }),
    afterTurn: (callback) => callback(),
  };
  return {
    timers: patientTimers({ monotonicMs: () => nowMs, wallMs: () => 0 }, timers),
    leapTo(ms) {
      nowMs = ms;
      const due = waiting.filter(({ dueMs }) => dueMs <= nowMs);
      waiting = waiting.filter(({ dueMs }) => dueMs > nowMs);
      for (const { callback } of due) callback();
    },
  };
}

test("a timer that comes in time, or a little late, fires at once", () => {
  for (const lateMs of [0, 1, 100]) {
    const { timers, leapTo } = leapingWorld();
    let fired = 0;
    timers.schedule(50, () => fired++);
    leapTo(50 + lateMs);
    assert.equal(fired, 1);
    leapTo(10_000);
    assert.equal(fired, 1);
  }
});

test("a timer that comes late fires in the turn after, however late that is, and once", () => {
  const { timers, leapTo } = leapingWorld();
  let fired = 0;
  timers.schedule(50, () => fired++);
  leapTo(151);
  assert.equal(fired, 0);
  leapTo(60_000);
  assert.equal(fired, 1);
  leapTo(120_000);
  assert.equal(fired, 1);
});

test("one that is cancelled before its second look never fires", () => {
  const { timers, leapTo } = leapingWorld();
  let fired = 0;
  const timer = timers.schedule(50, () => fired++);
  leapTo(5000);
  timer.cancel();
  leapTo(5001);
  assert.equal(fired, 0);
});
