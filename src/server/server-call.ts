/**
 * Hot path: one call on a server: its facts, its deadline, the gates before its handler, its handler and its answer.
 */
import type { CodeOrOk } from "../call/code.ts";
import { failure, RpcError } from "../call/error.ts";
import { callIdText, mintedMsOf } from "../call/ids.ts";
import type { Outcome } from "../call/interceptor.ts";
import { appendMetadata, type Metadata, metadataFromPairs } from "../call/metadata.ts";
import type { Principal } from "../call/principal.ts";
import type { Reason } from "../call/reason.ts";
import { CallScope, runInContext } from "../call/scope.ts";
import type { DedupEntry } from "../durable/dedup-store.ts";
import type { MessageCodec } from "../schema/codec.ts";
import { type ExchangeOwner, type ServerExchange, type Status, unreadable } from "../wire/transport/server-exchange.ts";
import { WheelEntry } from "../wire/transport/timer-wheel.ts";
import type { ConnectionFacts } from "./connection-facts.ts";
import type { Execution, ExecutionOwner } from "./execution.ts";
import { readable, statusOf } from "./handler-error.ts";
import { HandlerView } from "./handler-view.ts";
import { decodeKept } from "./kept-answer.ts";
import { isStrangersKey, keptReply, NOT_KEPT, notKeptCause, refusalOf } from "./once.ts";
import { type Refusal, refusalIn } from "./refusal.ts";
import { RequestIterable } from "./request-iterable.ts";
import { withResumeToken } from "./resume-token.ts";
import type { Route } from "./router.ts";
import { runHandler, runIntercepted } from "./run-handler.ts";
import type { ServerCore } from "./server-core.ts";

/** Calls that a handler makes end so much earlier than its own, so that it can still answer. */
const RESERVE_MS = 5;
/** A handler whose call is over keeps its slot for so long; then it is counted as overdue and the slot is free. */
const OVERDUE_MS = 5_000;
/** The headers of a conversation are sent then at the latest, though its caller has said nothing. */
const HEAD_LATEST_MS = 10_000;

export class ServerCall extends CallScope implements ExchangeOwner, ExecutionOwner {
  readonly core: ServerCore;
  readonly exchange: ServerExchange;
  readonly route: Route;
  readonly arrivedMs: number;
  /** When its handler was called, if anybody listens. */
  startedMs: number | undefined;
  requestPairs: (string | Uint8Array)[] | undefined;
  trailerPairs: (string | Uint8Array)[] | undefined;
  /** A Holdfast id's words, or the text of another's. */
  id0: number;
  id1: number;
  id2: number;
  id3: number;
  idText: string | undefined;
  /** The caller gave it an id; one of 32 hex digits stands in the words. */
  hasId: boolean;
  hasWords: boolean;
  /** Another attempt was made before. */
  isRepeat: boolean;
  /** A handler of this process, which was let in, waits for it. */
  isNested: boolean;
  /** It asks for this server's store: it may have been done. */
  namesStore: boolean;
  /** The record of the run behind interceptors, while it runs. */
  innerEntry: DedupEntry | undefined;
  /** The handler was called. */
  hasRun: boolean;
  /** Who calls, once that is known. */
  principal: Principal | undefined;
  /** The answer is complete, or nobody waits for it. */
  isOver: boolean;
  isReleased: boolean;
  isOverdue: boolean;
  /** Its handler does not begin in the turn in which its last bytes came. */
  isLater: boolean;
  /** Who calls is known, and may. */
  #isIdentified: boolean;
  /** Its key is a stranger's own: nothing is kept under it. */
  #isStrangers: boolean;
  /** The one request is whole. */
  #hasRequest: boolean;
  /** The run of the handler, or what stands before it; undefined where nothing does. */
  #execution: Execution | undefined;
  /** Behind interceptors: the runs that have passed what stands before the handler, and have not ended. */
  #innerRuns: Set<Execution> | undefined;
  /** It was let in without more, and is not counted among those that run. */
  #isUnmeasured: boolean;
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
  /** Its outcome is known, and was told. */
  #isSettled: boolean;
  /** Its caller has left, and its handler goes on for a repeat. */
  #isDetached: boolean;

  constructor(core: ServerCore, exchange: ServerExchange, route: Route, arrivedMs: number) {
    super(core.runtime.world.clock);
    this.core = core;
    this.exchange = exchange;
    this.route = route;
    this.arrivedMs = arrivedMs;
    this.startedMs = undefined;
    this.requestPairs = undefined;
    this.trailerPairs = undefined;
    this.id0 = 0;
    this.id1 = 0;
    this.id2 = 0;
    this.id3 = 0;
    this.idText = undefined;
    this.hasId = false;
    this.hasWords = false;
    this.isRepeat = false;
    this.isNested = false;
    this.namesStore = false;
    this.innerEntry = undefined;
    this.hasRun = false;
    this.principal = undefined;
    this.isOver = false;
    this.isReleased = false;
    this.isOverdue = false;
    this.isLater = false;
    this.#isIdentified = false;
    this.#isStrangers = false;
    this.#hasRequest = false;
    this.#execution = undefined;
    this.#innerRuns = undefined;
    this.#isUnmeasured = false;
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
    this.#isSettled = false;
    this.#isDetached = false;
  }

  /** What is known of its connection. */
  get facts(): ConnectionFacts {
    return this.exchange.connection.facts as ConnectionFacts;
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
    this.core.callBegan(this);
    if (timeoutMs !== Infinity) {
      this.deadlineMs = this.arrivedMs + timeoutMs;
      this.reserveMs = RESERVE_MS;
    }
    let dueMs = this.deadlineMs;
    if (this.route.isReplyStream && this.route.isRequestStream)
      dueMs = Math.min(dueMs, this.arrivedMs + HEAD_LATEST_MS);
    if (dueMs !== Infinity) this.#arm(dueMs);
    this.#isIdentified = this.core.identify(this);
    if (this.isOver) return;
    this.exchange.begin(this, hasEnded);
    if (this.route.isRequestStream && this.#isIdentified && !this.isOver) this.#enter();
  }

  requestArrived(): void {
    this.#hasRequest = true;
    if (this.#isIdentified && !this.isOver) this.#enter();
  }

  /** Who calls is known, and may: later than in the turn in which the call came. */
  identified(): void {
    if (this.isOver || this.#isIdentified) return;
    this.#isIdentified = true;
    this.isLater = true;
    if (this.#hasRequest || this.route.isRequestStream) this.#enter();
  }

  /** Its caller may not: nobody else would let it. */
  deny(code: CodeOrOk, text: string): void {
    if (this.isOver) return;
    this.#answer(plainStatus(code, text));
    this.#letRun();
  }

  /** The server itself refuses the call: no handler has seen it. */
  refuse(code: CodeOrOk, text: string, reason: Reason | undefined, retryAfterMs: number | undefined): void {
    if (this.isOver) return;
    this.#answer({ code, text, metadata: undefined, details: undefined, retryAfterMs, isNotRun: true, reason });
    this.#letRun();
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
    if (this.runningEntry !== undefined && this.hasRun) {
      // Its caller may be back with a repeat, which gets the answer: it is not told to stop before its time.
      this.#isDetached = true;
      this.core.callDetached(this);
      this.#wakeWriter();
      this.#arm(Math.min(this.deadlineMs, this.core.runtime.world.clock.monotonicMs() + OVERDUE_MS));
      return;
    }
    this.cancel(error);
    this.#letRun();
  }

  exchangeWritable(): void {
    this.#wakeWriter();
  }

  /** The deadline has passed; or the time for headers; or, when the call is over, the grace that its handler had. */
  timedOut(nowMs: number): void {
    if (this.isOver) {
      this.#outlived(nowMs);
      return;
    }
    if (nowMs < this.deadlineMs) {
      if (this.deadlineMs !== Infinity) this.#arm(this.deadlineMs);
      this.requestTaken();
      return;
    }
    // A repeat may have run before, though not here and now.
    const isNotRun = !this.#isRunning && !this.isKept;
    const text = !this.#isRunning
      ? "the deadline passed before the handler could begin"
      : "the deadline passed while the handler ran";
    const info = this.route.plan.info;
    const error = failure({ code: "DEADLINE_EXCEEDED", text, reason: "DEADLINE", method: info, callId: this.id });
    if (this.#execution?.isQueued === true) this.core.admissionRefused(info, this.priority, "expired");
    this.#answer({ ...plainStatus("DEADLINE_EXCEEDED", text), isNotRun });
    this.exchange.inbox?.fail(error, true);
    this.cancel(error);
    this.#letRun();
  }

  /** The call is over, and its handler is not. */
  #outlived(nowMs: number): void {
    if (!this.isCancelled && nowMs >= this.deadlineMs) {
      this.cancel(failure({ code: "DEADLINE_EXCEEDED", text: "the deadline passed while the handler ran" }));
      this.#arm(nowMs + OVERDUE_MS);
      return;
    }
    if (!this.isReleased) {
      this.isOverdue = true;
      this.core.callOverdue();
      this.#execution?.ended(false, Number.NaN);
      if (this.#innerRuns !== undefined) for (const run of this.#innerRuns) run.ended(false, Number.NaN);
      this.#release();
    }
    if (this.isCancelled) this.#noLongerDetached();
    else if (this.deadlineMs !== Infinity) this.#arm(this.deadlineMs);
  }

  /** Cuts the call when its server closes, or its connection. */
  cut(text = "the server was closed"): void {
    if (this.isOver) return;
    const error = failure({ code: "UNAVAILABLE", text, reason: "SERVER_DRAINING" });
    // This is not what its handler comes to. Without the store's name it is not taken for that, and the store may be asked.
    if (this.isKept) this.exchange.announcement = undefined;
    this.#answer(plainStatus("UNAVAILABLE", error.text));
    this.exchange.inbox?.fail(error, true);
    this.cancel(error);
    this.#letRun();
  }

  /** The server was closed while the handler went on for a repeat, which cannot come here any more. */
  cutDetached(): void {
    this.cancel(failure({ code: "UNAVAILABLE", text: "the server was closed", reason: "SERVER_DRAINING" }));
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

  /** Effect and kept answer in one transaction. TypeError where there is none to be had. */
  transact<R>(work: (tx: unknown) => R | Promise<R>): Promise<R> {
    const { once } = this.core;
    const entry = this.runningEntry;
    if (entry === undefined || once?.store.transact === undefined) {
      const { path } = this.route.plan.info;
      const why =
        once?.store.transact === undefined
          ? "the server's journal has no transactions"
          : "the call is not kept: its caller gave it no id (or, unknown, a key of its own), or its method has not the effect once";
      return Promise.reject(new TypeError(`${path} cannot transact: ${why}`));
    }
    return once.store.transact(entry, work, (reply) => keptReply(this, this.replyCodec, reply), this.signal);
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
    this.#settle(status.code, refusalIn(thrown)?.cause ?? RpcError.from(thrown));
    this.#answer(status);
    this.cancel(thrown);
  }

  // -------------------------------------------------------------------------------------------------- private

  /** The request has come and its caller may call: interceptors, gates, handler. */
  #enter(): void {
    if (this.isKept && isStrangersKey(this)) {
      this.#isStrangers = true;
      if (this.namesStore) {
        this.refused(refusalOf("stranger"));
        return;
      }
    }
    if (this.route.interceptors.length > 0 || this.core.interceptors.length > 0) {
      this.#isRunning = true;
      runInContext(this.facts.door.context, this, runIntercepted, undefined);
    } else if (!this.isKept && !this.isLater && this.core.passesUnmeasured(this)) {
      this.#isUnmeasured = true;
      this.passed();
    } else if (this.hasGates) {
      this.#execution = this.core.executionOf(this);
      this.#execution.go();
    } else {
      this.passed();
    }
  }

  /** Nothing stands before the handler any more. */
  passed(): void {
    if ((this.isOver || this.isLater) && this.#isLate()) return;
    const request = this.#readRequest();
    if (request === unreadable) return;
    // Of a request stream each message is looked at when its handler reads it.
    const { validate, isRequestStream } = this.route;
    const problem = validate === undefined || isRequestStream ? undefined : this.#validated(request);
    if (problem instanceof Promise) {
      this.outlastsTurn();
      this.isLater = true;
      problem.then(
        (late) => this.#startLate(request, late),
        (error: unknown) => this.#startLate(request, error),
      );
    } else {
      this.#start(request, problem);
    }
  }

  answered(kept: Uint8Array): void {
    if (this.isOver) return;
    try {
      this.exchange.isDeduplicated = true;
      this.#sendKept(kept);
    } catch (error) {
      this.fail(error);
    }
    this.#letRun();
  }

  refused({ code, text, reason, retryAfterMs, isNotRun, cause }: Refusal): void {
    if (this.isOver) return;
    if (cause !== undefined) this.#settle(code, cause);
    this.#answer({ code, text, metadata: undefined, details: undefined, retryAfterMs, isNotRun, reason });
    this.#letRun();
  }

  /** The time is over before the handler could begin: it does not. */
  #isLate(): boolean {
    if (this.isOver) {
      this.#execution?.abandon();
      return true;
    }
    if (this.deadlineMs === Infinity) return false;
    const nowMs = this.core.runtime.world.clock.monotonicMs();
    if (nowMs < this.deadlineMs) return false;
    this.timedOut(nowMs);
    return true;
  }

  #readRequest(): unknown {
    if (this.route.isRequestStream) return undefined;
    const request = this.exchange.decodeRequest();
    this.exchange.dropRequest();
    return request;
  }

  /** What is wrong with the request; a promise if its schema needs time. */
  #validated(request: unknown): unknown {
    try {
      return this.route.validate?.(request);
    } catch (error) {
      return error;
    }
  }

  #startLate(request: unknown, problem: unknown): void {
    if (!this.#isLate()) this.#start(request, problem);
  }

  #start(request: unknown, problem: unknown): void {
    if (problem !== undefined) {
      this.fail(problem);
      this.#letRun();
      return;
    }
    this.#isRunning = true;
    this.hasRun = true;
    if (this.core.events.hears("call.ended")) this.startedMs = this.core.runtime.world.clock.monotonicMs();
    runInContext(this.facts.door.context, this, runHandler, request);
    if (this.route.isRequestStream || this.route.isReplyStream) this.#execution?.givePermitBack();
  }

  /** Sends what was kept, or keeps it from being sent twice. */
  #sendKept(bytes: Uint8Array): void {
    const { failure: kept, header, trailer, reply } = decodeKept(bytes);
    if (header !== undefined) this.exchange.header = [...header];
    if (kept !== undefined) {
      this.#answer(kept);
      return;
    }
    this.exchange.sendEncoded(reply as Buffer);
    this.trailerPairs = trailer === undefined ? undefined : [...trailer];
    this.finish();
  }

  /** The handler of a call that is kept has ended: its answer is kept, and then given. */
  keep(entry: DedupEntry, answer: Uint8Array): void {
    const kept = this.core.once?.finish(entry, answer);
    if (kept === undefined) {
      this.#giveKept(entry.answer ?? answer);
    } else {
      kept.then(
        () => this.#giveKept(entry.answer ?? answer),
        (error: unknown) => this.#notKept(error),
      );
    }
  }

  #giveKept(answer: Uint8Array): void {
    try {
      if (!this.isOver) this.#sendKept(answer);
    } catch (error) {
      this.fail(error);
    }
    this.handlerEnded();
  }

  #notKept(error: unknown): void {
    if (!this.isOver) {
      this.#settle(NOT_KEPT.code, notKeptCause(error));
      this.#answer(NOT_KEPT);
    }
    this.handlerEnded();
  }

  /** Its handler ended in the turn in which the call came: if such handlers are light, no clock need be read. */
  endsInTurn(): void {
    const { gate } = this.core;
    const execution = this.#execution;
    if (this.isLater || (execution === undefined ? !this.#isUnmeasured : execution.isTimed)) return;
    if (gate === undefined || gate.admission.isTurnDue) return;
    this.core.endsAtMs = this.exchange.connection.receivedAtMs + this.route.handlerFigures.costMs;
  }

  /** Its handler, or what stands before it, goes on after the turn in which the call came: now it counts among those that run. */
  outlastsTurn(): void {
    if (!this.#isUnmeasured) return;
    this.#isUnmeasured = false;
    this.#execution = this.core.executionOf(this);
    this.core.gate?.admission.outlasts(this.#execution, this.exchange.connection.receivedAtMs);
  }

  /** The handler failed, and all that it did was taken back: a repeat runs. Unless a transaction that it did not wait for has committed. */
  forget(entry: DedupEntry, error: unknown): void {
    const end = (): void => {
      if (entry.answer !== undefined) return this.#giveKept(entry.answer);
      this.fail(error);
      this.handlerEnded();
    };
    const forgotten = this.core.once?.forget(entry);
    if (forgotten === undefined) end();
    else void forgotten.then(end);
  }

  /** Behind interceptors it is the run's, of which there may be several. */
  get runningEntry(): DedupEntry | undefined {
    return this.entry ?? this.innerEntry;
  }

  /** The record of a call that is kept, while its handler runs. */
  get entry(): DedupEntry | undefined {
    return this.#execution?.entry;
  }

  /** Its answer is kept, so that a repeat gets it; until its caller is known: it may have been. */
  get isKept(): boolean {
    return this.route.isKept && this.hasId && !this.#isStrangers;
  }
  /** Something stands between it and its handler. */
  get hasGates(): boolean {
    return this.isKept || (this.core.gate !== undefined && !this.route.isBuiltIn);
  }
  /** When its id was made, in milliseconds since 1970 by its caller's clock; undefined if the id does not say. */
  get mintedMs(): number | undefined {
    return this.hasWords ? mintedMsOf(this) : undefined;
  }

  /** A run behind interceptors holds its permit from now on. */
  innerPassed(run: Execution): void {
    this.#innerRuns ??= new Set();
    this.#innerRuns.add(run);
  }

  /** It has given everything back. */
  innerEnded(run: Execution): void {
    this.#innerRuns?.delete(run);
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

  /** The handler, and its iterator, have come to their end: at `endedMs`, if that is known. */
  handlerEnded(endedMs: number = Number.NaN): void {
    if (this.#heldBy > 0) {
      if (!this.#isEndDue) this.#letRun();
      this.#isEndDue = true;
      return;
    }
    this.#isRunning = false;
    this.#handlerEnded(endedMs);
    // The turn may hold more handlers that keep the loop: what this one answered does not wait for them.
    if (this.route.handlerFigures.isHeavy) this.exchange.connection.flushEarly();
  }

  /** The call is over: its handler, if it runs, has a grace until its slot is taken for free. */
  #letRun(): void {
    this.#wakeWriter();
    if (this.#isRunning) this.#arm(this.core.runtime.world.clock.monotonicMs() + OVERDUE_MS);
    else this.#handlerEnded(Number.NaN);
  }

  #arm(dueMs: number): void {
    this.#timer ??= new CallTimer(this);
    this.core.runtime.wheel.arm(this.#timer, dueMs);
  }

  #handlerEnded(endedMs: number): void {
    if (this.#hasHandlerEnded) return;
    this.#hasHandlerEnded = true;
    this.#isUnmeasured = false;
    const execution = this.#execution;
    if (execution !== undefined) {
      this.#execution = undefined;
      if (this.hasRun) execution.ended(!this.isOverdue, endedMs);
      else execution.abandon();
      if (!this.isKept) this.core.executionDone(execution);
    }
    if (this.#timer !== undefined) this.core.runtime.wheel.cancel(this.#timer);
    if (this.isOverdue) this.core.callNoLongerOverdue();
    this.#release();
    this.#noLongerDetached();
  }

  #noLongerDetached(): void {
    if (!this.#isDetached) return;
    this.#isDetached = false;
    this.core.callNoLongerDetached(this);
  }

  #release(): void {
    if (this.isReleased) return;
    this.isReleased = true;
    this.exchange.release();
    this.core.callEnded(this);
  }

  #answer(status: Status | undefined): void {
    this.isOver = true;
    this.#settle(status === undefined ? "OK" : status.code, undefined);
    if (this.#timer !== undefined) this.core.runtime.wheel.cancel(this.#timer);
    this.exchange.end(status);
  }

  #settle(code: CodeOrOk, error: RpcError | undefined): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    if (this.#innerRuns !== undefined) this.#abandonUnrun(this.#innerRuns);
    this.core.record(this, code, error);
    const listener = this.#onDone;
    if (listener === undefined) return;
    this.#onDone = undefined;
    const tookMs = this.core.runtime.world.clock.monotonicMs() - this.arrivedMs;
    const outcomeError =
      code === "OK" ? undefined : (error ?? failure({ code, text: "the call was ended by the server" }));
    listener({ code, error: outcomeError, trailer: metadataFromPairs(this.trailerPairs ?? []), tookMs });
  }

  /** The handler of a call that is over is not called any more, though what it waits for (a schema, say) may never settle. */
  #abandonUnrun(runs: Set<Execution>): void {
    for (const run of runs) {
      if (run.hasRun) continue;
      runs.delete(run);
      run.abandon();
    }
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
