/**
 * Hot path: a stream of requests into attempts, pulled only when the peer's window has room. What was sent is held, up to
 * 1 MiB, until the call is committed, so that a call which never reached a handler can be sent elsewhere.
 */
import { AsyncResource } from "node:async_hooks";
import type { ClientAttempt } from "../wire/transport/client-attempt.ts";

const HELD_BYTES_MAX = 1_048_576;
/** What the shortest message counts: gRPC's prefix. A message that is held costs something, whatever its bytes. */
const MESSAGE_BYTES_MIN = 5;

export interface PumpOwner {
  readonly isOver: boolean;
  /** The source of requests threw. */
  sourceFailed(error: unknown): void;
  /** A request cannot be encoded. */
  requestRefused(error: unknown): void;
}

/** Its context is the caller's: the source's code runs there, and not in that of the socket which makes room for it. */
export class RequestPump extends AsyncResource {
  readonly #owner: PumpOwner;
  readonly #source: AsyncIterator<unknown> | Iterator<unknown>;
  /** Pulled and not yet dropped; the first has number `#base`. */
  #held: unknown[];
  #base: number;
  #heldBytes: number;
  #isHolding: boolean;
  #isExhausted: boolean;
  #pulling: Promise<void> | undefined;
  #attempt: ClientAttempt | undefined;
  #wake: (() => void) | undefined;

  constructor(owner: PumpOwner, source: AsyncIterable<unknown> | Iterable<unknown>) {
    super("HoldfastRequests");
    this.#owner = owner;
    this.#source = Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]();
    this.#held = [];
    this.#base = 0;
    this.#heldBytes = 0;
    this.#isHolding = true;
    this.#isExhausted = false;
    this.#pulling = undefined;
    this.#attempt = undefined;
    this.#wake = undefined;
  }

  /** All requests so far are still held. */
  get canSendAgain(): boolean {
    return this.#base === 0;
  }

  /** Sends to this attempt, from the first request on. */
  start(attempt: ClientAttempt): void {
    this.#attempt = attempt;
    // What is held is sent, and counted, once more.
    this.#heldBytes = 0;
    this.#wakeUp();
    void this.#run(attempt);
  }

  /** The peer has answered: what was sent need not be held any more. */
  commit(): void {
    this.#isHolding = false;
    this.#heldBytes = 0;
  }

  /** The attempt's queue is empty again. */
  writable(): void {
    this.#wakeUp();
  }

  /** The call is over: the source is let go. */
  stop(): void {
    this.#attempt = undefined;
    this.#wakeUp();
    if (this.#isExhausted) return;
    this.#isExhausted = true;
    try {
      const returned: unknown = this.#source.return?.();
      if (returned instanceof Promise) returned.catch(() => {});
    } catch {
      // The call has its outcome already; a source that fails while it is let go changes nothing.
    }
  }

  async #run(attempt: ClientAttempt): Promise<void> {
    let number = 0;
    while (attempt === this.#attempt && !this.#owner.isOver && !attempt.isEnded) {
      if (!attempt.canSend) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        continue;
      }
      const index = number - this.#base;
      if (index < this.#held.length) {
        if (!this.#send(attempt, index)) return;
        number += 1;
        continue;
      }
      if (this.#isExhausted) {
        attempt.endRequests();
        return;
      }
      this.#pulling ??= this.#pull();
      await this.#pulling;
    }
  }

  #send(attempt: ClientAttempt, index: number): boolean {
    let bytes: number;
    try {
      bytes = attempt.send(this.#held[index], false);
    } catch (error) {
      this.#owner.requestRefused(error);
      return false;
    }
    this.#heldBytes += Math.max(MESSAGE_BYTES_MIN, bytes);
    if (this.#heldBytes > HELD_BYTES_MAX) this.#isHolding = false;
    if (!this.#isHolding) {
      const sent = index + 1;
      if (sent === this.#held.length) this.#held.length = 0;
      else this.#held = this.#held.slice(sent);
      this.#base += sent;
    }
    return true;
  }

  async #pull(): Promise<void> {
    try {
      const result = await this.runInAsyncScope(nextOf, undefined, this.#source);
      if (this.#isExhausted) return;
      if (result.done === true) this.#isExhausted = true;
      else this.#held.push(result.value);
    } catch (error) {
      if (this.#isExhausted) return;
      this.#isExhausted = true;
      this.#owner.sourceFailed(error);
    } finally {
      this.#pulling = undefined;
    }
  }

  #wakeUp(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}

function nextOf(
  source: AsyncIterator<unknown> | Iterator<unknown>,
): Promise<IteratorResult<unknown>> | IteratorResult<unknown> {
  return source.next();
}
