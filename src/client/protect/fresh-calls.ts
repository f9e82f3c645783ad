/**
 * Hot path: the calls that began in this turn of the event loop and are not over. Most work of a cache or a pool is done before the turn is:
 * such a call costs no look at the clock and no place in the timer wheel. What is still open when the turn ends is told so, once, and
 * counts its time from there: no timer could have come before.
 */
import type { Clock } from "../../world/clock.ts";
import type { Timers } from "../../world/timers.ts";
import type { Runtime } from "../../wire/transport/runtime.ts";

/** So many calls may begin before the clock is read anew within a turn. */
const CALLS_PER_READING = 64;

/** A call in the list. */
export interface FreshCall {
  freshPrevious: FreshCall | undefined;
  freshNext: FreshCall | undefined;
  /** The turn in which it began is over, and it is not; it is in the list no more. */
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
  private first: FreshCall | undefined;
  private last: FreshCall | undefined;
  private isTurnWatched: boolean;
  private sinceReading: number;
  private readonly endTurn: () => void;

  constructor(clock: Clock, timers: Timers) {
    // NaN and not 0, so that the field is a double from the start.
    this.nowMs = Number.NaN;
    this.clock = clock;
    this.timers = timers;
    this.first = undefined;
    this.last = undefined;
    this.isTurnWatched = false;
    this.sinceReading = 0;
    this.endTurn = () => this.turnEnds();
  }

  /** A call begins. */
  add(call: FreshCall): void {
    if (!this.isTurnWatched) {
      this.isTurnWatched = true;
      this.timers.afterTurn(this.endTurn);
      this.read();
    } else if (++this.sinceReading >= CALLS_PER_READING) this.read();
    const { last } = this;
    if (last === undefined) this.first = call;
    else last.freshNext = call;
    call.freshPrevious = last;
    this.last = call;
  }

  /** A call ends; or the list is no longer to tell it of the turn's end. Does nothing if it is not in the list. */
  remove(call: FreshCall): void {
    const { freshPrevious, freshNext } = call;
    if (freshPrevious !== undefined) freshPrevious.freshNext = freshNext;
    else if (this.first === call) this.first = freshNext;
    else return;
    if (freshNext === undefined) this.last = freshPrevious;
    else freshNext.freshPrevious = freshPrevious;
    call.freshPrevious = undefined;
    call.freshNext = undefined;
  }

  private read(): void {
    this.sinceReading = 0;
    this.nowMs = this.clock.monotonicMs();
  }

  private turnEnds(): void {
    this.isTurnWatched = false;
    this.read();
    const nowMs = this.nowMs;
    for (let call = this.first; call !== undefined; call = this.first) {
      this.remove(call);
      call.turnEnded(nowMs);
    }
  }
}
