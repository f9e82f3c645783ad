/**
 * Hot path: a request stream as its handler reads it.
 */
import type { ServerCall } from "./server-call.ts";

/** A request stream; leaving its loop stops reading. */
export class RequestIterable implements AsyncIterable<unknown>, AsyncIterator<unknown> {
  readonly #call: ServerCall;
  #isTaken: boolean;
  #isBegun: boolean;

  constructor(call: ServerCall) {
    this.#call = call;
    this.#isTaken = false;
    this.#isBegun = false;
  }
  [Symbol.asyncIterator](): AsyncIterator<unknown> {
    if (this.#isTaken) throw new TypeError("a request stream can be iterated once");
    this.#isTaken = true;
    return this;
  }
  next(): Promise<IteratorResult<unknown>> {
    const call = this.#call;
    const inbox = call.exchange.inbox;
    if (inbox === undefined) return Promise.resolve({ value: undefined, done: true });
    const result = inbox.next();
    if (!this.#isBegun && call.route.isReplyStream) {
      const taken = (): void => call.requestTaken();
      result.then(taken, taken);
    }
    this.#isBegun = true;
    return result;
  }
  return(): Promise<IteratorResult<unknown>> {
    this.#call.exchange.inbox?.stop();
    return Promise.resolve({ value: undefined, done: true });
  }
}
