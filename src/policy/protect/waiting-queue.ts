/**
 * Hot path: the calls that wait for a permit, in the order in which they came, a list for each priority. The links are the calls' own fields, so
 * that to wait, to leave from the middle and to be taken cost no memory.
 */
import type { PriorityRank } from "./refusal.ts";

/** What waits. The fields are the queue's own while it waits. */
export interface Waiting<T> {
  readonly priorityRank: PriorityRank;
  queuePrevious: T | undefined;
  queueNext: T | undefined;
  queuedAtMs: number;
}

/** Three doubly linked lists. Each call is in one of them, or in none. */
export class WaitingQueue<T extends Waiting<T>> {
  /** Calls that wait, of all priorities. */
  length: number;
  /** By rank: the first came longest ago. */
  readonly oldest: (T | undefined)[];
  readonly newest: (T | undefined)[];
  readonly lengths: number[];

  constructor() {
    this.length = 0;
    this.oldest = [undefined, undefined, undefined];
    this.newest = [undefined, undefined, undefined];
    this.lengths = [0, 0, 0];
  }

  /** Puts a call behind those of its priority. */
  push(call: T, nowMs: number): void {
    const rank = call.priorityRank;
    const last = this.newest[rank];
    call.queuedAtMs = nowMs;
    call.queuePrevious = last;
    call.queueNext = undefined;
    if (last === undefined) this.oldest[rank] = call;
    else last.queueNext = call;
    this.newest[rank] = call;
    this.lengths[rank] = (this.lengths[rank] as number) + 1;
    this.length += 1;
  }

  /** Takes a call that waits out of its list. */
  remove(call: T): void {
    const rank = call.priorityRank;
    const before = call.queuePrevious;
    const after = call.queueNext;
    if (before === undefined) this.oldest[rank] = after;
    else before.queueNext = after;
    if (after === undefined) this.newest[rank] = before;
    else after.queuePrevious = before;
    call.queuePrevious = undefined;
    call.queueNext = undefined;
    this.lengths[rank] = (this.lengths[rank] as number) - 1;
    this.length -= 1;
  }

  /** When the one that waits longest came, or Infinity. */
  oldestAtMs(): number {
    let atMs = Number.POSITIVE_INFINITY;
    for (let rank = 0; rank < 3; rank++) {
      const call = this.oldest[rank];
      if (call !== undefined && call.queuedAtMs < atMs) atMs = call.queuedAtMs;
    }
    return atMs;
  }

  /** The one that leaves first for a call of this rank: the oldest of the least priority, if that is not above `rank`. */
  worst(rank: PriorityRank): T | undefined {
    for (let worst = 2; worst >= rank; worst--) {
      const call = this.oldest[worst];
      if (call !== undefined) return call;
    }
    return undefined;
  }
}
