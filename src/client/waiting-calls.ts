/**
 * Hot path: the calls of a channel that wait for a peer or a stream, in the order in which they came. Those whose replies are a stream
 * stand in a queue of their own: they may hold three quarters of a connection's streams, and would stand before the others, for whom
 * a quarter is free.
 */
import type { ClientCall } from "./client-call.ts";
import type { ClientPeer } from "./client-peer.ts";

/** Calls of a queue that find no peer, one after the other, before the rest of it is not asked. */
const MISSES_MAX = 16;

export class WaitingCalls {
  count: number;
  readonly #short: Queue;
  readonly #long: Queue;
  #isPlacing: boolean;

  constructor() {
    this.count = 0;
    this.#short = new Queue();
    this.#long = new Queue();
    this.#isPlacing = false;
  }

  add(call: ClientCall): void {
    call.isWaiting = true;
    this.count += 1;
    (call.isReplyStream ? this.#long : this.#short).add(call);
  }

  /** The call must be waiting. */
  remove(call: ClientCall): void {
    call.isWaiting = false;
    this.count -= 1;
    (call.isReplyStream ? this.#long : this.#short).remove(call);
  }

  /** Those that wait now, for what ends them all. */
  all(): readonly ClientCall[] {
    const calls: ClientCall[] = [];
    for (const { first } of [this.#short, this.#long]) {
      for (let call = first; call !== undefined; call = call.waitNext) calls.push(call);
    }
    return calls;
  }

  /**
   * Gives calls to peers that take them, at most so many. Of the two at the heads the one that began first is asked first. `started` takes
   * the call out, and may take out others.
   */
  place(nowMs: number, most: number, started: (call: ClientCall, peer: ClientPeer) => void): void {
    if (this.#isPlacing) return;
    this.#isPlacing = true;
    const short = this.#short.begin();
    const long = this.#long.begin();
    try {
      for (let placed = 0; placed < most; ) {
        const queue = isSooner(long.next, short.next) ? long : short;
        const call = queue.take();
        if (call === undefined) return;
        const peer = call.pickAgain(nowMs);
        if (peer === undefined) {
          queue.missed();
        } else {
          placed += 1;
          started(call, peer);
        }
      }
    } finally {
      this.#isPlacing = false;
    }
  }
}

function isSooner(one: ClientCall | undefined, other: ClientCall | undefined): boolean {
  return one !== undefined && (other === undefined || one.createdMs < other.createdMs);
}

/** Calls in the order in which they came. A walk through it holds although calls leave and come. */
class Queue {
  first: ClientCall | undefined;
  #last: ClientCall | undefined;
  /** Of the walk. */
  next: ClientCall | undefined;
  #misses: number;

  constructor() {
    this.first = undefined;
    this.#last = undefined;
    this.next = undefined;
    this.#misses = 0;
  }

  add(call: ClientCall): void {
    call.waitPrevious = this.#last;
    call.waitNext = undefined;
    if (this.#last === undefined) this.first = call;
    else this.#last.waitNext = call;
    this.#last = call;
  }

  remove(call: ClientCall): void {
    if (this.next === call) this.next = call.waitNext;
    if (call.waitPrevious === undefined) this.first = call.waitNext;
    else call.waitPrevious.waitNext = call.waitNext;
    if (call.waitNext === undefined) this.#last = call.waitPrevious;
    else call.waitNext.waitPrevious = call.waitPrevious;
    call.waitPrevious = undefined;
    call.waitNext = undefined;
  }

  begin(): this {
    this.next = this.first;
    this.#misses = 0;
    return this;
  }

  take(): ClientCall | undefined {
    const call = this.next;
    this.next = call?.waitNext;
    return call;
  }

  missed(): void {
    this.#misses += 1;
    if (this.#misses === MISSES_MAX) this.next = undefined;
  }
}
