/**
 * Hot path: one call on a server: its facts, its deadline, its handler and its answer.
 */
import type { Call } from "../call/call.ts";
import type { CodeOrOk } from "../call/code.ts";
import type { Deadline } from "../call/deadline.ts";
import { failure, RpcError } from "../call/error.ts";
import { callIdText } from "../call/ids.ts";
import type { Outcome } from "../call/interceptor.ts";
import { appendMetadata, emptyMetadata, type Metadata, metadataFromPairs } from "../call/metadata.ts";
import type { MethodInfo } from "../call/method.ts";
import type { Peer } from "../call/peer.ts";
import { CallScope, scopes } from "../call/scope.ts";
import type { MessageCodec } from "../schema/codec.ts";
import type { ExchangeOwner, ServerExchange, Status } from "../wire/transport/server-exchange.ts";
import { WheelEntry } from "../wire/transport/timer-wheel.ts";
import type { HandlerCall } from "./handler-call.ts";
import { readable, statusOf } from "./handler-error.ts";
import { withResumeToken } from "./resume-token.ts";
import type { Route } from "./router.ts";
import type { ServerCore } from "./server-core.ts";

/** Calls that a handler makes end so much earlier than its own, so that it can still answer. */
const RESERVE_MS = 5;
/** A handler whose call is over keeps its slot for so long; then it is counted as overdue and the slot is free. */
const OVERDUE_MS = 5_000;
/** The headers of a conversation are sent then at the latest, though its caller has said nothing. */
const HEAD_LATEST_MS = 10_000;

export class ServerCall extends CallScope implements ExchangeOwner {
  readonly core: ServerCore;
  readonly exchange: ServerExchange;
  readonly route: Route;
  readonly arrivedMs: number;
  requestPairs: (string | Uint8Array)[] | undefined;
  trailerPairs: (string | Uint8Array)[] | undefined;
  /** A Holdfast id's words, or the text of another's. */
  id0: number;
  id1: number;
  id2: number;
  id3: number;
  idText: string | undefined;
  /** The answer is complete, or nobody waits for it. */
  isOver: boolean;
  isReleased: boolean;
  isOverdue: boolean;
  #isRunning: boolean;
  #hasHandlerEnded: boolean;
  /** The handler behind interceptors that have given up on it still runs: so many times. */
  #heldBy: number;
  #isEndDue: boolean;
  /** What a reply stream's headers wait for: the handler or the interceptors' Reply, and the first request of a conversation. */
  #isReplyKnown: boolean;
  #isRequestTaken: boolean;
  #timer: CallTimer | undefined;
  #view: HandlerView | undefined;
  #onWritable: (() => void) | undefined;
  #onDone: ((outcome: Outcome) => void) | undefined;

  constructor(core: ServerCore, exchange: ServerExchange, route: Route, arrivedMs: number) {
    super(core.runtime.world.clock);
    this.core = core;
    this.exchange = exchange;
    this.route = route;
    this.arrivedMs = arrivedMs;
    this.requestPairs = undefined;
    this.trailerPairs = undefined;
    this.id0 = 0;
    this.id1 = 0;
    this.id2 = 0;
    this.id3 = 0;
    this.idText = undefined;
    this.isOver = false;
    this.isReleased = false;
    this.isOverdue = false;
    this.#isRunning = false;
    this.#hasHandlerEnded = false;
    this.#heldBy = 0;
    this.#isEndDue = false;
    this.#isReplyKnown = false;
    this.#isRequestTaken = !route.isRequestStream;
    this.#timer = undefined;
    this.#view = undefined;
    this.#onWritable = undefined;
    this.#onDone = undefined;
  }

  get requestCodec(): MessageCodec {
    return this.route.plan.request;
  }
  get replyCodec(): MessageCodec {
    return this.route.plan.reply;
  }
  get isRequestStream(): boolean {
    return this.route.isRequestStream;
  }
  get messageBytesMax(): number {
    return this.core.messageBytesMax;
  }
  override get call(): HandlerView {
    this.#view ??= new HandlerView(this);
    return this.#view;
  }
  get id(): string {
    this.idText ??= callIdText(this);
    return this.idText;
  }

  /** Starts the clock, and the handler if it reads a stream. */
  begin(timeoutMs: number, hasEnded: boolean): void {
    this.core.callBegan();
    if (timeoutMs !== Infinity) {
      this.deadlineMs = this.arrivedMs + timeoutMs;
      this.reserveMs = RESERVE_MS;
    }
    let dueMs = this.deadlineMs;
    if (this.route.isReplyStream && this.route.isRequestStream)
      dueMs = Math.min(dueMs, this.arrivedMs + HEAD_LATEST_MS);
    if (dueMs !== Infinity) this.#arm(dueMs);
    this.exchange.begin(this, hasEnded);
    if (this.route.isRequestStream && !this.isOver) this.#run(undefined);
  }

  requestArrived(request: unknown): void {
    if (!this.isOver) this.#run(request);
  }

  requestBroken(code: CodeOrOk, text: string, isNotRun: boolean): void {
    if (this.isOver) return;
    this.#answer({ code, text, metadata: undefined, details: undefined, retryAfterMs: undefined, isNotRun });
    this.cancel(failure({ code: code === "OK" ? "INTERNAL" : code, text, reached: isNotRun ? "no" : "yes" }));
    this.#letRun();
  }

  callerGone(text: string): void {
    if (this.isOver) return;
    this.isOver = true;
    const error = failure({ code: "CANCELLED", text, reason: "CANCELLED_BY_CALLER", method: this.route.plan.info });
    this.#settle("CANCELLED", error);
    this.exchange.inbox?.fail(error, true);
    this.cancel(error);
    this.#letRun();
  }

  exchangeWritable(): void {
    this.#wakeWriter();
  }

  /** The deadline has passed; or the time for headers; or, when the call is over, the grace that its handler had. */
  timedOut(nowMs: number): void {
    if (this.isOver) {
      if (!this.isReleased) {
        this.isOverdue = true;
        this.core.callOverdue();
        this.#release();
      }
      return;
    }
    if (nowMs < this.deadlineMs) {
      if (this.deadlineMs !== Infinity) this.#arm(this.deadlineMs);
      this.requestTaken();
      return;
    }
    const error = failure({
      code: "DEADLINE_EXCEEDED",
      text: "the deadline passed while the handler ran",
      reason: "DEADLINE",
      method: this.route.plan.info,
      callId: this.id,
    });
    this.#answer(plainStatus("DEADLINE_EXCEEDED", error.text));
    this.exchange.inbox?.fail(error, true);
    this.cancel(error);
    this.#letRun();
  }

  /** Cuts the call when its server closes, or its connection. */
  cut(text = "the server was closed"): void {
    if (this.isOver) return;
    const error = failure({ code: "UNAVAILABLE", text, reason: "SERVER_DRAINING" });
    this.#answer(plainStatus("UNAVAILABLE", error.text));
    this.exchange.inbox?.fail(error, true);
    this.cancel(error);
    this.#letRun();
  }

  setHeader(name: string, value: string | Uint8Array): void {
    if (this.exchange.hasSentHead) {
      throw new TypeError(`header "${name}" was set after the first message or the first await: the headers had gone`);
    }
    const pairs = this.exchange.header ?? [];
    appendMetadata(pairs, name, value);
    this.exchange.header = pairs;
  }

  setTrailer(name: string, value: string | Uint8Array): void {
    const pairs = this.trailerPairs ?? [];
    appendMetadata(pairs, name, value);
    this.trailerPairs = pairs;
  }

  /** Its caller may go on from there in another call. TypeError if the replies are no stream, RangeError for its size. */
  resumeWith(token: string | Uint8Array): void {
    this.trailerPairs = withResumeToken(this.trailerPairs, token, this.route.plan.info);
  }

  hasHeader(name: string): boolean {
    const pairs = this.exchange.header;
    if (pairs !== undefined) for (let i = 0; i < pairs.length; i += 2) if (pairs[i] === name) return true;
    return false;
  }

  /** The reply metadata set so far. */
  get headerMetadata(): Metadata {
    return metadataFromPairs([...(this.exchange.header ?? [])]);
  }

  /** Called when the call has its outcome. */
  onDone(listener: (outcome: Outcome) => void): void {
    this.#onDone = listener;
  }

  get requests(): AsyncIterable<unknown> {
    return new RequestIterable(this);
  }

  /** A reply stream is known: its handler has returned, and the interceptors have given their Reply. */
  replyKnown(): void {
    this.#isReplyKnown = true;
    if (this.#isRequestTaken) this.core.headDue(this);
  }

  /** The handler was given the first request of a conversation, or will not be for long. */
  requestTaken(): void {
    if (this.#isRequestTaken) return;
    this.#isRequestTaken = true;
    if (this.#isReplyKnown) this.core.headDue(this);
  }

  /** Says to the caller that its reply stream stands, if nothing has said so yet: silence would look like a dead server. */
  sendHead(): void {
    if (!this.isOver) this.exchange.sendHead();
  }

  // ---------------------------------------------------------------------------------------------- for handlers

  /** Sends one reply of a stream; the promise, if any, is the caller's window. */
  send(message: unknown): Promise<void> | undefined {
    if (this.isOver) return undefined;
    this.exchange.send(message);
    return this.exchange.canSend ? undefined : this.#writable();
  }

  /** Answers with the one reply. */
  sendLast(message: unknown): void {
    if (this.isOver) return;
    this.exchange.send(message);
    this.finish();
  }

  /** Ends with OK. */
  finish(): void {
    if (this.isOver) return;
    if (this.trailerPairs === undefined) this.#answer(undefined);
    else this.#answer({ ...plainStatus("OK", ""), metadata: this.trailerPairs });
  }

  /** Ends with what a handler threw, whatever that is: never throws. */
  fail(given: unknown): void {
    if (this.isOver) return;
    const thrown = readable(given);
    const status = statusOf(thrown, this);
    this.#settle(status.code, RpcError.from(thrown));
    this.#answer(status);
    this.cancel(thrown);
  }

  // -------------------------------------------------------------------------------------------------- private

  #run(request: unknown): void {
    this.#isRunning = true;
    scopes.run(this, runHandler, this, request);
  }

  /** The call may be over before this has settled, but its handler has not ended before. */
  hold(work: PromiseLike<unknown>): void {
    const letGo = (): void => {
      this.#heldBy -= 1;
      if (this.#isEndDue) this.handlerEnded();
    };
    this.#heldBy += 1;
    Promise.resolve(work).then(letGo, letGo);
  }

  /** The handler, and its iterator, have come to their end. */
  handlerEnded(): void {
    if (this.#heldBy > 0) {
      if (!this.#isEndDue) this.#letRun();
      this.#isEndDue = true;
      return;
    }
    this.#isRunning = false;
    this.#handlerEnded();
  }

  /** The call is over: its handler, if it runs, has a grace until its slot is taken for free. */
  #letRun(): void {
    this.#wakeWriter();
    if (this.#isRunning) this.#arm(this.core.runtime.world.clock.monotonicMs() + OVERDUE_MS);
    else this.#handlerEnded();
  }

  #arm(dueMs: number): void {
    this.#timer ??= new CallTimer(this);
    this.core.runtime.wheel.arm(this.#timer, dueMs);
  }

  #handlerEnded(): void {
    if (this.#hasHandlerEnded) return;
    this.#hasHandlerEnded = true;
    if (this.#timer !== undefined) this.core.runtime.wheel.cancel(this.#timer);
    if (this.isOverdue) this.core.callNoLongerOverdue();
    this.#release();
  }

  #release(): void {
    if (this.isReleased) return;
    this.isReleased = true;
    this.exchange.release();
    this.core.callEnded();
  }

  #answer(status: Status | undefined): void {
    this.isOver = true;
    this.#settle(status === undefined ? "OK" : status.code, undefined);
    if (this.#timer !== undefined) this.core.runtime.wheel.cancel(this.#timer);
    this.exchange.end(status);
  }

  #settle(code: CodeOrOk, error: RpcError | undefined): void {
    const listener = this.#onDone;
    if (listener === undefined) return;
    this.#onDone = undefined;
    const tookMs = this.core.runtime.world.clock.monotonicMs() - this.arrivedMs;
    const outcomeError =
      code === "OK" ? undefined : (error ?? failure({ code, text: "the call was ended by the server" }));
    listener({ code, error: outcomeError, trailer: metadataFromPairs(this.trailerPairs ?? []), tookMs });
  }

  #writable(): Promise<void> {
    return new Promise((resolve) => {
      this.#onWritable = resolve;
    });
  }

  #wakeWriter(): void {
    const wake = this.#onWritable;
    this.#onWritable = undefined;
    wake?.();
  }
}

/** Runs the handler inside its scope. Everything it can throw ends in its call. */
function runHandler(call: ServerCall, request: unknown): void {
  const route = call.route;
  try {
    if (route.interceptors.length > 0 || call.core.interceptors.length > 0) {
      call.core.intercept(call, request);
      return;
    }
    const result = route.handler(route.isRequestStream ? call.requests : request, call.call);
    if (route.isReplyStream) {
      void sendAll(call, result);
      call.replyKnown();
    } else if (isThenable(result)) {
      result.then(
        (reply) => settleUnary(call, reply),
        (error: unknown) => {
          call.fail(error);
          call.handlerEnded();
        },
      );
    } else {
      settleUnary(call, result);
    }
  } catch (error) {
    call.fail(error);
    call.handlerEnded();
  }
}

function settleUnary(call: ServerCall, reply: unknown): void {
  try {
    call.sendLast(reply);
  } catch (error) {
    call.fail(error);
  }
  call.handlerEnded();
}

export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && typeof (value as { then?: unknown }).then === "function";
}

/** Sends a reply stream as the caller's window allows, and always returns its iterator. */
export async function sendAll(call: ServerCall, source: unknown): Promise<void> {
  try {
    if (isAsyncIterable(source)) await sendAsync(call, source[Symbol.asyncIterator]());
    else if (isIterable(source)) await sendSync(call, source);
    else throw notIterable(call.route.plan.info.path);
    call.finish();
  } catch (error) {
    call.fail(error);
  }
  call.handlerEnded();
}

/** The iterator of what a handler returned. TypeError if it has none. */
export function iteratorOf(source: unknown, path: string): AsyncIterator<unknown> | Iterator<unknown> {
  if (isAsyncIterable(source)) return source[Symbol.asyncIterator]();
  if (isIterable(source)) return source[Symbol.iterator]();
  throw notIterable(path);
}

function notIterable(path: string): TypeError {
  return new TypeError(`${path} must return an iterable of replies`);
}

async function sendAsync(call: ServerCall, iterator: AsyncIterator<unknown>): Promise<void> {
  let isDone = false;
  try {
    while (!call.isOver) {
      const result = await iterator.next();
      if (result.done === true) {
        isDone = true;
        return;
      }
      const full = call.send(result.value);
      if (full !== undefined) await full;
    }
  } finally {
    if (!isDone) await iterator.return?.();
  }
}

async function sendSync(call: ServerCall, source: Iterable<unknown>): Promise<void> {
  for (const message of source) {
    if (call.isOver) return;
    const full = call.send(message);
    if (full !== undefined) await full;
  }
}

function isAsyncIterable(value: unknown): value is AsyncIterable<unknown> {
  return typeof value === "object" && value !== null && Symbol.asyncIterator in value;
}
function isIterable(value: unknown): value is Iterable<unknown> {
  return typeof value === "object" && value !== null && Symbol.iterator in value;
}

function plainStatus(code: CodeOrOk, text: string): Status {
  return { code, text, metadata: undefined, details: undefined, retryAfterMs: undefined, isNotRun: false };
}

/** The deadline's entry in the wheel. */
class CallTimer extends WheelEntry {
  readonly #call: ServerCall;

  constructor(call: ServerCall) {
    super();
    this.#call = call;
  }
  expired(nowMs: number): void {
    this.#call.timedOut(nowMs);
  }
}

/** A request stream; leaving its loop stops reading. */
class RequestIterable implements AsyncIterable<unknown>, AsyncIterator<unknown> {
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

/** What a handler sees of its call. */
export class HandlerView implements HandlerCall {
  readonly #call: ServerCall;
  #metadata: Metadata | undefined;
  #deadline: Deadline | undefined;
  #draining: AbortSignal | undefined;

  constructor(call: ServerCall) {
    this.#call = call;
    this.#metadata = undefined;
    this.#deadline = undefined;
    this.#draining = undefined;
  }
  get id(): string {
    return this.#call.id;
  }
  get side(): "server" {
    return "server";
  }
  get method(): MethodInfo {
    return this.#call.route.plan.info;
  }
  get metadata(): Metadata {
    const pairs = this.#call.requestPairs;
    this.#metadata ??= pairs === undefined ? emptyMetadata : metadataFromPairs(pairs);
    return this.#metadata;
  }
  get deadline(): Deadline {
    const call = this.#call;
    this.#deadline ??= {
      remainingMs: () => Math.max(0, call.deadlineMs - call.core.runtime.world.clock.monotonicMs()),
    };
    return this.#deadline;
  }
  get signal(): AbortSignal {
    return this.#call.signal;
  }
  get priority(): Call["priority"] {
    return this.#call.priority;
  }
  get peer(): Peer {
    return this.#call.core.peerOf(this.#call.exchange.connection);
  }
  get principal(): undefined {
    return undefined;
  }
  setHeader(name: string, value: string | Uint8Array): void {
    this.#call.setHeader(name, value);
  }
  setTrailer(name: string, value: string | Uint8Array): void {
    this.#call.setTrailer(name, value);
  }
  get draining(): AbortSignal {
    const { exchange } = this.#call;
    this.#draining ??= exchange.connection.drainingOf(exchange.stream);
    return this.#draining;
  }
  resumeWith(token: string | Uint8Array): void {
    this.#call.resumeWith(token);
  }
}
