/**
 * The real network with a clock that only the test moves.
 */
import { turns } from "./gate.ts";
import type { Timer } from "../../src/world/timers.ts";
import { nodeWorld } from "../../src/world/node.ts";
import type { World } from "../../src/world/world.ts";

export interface ManualWorld extends World {
  /** Moves the clock and runs what has become due, in order. */
  advance(ms: number): void;
  /** Moves the clock in steps of 10 ms until the promise has settled. */
  settle<T>(promise: Promise<T>): Promise<T>;
  /** Timers that wait. */
  readonly waiting: number;
}

interface Entry {
  readonly dueMs: number;
  readonly callback: () => void;
}

export function manualWorld(): ManualWorld {
  let nowMs = 1_000;
  const entries = new Set<Entry>();
  const runDue = (untilMs: number): void => {
    for (;;) {
      let next: Entry | undefined;
      for (const entry of entries) if (entry.dueMs <= untilMs && !(next && next.dueMs <= entry.dueMs)) next = entry;
      if (next === undefined) return;
      entries.delete(next);
      nowMs = Math.max(nowMs, next.dueMs);
      next.callback();
    }
  };
  return {
    ...nodeWorld,
    clock: { monotonicMs: () => nowMs, wallMs: () => 1_700_000_000_000 + nowMs },
    timers: {
      ...nodeWorld.timers,
      schedule(delayMs, callback): Timer {
        const entry = { dueMs: nowMs + delayMs, callback };
        entries.add(entry);
        return { cancel: () => entries.delete(entry) };
      },
    },
    advance(ms) {
      const untilMs = nowMs + ms;
      runDue(untilMs);
      nowMs = untilMs;
    },
    async settle(promise) {
      let isSettled = false;
      const settled = (): void => {
        isSettled = true;
      };
      promise.then(settled, settled);
      for (let step = 0; !isSettled && step < 10_000; step++) {
        await turns(3);
        this.advance(10);
      }
      return promise;
    },
    get waiting() {
      return entries.size;
    },
  };
}
