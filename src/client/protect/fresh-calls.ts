/**
 * Hot path: the calls that began in this turn of the event loop and are not over. Most work of a cache or a pool is done before the turn is:
 * such a call costs no look at the clock and no place in the timer wheel. What is still open when the turn ends is told so, once, and
 * counts its time from there: no timer could have come before.
 */
import type { Clock } from "../../world/clock.ts";
import type { Timers } from "../../world/timers.ts";
import type { Runtime } from "../../wire/transport/runtime.ts";

/** After so many calls in one turn the clock is read anew, and those that are over are let go. */
const CALLS_PER_READING = 64;

/** A call that began in this turn. */
export interface FreshCall {
  /** It is not over, and has no times of its own yet. */
  readonly isFresh: boolean;
  /** The turn in which it began is over, and it still is fresh. */
  turnEnded(nowMs: number): void;
}

const lists = new WeakMap<Runtime, FreshCalls>();

/** One for a world. */
export function freshCallsOf(runtime: Runtime): FreshCalls {
  let list = lists.get(runtime);
  if (list === undefined) {
    list = new FreshCalls(runtime.world.clock, runtime.world.timers);
    lists.set(runtime, list);
  }
  return list;
}

export class FreshCalls {
  /** The clock as it was when it was read last: never older than this turn, or than the 64 calls before. */
  nowMs: number;
  private readonly clock: Clock;
  private readonly timers: Timers;
  /** Those of this turn in the order in which they began, some of them over; only the first `count` are any. */
  private readonly calls: (FreshCall | undefined)[];
  private count: number;
  /** With so many in the list it is looked through. */
  private lookAt: number;
  private isTurnWatched: boolean;
  private readonly endTurn: () => void;

  constructor(clock: Clock, timers: Timers) {
    // NaN and not 0, so that the field is a double from the start.
    this.nowMs = Number.NaN;
    this.clock = clock;
    this.timers = timers;
    this.calls = [];
    this.count = 0;
    this.lookAt = CALLS_PER_READING;
    this.isTurnWatched = false;
    this.endTurn = () => this.turnEnds();
  }

  /** Calls that are held. */
  get size(): number {
    return this.count;
  }

  /** A call begins. */
  add(call: FreshCall): void {
    if (!this.isTurnWatched) {
      this.isTurnWatched = true;
      this.timers.afterTurn(this.endTurn);
      this.nowMs = this.clock.monotonicMs();
    } else if (this.count >= this.lookAt) this.look();
    this.calls[this.count] = call;
    this.count += 1;
  }

  /** Reads the clock, and lets go of what is over. */
  private look(): void {
    const { calls, count } = this;
    let kept = 0;
    for (let i = 0; i < count; i++) {
      const call = calls[i];
      if (call?.isFresh !== true) continue;
      calls[kept] = call;
      kept += 1;
    }
    for (let i = kept; i < count; i++) calls[i] = undefined;
    this.count = kept;
    this.lookAt = kept + CALLS_PER_READING;
    this.nowMs = this.clock.monotonicMs();
  }

  private turnEnds(): void {
    this.isTurnWatched = false;
    this.look();
    const { calls, count } = this;
    // Whoever is told may begin calls, which belong to the next turn.
    const open: FreshCall[] = [];
    for (let i = 0; i < count; i++) {
      const call = calls[i];
      calls[i] = undefined;
      if (call !== undefined) open.push(call);
    }
    this.count = 0;
    this.lookAt = CALLS_PER_READING;
    for (const call of open) if (call.isFresh) call.turnEnded(this.nowMs);
  }
}
