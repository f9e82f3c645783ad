/**
 * The push side of a request stream.
 */
import { numberOption, type Options, resolveOptions } from "../call/options.ts";

/** Push in, iterate out. `write` resolves when the reader has taken the item: that is the backpressure. */
export interface Pipe<T> extends AsyncIterable<T> {
  /** Rejects when the reader has left, or after `end` or `fail`. RangeError when `queueMax` items wait. */
  write(item: T): Promise<void>;
  /** No more items; those written are still read. */
  end(): void;
  /** The reader gets this error after the items written. */
  fail(error: unknown): void;
}

const pipeShape = { queueMax: numberOption({ default: 1_024, min: 1, max: 1_000_000, integer: true }) };

interface Item<T> {
  readonly value: T;
  readonly taken: () => void;
  readonly dropped: (error: Error) => void;
}

/** Makes a pipe. `queueMax`: items that may wait for the reader at once (default 1024), so that a forgotten await shows. */
export function pipe<T>(options?: Options<{ queueMax: number }>): Pipe<T> {
  const { queueMax } = resolveOptions("", options ?? {}, pipeShape);
  return new ItemPipe<T>(queueMax);
}

class ItemPipe<T> implements Pipe<T>, AsyncIterator<T> {
  readonly #queueMax: number;
  readonly #items: Item<T>[];
  #isEnded: boolean;
  #isTaken: boolean;
  #hasError: boolean;
  #error: unknown;
  #resolve: ((result: IteratorResult<T>) => void) | undefined;
  #reject: ((error: unknown) => void) | undefined;

  constructor(queueMax: number) {
    this.#queueMax = queueMax;
    this.#items = [];
    this.#isEnded = false;
    this.#isTaken = false;
    this.#hasError = false;
    this.#error = undefined;
    this.#resolve = undefined;
    this.#reject = undefined;
  }

  write(value: T): Promise<void> {
    if (this.#isEnded) return Promise.reject(new TypeError("the pipe has ended: nothing more can be written"));
    const resolve = this.#resolve;
    if (resolve !== undefined) {
      this.#settled();
      resolve({ value, done: false });
      return Promise.resolve();
    }
    if (this.#items.length >= this.#queueMax) {
      return Promise.reject(new RangeError(`the pipe holds ${this.#queueMax} items already: await write`));
    }
    return new Promise((taken, dropped) => {
      this.#items.push({ value, taken, dropped });
    });
  }

  end(): void {
    this.#isEnded = true;
    const resolve = this.#resolve;
    this.#settled();
    resolve?.({ value: undefined, done: true });
  }

  fail(error: unknown): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    const reject = this.#reject;
    this.#settled();
    if (reject !== undefined) {
      reject(error);
      return;
    }
    this.#hasError = true;
    this.#error = error;
  }

  [Symbol.asyncIterator](): AsyncIterator<T> {
    if (this.#isTaken) throw new TypeError("a pipe can be iterated once");
    this.#isTaken = true;
    return this;
  }

  next(): Promise<IteratorResult<T>> {
    const item = this.#items.shift();
    if (item !== undefined) {
      item.taken();
      return Promise.resolve({ value: item.value, done: false });
    }
    if (this.#hasError) {
      this.#hasError = false;
      return Promise.reject(this.#error);
    }
    if (this.#isEnded) return Promise.resolve({ value: undefined, done: true });
    if (this.#resolve !== undefined) {
      return Promise.reject(new TypeError("a pipe is read one item at a time: the last next() has not settled"));
    }
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  return(): Promise<IteratorResult<T>> {
    this.#isEnded = true;
    for (const item of this.#items.splice(0)) item.dropped(new TypeError("the pipe's reader has left"));
    const resolve = this.#resolve;
    this.#settled();
    resolve?.({ value: undefined, done: true });
    return Promise.resolve({ value: undefined, done: true });
  }

  #settled(): void {
    this.#resolve = undefined;
    this.#reject = undefined;
  }
}
