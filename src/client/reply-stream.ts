/**
 * Hot path: a call whose replies are a stream. It begins at once; its failure waits for the reader and is never an
 * unhandled rejection; one that nobody begins to read is cancelled, so that a forgotten one does not leak.
 */
import { failure, type RpcError } from "../call/error.ts";
import { emptyMetadata, type Metadata, metadataFromPairs } from "../call/metadata.ts";
import type { ClientAttempt } from "../wire/transport/client-attempt.ts";
import type { MessageInbox } from "../wire/transport/message-inbox.ts";
import type { ChannelCore } from "./channel-core.ts";
import { ClientCall } from "./client-call.ts";
import type { ClientMethod } from "./client-method.ts";
import type { CallOptions } from "./options.ts";
import { type PumpOwner, RequestPump } from "./request-pump.ts";

/** Without a deadline of its own, a stream's headers must come in this time. */
const HEADERS_TIMEOUT_MS = 30_000;
/** A stream that nobody begins to read is cancelled after this time. */
const UNREAD_TIMEOUT_MS = 30_000;

/**
 * What a reply stream is to its user. Without a deadline of its own the server's headers must come within 30 s, else it ends with
 * DEADLINE_EXCEEDED: a server that has nothing to say for long sends its headers first, as ours does at once.
 *
 * Leaving the loop (`break`) before the end, like `cancel`, resets the stream (RST_STREAM). Servers count resets and end connections on
 * which there are many; a client keeps to a burst of 100 and 25 a second on each connection, and what it leaves beyond that
 * goes on unread at the server until it ends or its turn has come. Who wants the first few replies often asks for only so many.
 */
export interface Stream<T> extends AsyncIterable<T>, AsyncDisposable {
  /** Resolves with the first of: header, end. Never rejects: the failure comes through the iteration. */
  readonly header: Promise<Metadata>;
  /**
   * After its end: the token with which a handler ended it early (`call.resumeWith`), for a request of your own that goes on from there;
   * read all replies first. Undefined before, if it failed, and if there is none: then it is complete.
   */
  readonly resumeToken: Uint8Array | undefined;
  /** Cancels the call, which is a RST_STREAM to the server; the reader gets CANCELLED with the reason as cause. */
  cancel(reason?: unknown): void;
}

export class ReplyStreamCall extends ClientCall implements PumpOwner, Stream<unknown>, AsyncIterator<unknown> {
  /** The attempt that the replies come from, once headers have come. */
  source: ClientAttempt | undefined = undefined;
  readonly #pump: RequestPump | undefined;
  readonly #request: unknown;
  #inbox: MessageInbox | undefined = undefined;
  #isTaken: boolean = false;
  #isRead: boolean = false;
  /** The reader has left its loop. */
  #isLeft: boolean = false;
  #error: RpcError | undefined = undefined;
  #isDone: boolean = false;
  /** By when headers must have come, and by when somebody must have begun to read. */
  #headersByMs: number;
  readonly #readByMs: number;
  #header: Promise<Metadata> | undefined = undefined;
  #headerCame: ((header: Metadata) => void) | undefined;
  /** A reader that came before the headers. */
  #resolve: ((result: IteratorResult<unknown>) => void) | undefined;
  #reject: ((error: unknown) => void) | undefined;

  constructor(
    channel: ChannelCore,
    method: ClientMethod,
    request: unknown,
    options: CallOptions | undefined,
    nowMs: number,
  ) {
    super(channel, method, options, nowMs);
    this.#pump = method.isRequestStream ? new RequestPump(this, request as AsyncIterable<unknown>) : undefined;
    this.#request = request;
    this.#headerCame = undefined;
    this.#resolve = undefined;
    this.#reject = undefined;
    this.#headersByMs = this.ownTimeoutMs === Infinity ? nowMs + HEADERS_TIMEOUT_MS : Infinity;
    this.#readByMs = nowMs + UNREAD_TIMEOUT_MS;
    this.dueByMs = Math.min(this.#headersByMs, this.#readByMs);
  }

  /** After `begin`: watches over headers and reader. */
  watch(): this {
    this.rearm();
    return this;
  }

  get header(): Promise<Metadata> {
    if (this.#header === undefined) {
      if (this.source !== undefined || this.isOver) {
        this.#header = Promise.resolve(this.#headerNow());
      } else {
        this.#header = new Promise((resolve) => {
          this.#headerCame = resolve;
        });
      }
    }
    return this.#header;
  }

  get resumeToken(): Uint8Array | undefined {
    return this.isOver && this.#error === undefined ? this.source?.resumeToken : undefined;
  }

  /** What the call failed with, if it did. */
  get failure(): RpcError | undefined {
    return this.#error;
  }

  cancel(reason?: unknown): void {
    if (!this.isOver) {
      this.cancelled(reason);
      return;
    }
    // All of it has arrived; what has not been read yet is not to be read any more.
    const text = "the caller cancelled the call";
    const method = this.method.plan.info;
    const error = failure({
      code: "CANCELLED",
      text,
      reason: "CANCELLED_BY_CALLER",
      reached: "yes",
      method,
      cause: reason,
    });
    this.#inbox?.fail(error, true);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cancel();
  }

  [Symbol.asyncIterator](): AsyncIterator<unknown> {
    if (this.#isTaken) throw new TypeError("a stream can be iterated once");
    this.#isTaken = true;
    return this;
  }

  next(): Promise<IteratorResult<unknown>> {
    this.#isRead = true;
    if (this.#isLeft) return Promise.resolve({ value: undefined, done: true });
    if (this.#inbox !== undefined) return this.#inbox.next();
    if (this.#error !== undefined) {
      const error = this.#error;
      if (this.#isDone) return Promise.resolve({ value: undefined, done: true });
      this.#isDone = true;
      return Promise.reject(error);
    }
    if (this.isOver) return Promise.resolve({ value: undefined, done: true });
    if (this.#resolve !== undefined) {
      return Promise.reject(new TypeError("a stream is read one message at a time: the last next() has not settled"));
    }
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  /** The reader has left its loop. */
  return(): Promise<IteratorResult<unknown>> {
    this.#isRead = true;
    this.#isLeft = true;
    this.cancel();
    this.#inbox?.stop();
    return Promise.resolve({ value: undefined, done: true });
  }

  protected get canSendAgain(): boolean {
    return this.#pump?.canSendAgain ?? true;
  }
  /** Headers commit once somebody has asked for them; else the first payload does. */
  protected override isCommitted(attempt: ClientAttempt): boolean {
    return attempt.header !== undefined && (this.#header !== undefined || attempt.inbox?.hasReceived === true);
  }
  /** Whoever waits for the first reply waits for that of the next attempt. */
  protected override attemptReplaced(): void {
    const waiter = this.#inbox?.takeWaiter();
    this.#inbox = undefined;
    if (this.source !== undefined) {
      // Headers had come, and are no longer those of the replies: the next ones have as long as the first.
      this.source = undefined;
      if (this.#headersByMs !== Infinity) this.#headersByMs = this.channel.nowMs() + HEADERS_TIMEOUT_MS;
      this.dueByMs = Math.min(this.dueByMs, this.#headersByMs);
      this.rearm();
    }
    if (waiter === undefined) return;
    this.#resolve = waiter.resolve;
    this.#reject = waiter.reject;
  }
  get onlyRequest(): { readonly message: unknown } | undefined {
    return this.#pump === undefined ? { message: this.#request } : undefined;
  }
  protected sendRequest(attempt: ClientAttempt): void {
    if (this.#pump === undefined) attempt.send(this.#request, true);
    else this.#pump.start(attempt);
  }

  protected answered(attempt: ClientAttempt): void {
    this.#pump?.commit();
    this.trail?.answered(attempt, attempt.connection.receivedAtMs - this.createdMs);
    this.source = attempt;
    this.#adopt(attempt);
    this.#tellHeader();
  }
  attemptWritable(): void {
    this.#pump?.writable();
  }

  sourceFailed(error: unknown): void {
    this.endWith("CANCELLED", "the stream of requests threw", "CANCELLED_BY_CALLER", error);
  }
  requestRefused(error: unknown): void {
    this.rejectRequest(error);
  }

  protected override timeCame(nowMs: number): void {
    if (this.source === undefined && nowMs >= this.#headersByMs) {
      const text = `no headers came within ${HEADERS_TIMEOUT_MS} ms`;
      this.endWith("DEADLINE_EXCEEDED", text, "DEADLINE", undefined);
    } else if (!this.#isRead && nowMs >= this.#readByMs) {
      const text = `nobody began to read the stream within ${UNREAD_TIMEOUT_MS} ms`;
      this.endWith("CANCELLED", text, "UNREAD", undefined);
    } else {
      // Whichever is still to come; that of headers starts anew when an attempt that had sent some is replaced.
      const isAwaited = this.source === undefined && this.#headersByMs > nowMs;
      this.dueByMs = Math.min(isAwaited ? this.#headersByMs : Infinity, this.#isRead ? Infinity : this.#readByMs);
    }
  }

  protected succeeded(attempt: ClientAttempt): void {
    this.#pump?.stop();
    if (this.source === undefined) {
      this.source = attempt;
      this.#adopt(attempt);
    }
    attempt.inbox?.end();
    this.report(attempt);
    this.#tellHeader();
  }

  protected failed(error: RpcError): void {
    this.#pump?.stop();
    this.#error = error;
    this.report(this.last);
    this.#tellHeader();
    if (this.#inbox !== undefined) {
      // What came before the failure is still read, unless the reader is the one who ended it.
      this.#inbox.fail(error, error.reason === "CANCELLED_BY_CALLER" || error.reason === "DEADLINE");
    } else if (this.#reject !== undefined) {
      const reject = this.#reject;
      this.#isDone = true;
      this.#resolve = undefined;
      this.#reject = undefined;
      reject(error);
    }
  }

  /** From now on replies come from this attempt. */
  #adopt(attempt: ClientAttempt): void {
    this.#inbox = attempt.inbox;
    const resolve = this.#resolve;
    const reject = this.#reject;
    if (resolve === undefined || reject === undefined) return;
    this.#resolve = undefined;
    this.#reject = undefined;
    (this.#inbox as MessageInbox).next().then(resolve, reject);
  }

  #headerNow(): Metadata {
    return this.source?.header === undefined ? emptyMetadata : metadataFromPairs(this.source.header);
  }

  #tellHeader(): void {
    const tell = this.#headerCame;
    this.#headerCame = undefined;
    tell?.(this.#headerNow());
  }
}
