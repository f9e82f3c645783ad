/**
 * Hot path: a stream's incoming messages, from payload ranges to an async iterator, with backpressure.
 *
 * A reader that waits is given its message from the received chunk itself. What nobody waits for is kept as bytes in one
 * buffer per stream, never as an object per frame, so that tiny frames cost the peer's window and not our memory. Bytes are
 * reported as consumed when the reader takes them, and only then does the peer get new window.
 */
import { type Encoding, CompressionError, decompress } from "../grpc/compression.ts";
import { MessageDeframer, messagePrefixBytes } from "../grpc/deframer.ts";
import type { MessageCodec } from "../grpc/message-codec.ts";

/** Who owns the stream behind an inbox. */
export interface InboxOwner {
  /** The reader took this many bytes of payload. */
  inboxConsumed(bytes: number): void;
  /** A reader waits for a message that lacks so many bytes. True: window and memory for them are granted. */
  inboxExpects(bytes: number): boolean;
  /** Makes the error for a message that cannot be read, and ends the call for it. `cause` is what the codec threw. */
  inboxBroken(problem: InboxProblem, cause: unknown): unknown;
}

/** Why messages cannot be read on. "altered": its checksum is another. */
export type InboxProblem =
  | "altered"
  | "too-large"
  | "bad-flag"
  | "truncated"
  | "compressed-without-encoding"
  | "corrupt"
  | "invalid";

/** A message that cannot be read. */
export class MessageProblem extends Error {
  readonly problem: InboxProblem;

  constructor(problem: InboxProblem, cause: unknown) {
    super(problem, { cause });
    this.problem = problem;
  }
}

/** Who knows something of the checksum of a message that arrives. */
export interface MessageCheck {
  /** The message as it was encoded is bytes[start, end). False: it is not the one that was sent. */
  isIntact(bytes: Buffer, start: number, end: number): boolean;
}

/**
 * Decompresses if flagged, checks if asked to, and decodes, the deframer's current message. Throws {@link MessageProblem} and nothing
 * else.
 */
export function decodeMessage<T>(
  deframer: MessageDeframer,
  codec: MessageCodec<T>,
  encoding: Encoding | undefined,
  messageBytesMax: number,
  check: MessageCheck | undefined,
): T {
  let bytes = deframer.bytes;
  let start = deframer.start;
  let end = deframer.end;
  let isOwned = deframer.isGathered;
  if (deframer.isCompressed) {
    bytes = decompressMessage(bytes.subarray(start, end), encoding, messageBytesMax);
    start = 0;
    end = bytes.length;
    isOwned = true;
  }
  if (check !== undefined && !check.isIntact(bytes, start, end)) throw new MessageProblem("altered", undefined);
  try {
    return codec.decode(bytes, start, end, isOwned);
  } catch (error) {
    throw new MessageProblem("invalid", error);
  }
}

/** What a message that is flagged as compressed holds. Throws {@link MessageProblem} and nothing else. */
export function decompressMessage(bytes: Buffer, encoding: Encoding | undefined, messageBytesMax: number): Buffer {
  if (encoding === undefined || encoding === "identity")
    throw new MessageProblem("compressed-without-encoding", undefined);
  try {
    return decompress(encoding, bytes, messageBytesMax);
  } catch (error) {
    const isTooLarge = error instanceof CompressionError && error.kind === "too-large";
    throw new MessageProblem(isTooLarge ? "too-large" : "corrupt", error);
  }
}

/**
 * Whether a message that has a checksum is too large by its prefix alone, so that it may be the prefix that was altered: the limit
 * then holds for what has come of it, which is dropped.
 * @param received bytes of the message so far, the prefix included.
 * @param hasEnded no more of it will come.
 */
export function isLengthDoubtful(
  deframer: MessageDeframer,
  received: number,
  messageBytesMax: number,
  hasEnded: boolean,
): boolean {
  if (deframer.error !== "too-large") return false;
  if (hasEnded) return received !== messagePrefixBytes + deframer.messageBytes;
  return received <= messagePrefixBytes + messageBytesMax;
}

const COPY_BY_LOOP_MAX = 48;
const PENDING_BYTES_MIN = 1_024;
/** A buffer that grew larger is not kept for the next messages: most streams are small again after a burst. */
const SPARE_BYTES_MAX = 65_536;

export class MessageInbox<T = unknown> {
  encoding: Encoding | undefined;
  /** Payload has come. */
  hasReceived: boolean;
  readonly #owner: InboxOwner;
  readonly #codec: MessageCodec<T>;
  readonly #messageBytesMax: number;
  readonly #deframer: MessageDeframer;
  #pending: Buffer | undefined;
  #pendingBytes: number;
  #spare: Buffer | undefined;
  #range: Buffer | undefined;
  #resolve: ((result: IteratorResult<T>) => void) | undefined;
  #reject: ((error: unknown) => void) | undefined;
  #isEnded: boolean;
  #isStopped: boolean;
  #error: unknown;

  constructor(owner: InboxOwner, codec: MessageCodec<T>, messageBytesMax: number) {
    this.encoding = undefined;
    this.hasReceived = false;
    this.#owner = owner;
    this.#codec = codec;
    this.#messageBytesMax = messageBytesMax;
    this.#deframer = new MessageDeframer(messageBytesMax);
    this.#pending = undefined;
    this.#pendingBytes = 0;
    this.#spare = undefined;
    this.#range = undefined;
    this.#resolve = undefined;
    this.#reject = undefined;
    this.#isEnded = false;
    this.#isStopped = false;
    this.#error = undefined;
  }

  /** Someone waits for a message. */
  get isAwaited(): boolean {
    return this.#resolve !== undefined;
  }

  /** Payload arrived: bytes[start, end). */
  push(bytes: Buffer, start: number, end: number): void {
    this.hasReceived = true;
    if (this.#error !== undefined || this.#isStopped) {
      this.#owner.inboxConsumed(end - start);
      return;
    }
    if (this.#resolve === undefined || this.#pendingBytes > 0) {
      this.#keep(bytes, start, end);
      return;
    }
    this.#deframer.push(bytes, start, end);
    this.#range = undefined;
    const resolve = this.#resolve;
    if (this.#advance()) {
      const value = this.#decode();
      const rest = this.#deframer.restBytes;
      if (rest > 0) this.#keep(bytes, this.#deframer.dropRest(), end);
      if (value === BROKEN) return;
      this.#settled();
      resolve({ value: value as T, done: false });
    } else if (this.#deframer.error !== undefined) {
      this.#break(this.#deframer.error, undefined);
    }
  }

  /** The peer sends no more messages. */
  end(): void {
    this.#isEnded = true;
    if (this.#resolve !== undefined && this.#pendingBytes === 0) this.#finish();
  }

  /** Reading ends with this error, once what arrived before has been read; at once if `isNow`. */
  fail(error: unknown, isNow: boolean): void {
    if (this.#error !== undefined) return;
    if (isNow) this.#drop();
    this.#error = error;
    this.#isEnded = true;
    if (this.#resolve !== undefined) this.#finish();
  }

  /** The next message. One at a time: TypeError while another is awaited. */
  next(): Promise<IteratorResult<T>> {
    if (this.#isLeft()) return Promise.resolve({ value: undefined, done: true });
    if (this.#resolve !== undefined) {
      return Promise.reject(new TypeError("a stream is read one message at a time: the last next() has not settled"));
    }
    for (;;) {
      if (this.#advance()) {
        const value = this.#decode();
        if (value === BROKEN) return this.#rejected();
        return Promise.resolve({ value: value as T, done: false });
      }
      if (this.#deframer.error !== undefined && this.#error === undefined) {
        this.#break(this.#deframer.error, undefined);
        return this.#rejected();
      }
      if (this.#pendingBytes === 0) break;
      this.#readPending();
    }
    if (this.#isEnded) {
      if (this.#error === undefined && this.#deframer.isMidMessage) this.#break("truncated", undefined);
      if (this.#error !== undefined) return this.#rejected();
      return Promise.resolve({ value: undefined, done: true });
    }
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  /** Whoever waits here is to wait elsewhere; undefined if nobody does. */
  takeWaiter():
    | { readonly resolve: (result: IteratorResult<T>) => void; readonly reject: (error: unknown) => void }
    | undefined {
    const resolve = this.#resolve;
    const reject = this.#reject;
    if (resolve === undefined || reject === undefined) return undefined;
    this.#settled();
    return { resolve, reject };
  }

  /** Nobody will read on: what is kept, and what still comes, is dropped and its window returned. */
  stop(): void {
    this.#isStopped = true;
    this.#drop();
    this.#isEnded = true;
    if (this.#resolve !== undefined) {
      const resolve = this.#resolve;
      this.#settled();
      resolve({ value: undefined, done: true });
    }
  }

  #rejected(): Promise<never> {
    return Promise.reject(this.#error as Error);
  }

  /** The reader stopped, and nothing had failed. */
  #isLeft(): boolean {
    return this.#isStopped && this.#error === undefined;
  }

  #drop(): void {
    if (this.#pendingBytes > 0) this.#owner.inboxConsumed(this.#pendingBytes);
    const rest = this.#deframer.restBytes;
    if (rest > 0) {
      this.#deframer.dropRest();
      this.#owner.inboxConsumed(rest);
    }
    this.#pending = undefined;
    this.#pendingBytes = 0;
    this.#range = undefined;
  }

  /** Moves the deframer on and reports what it took. */
  #advance(): boolean {
    const before = this.#deframer.restBytes;
    const hasMessage = this.#deframer.next();
    const taken = before - this.#deframer.restBytes;
    if (taken > 0) this.#owner.inboxConsumed(taken);
    if (!hasMessage && this.#resolve !== undefined && this.#deframer.missingBytes > 0) {
      this.#deframer.isWholeGranted = this.#owner.inboxExpects(this.#deframer.missingBytes);
    }
    if (!hasMessage && this.#range !== undefined) {
      // The range has been read to its end, so its buffer may be filled again.
      if (this.#range.length <= SPARE_BYTES_MAX) this.#spare = this.#range;
      this.#range = undefined;
    }
    return hasMessage;
  }

  #readPending(): void {
    const bytes = this.#pending as Buffer;
    this.#deframer.push(bytes, 0, this.#pendingBytes);
    this.#range = bytes;
    this.#pending = undefined;
    this.#pendingBytes = 0;
  }

  #keep(bytes: Buffer, start: number, end: number): void {
    const count = end - start;
    const needed = this.#pendingBytes + count;
    let pending = this.#pending;
    if (pending === undefined) {
      pending = this.#spare;
      this.#spare = undefined;
    }
    if (pending === undefined || pending.length < needed) {
      const larger = Buffer.allocUnsafeSlow(Math.max(PENDING_BYTES_MIN, needed * 2));
      if (pending !== undefined && this.#pendingBytes > 0) pending.copy(larger, 0, 0, this.#pendingBytes);
      pending = larger;
    }
    const at = this.#pendingBytes;
    if (count <= COPY_BY_LOOP_MAX) for (let i = 0; i < count; i++) pending[at + i] = bytes[start + i] as number;
    else bytes.copy(pending, at, start, end);
    this.#pending = pending;
    this.#pendingBytes = needed;
  }

  #decode(): T | typeof BROKEN {
    try {
      return decodeMessage(this.#deframer, this.#codec, this.encoding, this.#messageBytesMax, undefined);
    } catch (error) {
      const problem = error as MessageProblem;
      return this.#break(problem.problem, problem.cause);
    }
  }

  #break(problem: InboxProblem, cause: unknown): typeof BROKEN {
    this.#drop();
    const error = this.#owner.inboxBroken(problem, cause);
    if (this.#error === undefined) this.#error = error;
    this.#isEnded = true;
    if (this.#resolve !== undefined) this.#finish();
    return BROKEN;
  }

  /** Settles the waiter at the end of the stream. */
  #finish(): void {
    const resolve = this.#resolve as (result: IteratorResult<T>) => void;
    const reject = this.#reject as (error: unknown) => void;
    if (this.#error === undefined && this.#deframer.isMidMessage) {
      this.#break("truncated", undefined);
      return;
    }
    this.#settled();
    if (this.#error !== undefined) reject(this.#error);
    else resolve({ value: undefined, done: true });
  }

  #settled(): void {
    this.#resolve = undefined;
    this.#reject = undefined;
  }
}

/** Stands for a message that could not be read. */
const BROKEN: unique symbol = Symbol("broken");
