/**
 * Hot path: one logical call of a client: its identity, deadline and cancellation, and the attempts machine in its first
 * form. What a unary and a streaming call do differently is in the classes built on this one.
 */
import type { Code } from "../call/code.ts";
import { codeOf } from "../call/code.ts";
import { failure, RpcError } from "../call/error.ts";
import type { Blame, Fault } from "../call/fault.ts";
import {
  CALL_ID_BYTES,
  callIdText,
  type IdWords,
  mintCallId,
  TRACEPARENT_BYTES,
  writeCallId,
  writeTraceparent,
} from "../call/ids.ts";
import { metadataFromPairs } from "../call/metadata.ts";
import type { Peer } from "../call/peer.ts";
import type { Effect, Priority } from "../call/method.ts";
import type { Reason } from "../call/reason.ts";
import { type CallScope, type ScopeChild, scopes, type TraceWords } from "../call/scope.ts";
import { backoffMs, decideRepeat } from "../policy/recover/attempts.ts";
import type { MessageCodec } from "../schema/codec.ts";
import type { Encoding } from "../wire/grpc/compression.ts";
import { formatTimeout } from "../wire/grpc/timeout.ts";
import type { FieldToken, HpackEncoder } from "../wire/http2/hpack-encoder.ts";
import { type AttemptOwner, ClientAttempt } from "../wire/transport/client-attempt.ts";
import {
  acceptEncodings,
  contentTypeGrpc,
  encodingTokens,
  methodPost,
  nameCallId,
  nameTimeout,
  nameTraceparent,
  teTrailers,
  userAgent,
} from "../wire/transport/names.ts";
import type { PeerLink } from "../wire/transport/peer-link.ts";
import { encodePairs, pairsBytesMax, pairsListBytes } from "../wire/transport/server-exchange.ts";
import { WheelEntry } from "../wire/transport/timer-wheel.ts";
import type { Timer } from "../world/timers.ts";
import type { ChannelCore, NoPeer } from "./channel-core.ts";
import type { ClientMethod } from "./client-method.ts";
import type { CallOptions } from "./options.ts";

/** A call that finds no peer waits so long at most. */
const PLACE_TIMEOUT_MS = 10_000;
const ATTEMPTS_MAX = 3;
/** Fixed fields, ids and trace of a request's headers, at most; path, authority, key, token and metadata come on top. */
const HEAD_BYTES = 640;
/** The same as a peer counts them: 32 more for each field (RFC 9113 6.5.2). */
const HEAD_LIST_BYTES = 900;

/** What a header may hold (RFC 9113 section 8.2.1). */
const TOKEN = /^[!-~](?:[ -~]*[!-~])?$/;
const scratch: Buffer = Buffer.alloc(64);
const NO_PAIRS: readonly (string | Uint8Array)[] = [];

export abstract class ClientCall extends WheelEntry implements AttemptOwner, ScopeChild, IdWords, TraceWords {
  readonly channel: ChannelCore;
  readonly method: ClientMethod;
  readonly options: CallOptions | undefined;
  readonly createdMs: number;
  readonly scope: CallScope | undefined;
  readonly pairs: readonly (string | Uint8Array)[];
  readonly ownTimeoutMs: number;
  deadlineMs: number;
  id0: number;
  id1: number;
  id2: number;
  id3: number;
  trace0: number;
  trace1: number;
  trace2: number;
  trace3: number;
  span0: number;
  span1: number;
  traceFlags: number;
  scopePrevious: ScopeChild | undefined;
  scopeNext: ScopeChild | undefined;
  waitPrevious: ClientCall | undefined;
  waitNext: ClientCall | undefined;
  isWaiting: boolean;
  isOver: boolean;
  attempt: ClientAttempt | undefined;
  /** Attempts started. */
  attempts: number;
  tried: PeerLink[] | undefined;
  faults: Fault[] | undefined;
  #link: PeerLink | undefined;
  #authority: FieldToken | undefined;
  #unreached: number;
  #counted: number;
  #repeats: number;
  #placeByMs: number;
  #backoffUntilMs: number;
  #token: string | undefined;
  #hasRefreshed: boolean;
  /** The last attempt was answered with UNAUTHENTICATED: the next token is to be a fresh one. */
  #isRefreshDue: boolean;
  #onAbort: (() => void) | undefined;
  #onOver: (() => void) | undefined;
  /** Keeps the process alive between two attempts. */
  #hold: Timer | undefined;
  #isParked: boolean;
  /** The first attempt did not start in the turn of the call. */
  #isDelayed: boolean;

  constructor(channel: ChannelCore, method: ClientMethod, options: CallOptions | undefined, nowMs: number) {
    super();
    this.channel = channel;
    this.method = method;
    this.options = options;
    this.createdMs = nowMs;
    this.scope = scopes.getStore();
    this.pairs = options?.metadata === undefined ? NO_PAIRS : method.pairsOf(options.metadata);
    this.ownTimeoutMs = options?.timeoutMs === undefined ? method.timeoutMs : method.checkTimeout(options.timeoutMs);
    this.deadlineMs = nowMs + this.ownTimeoutMs;
    this.id0 = 0;
    this.id1 = 0;
    this.id2 = 0;
    this.id3 = 0;
    this.trace0 = 0;
    this.trace1 = 0;
    this.trace2 = 0;
    this.trace3 = 0;
    this.span0 = 0;
    this.span1 = 0;
    this.traceFlags = 0;
    this.scopePrevious = undefined;
    this.scopeNext = undefined;
    this.waitPrevious = undefined;
    this.waitNext = undefined;
    this.isWaiting = false;
    this.isOver = false;
    this.attempt = undefined;
    this.attempts = 0;
    this.tried = undefined;
    this.faults = undefined;
    this.#link = undefined;
    this.#authority = undefined;
    this.#unreached = 0;
    this.#counted = 0;
    this.#repeats = 0;
    this.#placeByMs = Infinity;
    this.#backoffUntilMs = Infinity;
    this.#token = undefined;
    this.#hasRefreshed = false;
    this.#isRefreshDue = false;
    this.#onAbort = undefined;
    this.#onOver = undefined;
    this.#hold = undefined;
    this.#isParked = false;
    this.#isDelayed = false;
    this.dueByMs = Infinity;
  }

  get requestCodec(): MessageCodec {
    return this.method.plan.request;
  }
  get replyCodec(): MessageCodec {
    return this.method.plan.reply;
  }
  get isReplyStream(): boolean {
    return this.method.isReplyStream;
  }
  get messageBytesMax(): number {
    return this.channel.messageBytesMax;
  }
  get requestEncoding(): Encoding | undefined {
    return this.channel.requestEncoding;
  }
  get id(): string {
    return this.options?.idempotencyKey ?? callIdText(this);
  }
  get peer(): Peer | undefined {
    return this.#link === undefined ? undefined : peerOf(this.#link);
  }
  get priority(): Priority {
    return this.options?.priority ?? this.scope?.priority ?? this.method.priority;
  }

  /** Sends the request, or begins to, on an attempt whose headers have been written. */
  protected abstract sendRequest(attempt: ClientAttempt): void;
  /** The request can be sent again from its beginning. */
  protected abstract get canSendAgain(): boolean;
  /** Something of the attempt's answer has reached the user (docs/decisions/commit-point.md). Nothing of a single reply does before all of it. */
  protected isCommitted(_attempt: ClientAttempt): boolean {
    return false;
  }
  /** Another attempt will take the place of the last one. */
  protected attemptReplaced(): void {}
  protected abstract succeeded(attempt: ClientAttempt): void;
  protected abstract failed(error: RpcError): void;
  abstract attemptAnswered(attempt: ClientAttempt): void;
  abstract attemptWritable(attempt: ClientAttempt): void;
  /** A further moment at which `timeCame` is to be called, for a subclass. */
  protected dueByMs: number;
  protected timeCame(_nowMs: number): void {}

  // ------------------------------------------------------------------------------------------------ context

  /** Takes over what it inherits and finds a peer. */
  begin(idFrom: IdWords | undefined): void {
    this.channel.callBegan();
    const { world } = this.channel.runtime;
    // First of all: a call that ends before it began has an id too.
    if (idFrom === undefined) {
      mintCallId(world, this);
    } else {
      this.id0 = idFrom.id0;
      this.id1 = idFrom.id1;
      this.id2 = idFrom.id2;
      this.id3 = idFrom.id3;
    }
    const scope = this.scope;
    if (scope !== undefined && !this.#inherit(scope)) return;
    const { signal } = this.options ?? {};
    if (signal !== undefined && !this.#listen(signal)) return;
    const random = world.random;
    if ((this.trace0 | this.trace1 | this.trace2 | this.trace3) === 0) {
      this.trace0 = random.uint32() | 0;
      this.trace1 = random.uint32() | 0;
      this.trace2 = random.uint32() | 0;
      this.trace3 = random.uint32() | 1;
    }
    if (this.deadlineMs !== Infinity) this.channel.runtime.wheel.arm(this, this.deadlineMs);
    this.place();
  }

  #inherit(scope: CallScope): boolean {
    this.trace0 = scope.trace0;
    this.trace1 = scope.trace1;
    this.trace2 = scope.trace2;
    this.trace3 = scope.trace3;
    this.traceFlags = scope.traceFlags;
    if (scope.isCancelled) {
      this.scopeCancelled(scope.cancelReason);
      return false;
    }
    if (scope.deadlineMs !== Infinity) {
      const { clock } = this.channel.runtime.world;
      // A scope of another world (real code that calls into a simulation) counts on another clock.
      const shiftMs = scope.clock === clock ? 0 : clock.monotonicMs() - scope.clock.monotonicMs();
      this.deadlineMs = Math.min(this.deadlineMs, scope.deadlineMs + shiftMs - scope.reserveMs);
      if (this.deadlineMs <= this.createdMs) {
        this.#end("DEADLINE_EXCEEDED", "the inherited deadline left no time for this call", "DEADLINE", undefined);
        return false;
      }
    }
    scope.addChild(this);
    return true;
  }

  #listen(signal: AbortSignal): boolean {
    if (signal.aborted) {
      this.cancelled(signal.reason);
      return false;
    }
    this.#onAbort = () => this.cancelled(signal.reason);
    signal.addEventListener("abort", this.#onAbort, { once: true });
    return true;
  }

  /** What the call belongs to has ended; if its time was over, so was the call's, whichever timer came first. */
  scopeCancelled(reason: unknown): void {
    const isLate = reason instanceof RpcError && reason.reason === "DEADLINE";
    const text = "the deadline of what the call belongs to has passed";
    if (isLate) this.#end("DEADLINE_EXCEEDED", text, "DEADLINE", reason);
    else this.#end("CANCELLED", "what the call belongs to has ended", "CANCELLED_BY_CALLER", reason);
  }

  /** Cancelled by the signal, or by leaving the stream. */
  protected cancelled(reason: unknown): void {
    this.#end("CANCELLED", "the caller cancelled the call", "CANCELLED_BY_CALLER", reason);
  }

  // ----------------------------------------------------------------------------------------------- attempts

  /** Starts an attempt on a peer, or waits for one. */
  place(): void {
    this.channel.start();
    const link = this.channel.pick(this.tried);
    if (link !== undefined) {
      this.startOn(link);
      return;
    }
    const hopeless = this.channel.hopeless();
    if (hopeless !== undefined) {
      this.unplaced(hopeless);
      return;
    }
    if (this.#allTried()) this.tried = undefined;
    this.#isDelayed = true;
    this.#placeByMs = this.channel.runtime.world.clock.monotonicMs() + PLACE_TIMEOUT_MS;
    this.rearm();
    this.channel.wait(this);
  }

  /** A peer takes the call. */
  startOn(link: PeerLink): void {
    this.#placeByMs = Infinity;
    this.#link = link;
    this.#authority = this.channel.authorities.get(link);
    if (this.channel.token === undefined || this.#token !== undefined) this.#startAttempt(link);
    else void this.#startWithToken(link);
  }

  /** Fails before it began. */
  refuse(why: NoPeer): void {
    this.channel.callBegan();
    mintCallId(this.channel.runtime.world, this);
    this.unplaced(why);
  }

  /** No peer will take the call. */
  unplaced(why: NoPeer): void {
    const code =
      why.reason === "CLIENT_CLOSED"
        ? "CANCELLED"
        : why.reason === "STREAM_LIMIT"
          ? "RESOURCE_EXHAUSTED"
          : "UNAVAILABLE";
    this.#finish(
      failure({
        ...this.#facts(),
        code,
        text: why.text,
        reason: why.reason,
        reached: this.#counted > 0 ? "maybe" : "no",
      }),
    );
  }

  #startAttempt(link: PeerLink): void {
    const connection = link.connection;
    if (connection === undefined || !connection.canStart) {
      this.place();
      return;
    }
    const listBytesMax = connection.engine.peer.headerListBytesMax;
    // A call that has nothing long of its own is within every limit that a peer is known to have.
    if ((this.pairs.length > 0 || this.#token !== undefined) && this.#headListBytes() > listBytesMax) {
      const text = `the request's metadata is over the ${listBytesMax} bytes that ${link.address} takes`;
      this.#end("RESOURCE_EXHAUSTED", text, "METADATA_TOO_LARGE", undefined);
      return;
    }
    const attempt = new ClientAttempt(this, connection, ++this.attempts);
    this.attempt = attempt;
    const nowMs = this.attempts === 1 ? this.createdMs : this.channel.runtime.world.clock.monotonicMs();
    attempt.start(nowMs);
    connection.watch();
    try {
      this.sendRequest(attempt);
    } catch (error) {
      this.rejectRequest(error);
    }
  }

  /** The codec refused a request message. */
  protected rejectRequest(error: unknown): void {
    const text = `the request cannot be sent: ${error instanceof Error ? error.message : String(error)}`;
    this.#end("INVALID_ARGUMENT", text, "INVALID_MESSAGE", error);
  }

  async #startWithToken(link: PeerLink): Promise<void> {
    const ask = this.channel.token;
    if (ask === undefined) return;
    this.#isDelayed = true;
    this.#park();
    const abort = new AbortController();
    this.#onOver = () => abort.abort();
    try {
      const facts = { method: this.method.plan.info, isRefresh: this.#isRefreshDue, signal: abort.signal };
      // A call may start in the turn of a socket, whose scope is that of another call.
      const token = await scopes.run(this.scope, ask, facts);
      if (typeof token !== "string" || !TOKEN.test(token)) {
        throw new TypeError("a token must be a text of printable ASCII without spaces at its ends");
      }
      this.#token = token;
    } catch (error) {
      this.#end("UNAUTHENTICATED", "no token could be had for the call", undefined, error);
      return;
    }
    if (this.isOver) return;
    this.#unpark();
    this.#startAttempt(link);
  }

  /** Lets the channel find a call that stands nowhere else. */
  #park(): void {
    this.#isParked = true;
    this.channel.park(this);
  }
  #unpark(): void {
    this.#isParked = false;
    this.channel.unpark(this);
  }

  attemptEnded(attempt: ClientAttempt): void {
    if (this.isOver || attempt !== this.attempt) return;
    if (attempt.code === 0) {
      this.#leave();
      this.succeeded(attempt);
      return;
    }
    const code = codeOf(attempt.code) as Code;
    if (code === "CANCELLED" && attempt.reason === "STREAM_RESET" && this.#isAlmostDue()) {
      // The server's timer for this deadline was quicker than ours.
      this.#end("DEADLINE_EXCEEDED", this.#whereText(this.deadlineMs), "DEADLINE", undefined);
      return;
    }
    this.#note(attempt, code);
    if (attempt.reached === "no") this.#unreached += 1;
    else this.#counted += 1;
    const isExpiredToken =
      code === "UNAUTHENTICATED" &&
      this.channel.token !== undefined &&
      !this.#hasRefreshed &&
      isBeforeHandler(attempt, this.method.plan.info.effect);
    const repeat = decideRepeat({
      code,
      reached: isExpiredToken ? "no" : attempt.reached,
      isConnectionLost: attempt.reason === "CONNECTION_LOST",
      isCommitted: this.isCommitted(attempt),
      retryAfterMs: attempt.retryAfterMs,
      effect: this.method.plan.info.effect,
      attempts: this.#counted,
      attemptsMax: ATTEMPTS_MAX,
      unreached: this.#unreached,
      peers: this.channel.links.length,
      isRepeatable: this.canSendAgain && !this.channel.isClosed,
    });
    if (repeat.kind === "fail") {
      this.#finish(this.#errorOf(attempt, code));
      return;
    }
    if (isExpiredToken) this.#hasRefreshed = true;
    this.#repeat(isExpiredToken);
  }

  /** Goes to a peer that was not tried, at once; or back to one that was, after a backoff. With a fresh token the same peer will do. */
  #repeat(isFreshTokenNeeded: boolean): void {
    const link = this.#link;
    if (this.attempt !== undefined) this.attemptReplaced();
    this.attempt = undefined;
    // Each attempt asks: a token may have expired since, whatever the last one failed of.
    this.#token = undefined;
    this.#isRefreshDue = isFreshTokenNeeded;
    if (link !== undefined && !isFreshTokenNeeded) (this.tried ??= []).push(link);
    if (!this.#allTried()) {
      this.place();
      return;
    }
    this.tried = undefined;
    const { world } = this.channel.runtime;
    this.#backoffUntilMs = world.clock.monotonicMs() + backoffMs(this.#repeats++, world.random.float());
    this.#hold = world.timers.hold();
    this.#park();
    this.rearm();
  }

  #allTried(): boolean {
    const tried = this.tried;
    return tried !== undefined && this.channel.links.every((link) => tried.includes(link) || link.state !== "ready");
  }

  // --------------------------------------------------------------------------------------------------- time

  /** Arms the wheel for the earliest of all moments that matter. */
  protected rearm(): void {
    const dueMs = Math.min(this.deadlineMs, this.#placeByMs, this.#backoffUntilMs, this.dueByMs);
    if (this.isOver) return;
    if (dueMs === Infinity) this.channel.runtime.wheel.cancel(this);
    else this.channel.runtime.wheel.arm(this, dueMs);
  }

  expired(nowMs: number): void {
    if (this.isOver) return;
    if (nowMs >= this.deadlineMs) {
      this.#end("DEADLINE_EXCEEDED", this.#whereText(nowMs), "DEADLINE", undefined);
      return;
    }
    if (nowMs >= this.#placeByMs) {
      this.channel.stopWaiting(this);
      const states = this.channel.links.map((link) => `${link.address} is ${link.canStart ? "ready" : link.state}`);
      this.unplaced({
        reason: "NO_PEER",
        text: `no peer took the call within ${PLACE_TIMEOUT_MS} ms: ${states.join("; ")}`,
      });
      return;
    }
    if (nowMs >= this.#backoffUntilMs) {
      this.#backoffUntilMs = Infinity;
      this.#release();
      this.place();
    }
    if (nowMs >= this.dueByMs) this.timeCame(nowMs);
    this.rearm();
  }

  #isAlmostDue(): boolean {
    return this.channel.runtime.world.clock.monotonicMs() >= this.deadlineMs - 2;
  }

  #whereText(nowMs: number): string {
    const tookMs = Math.round(nowMs - this.createdMs);
    if (this.isWaiting) return `the deadline passed after ${tookMs} ms while no peer was ready`;
    if (this.attempt === undefined) return `the deadline passed after ${tookMs} ms between two attempts`;
    const who = this.#link?.address ?? "the peer";
    return this.attempt.hasAnswered
      ? `the deadline passed after ${tookMs} ms while ${who} was answering`
      : `the deadline passed after ${tookMs} ms while waiting for ${who}`;
  }

  // ---------------------------------------------------------------------------------------------------- end

  /** Ends the call from our side. */
  protected endWith(code: Code, text: string, reason: Reason | undefined, cause: unknown): void {
    this.#end(code, text, reason, cause);
  }

  #end(code: Code, text: string, reason: Reason | undefined, cause: unknown): void {
    if (this.isOver) return;
    const attempt = this.attempt;
    const hasSent = attempt !== undefined || this.#counted > 0;
    const reached = attempt?.hasAnswered === true ? "yes" : hasSent && reason !== "INVALID_MESSAGE" ? "maybe" : "no";
    attempt?.cancel();
    this.#finish(failure({ ...this.#facts(), code, text, reason, reached, cause }));
  }

  #finish(error: RpcError): void {
    if (this.isOver) return;
    this.#leave();
    this.failed(error);
  }

  #leave(): void {
    this.isOver = true;
    this.channel.runtime.wheel.cancel(this);
    if (this.isWaiting) this.channel.stopWaiting(this);
    if (this.scope !== undefined) this.scope.removeChild(this);
    if (this.#onAbort !== undefined) this.options?.signal?.removeEventListener("abort", this.#onAbort);
    this.#onOver?.();
    if (this.#isParked) this.#release();
    this.channel.callEnded();
  }

  #release(): void {
    this.#hold?.cancel();
    this.#hold = undefined;
    this.#unpark();
  }

  /** Tells `onReply`, once. */
  protected report(attempt: ClientAttempt | undefined): void {
    const listener = this.options?.onReply;
    if (listener === undefined) return;
    try {
      listener({
        header: metadataFromPairs(attempt?.header ?? []),
        trailer: metadataFromPairs(attempt?.trailer ?? []),
        peer: this.peer,
        attempts: this.attempts,
      });
    } catch (error) {
      // The call has its outcome and other calls are on this connection: the listener's bug goes to the process alone.
      queueMicrotask(() => {
        throw error;
      });
    }
  }

  #facts(): {
    method: ClientMethod["plan"]["info"];
    callId: string;
    tookMs: number;
    attempts: number;
    faults: readonly Fault[];
  } {
    return {
      method: this.method.plan.info,
      callId: this.id,
      tookMs: this.channel.runtime.world.clock.monotonicMs() - this.createdMs,
      attempts: this.attempts,
      faults: this.faults ?? [],
    };
  }

  #errorOf(attempt: ClientAttempt, code: Code): RpcError {
    return failure({
      ...this.#facts(),
      code,
      text: attempt.text,
      reason: attempt.reason,
      // What the last attempt did not do, an earlier one may have done.
      reached: attempt.reached === "no" && this.#counted > 0 ? "maybe" : attempt.reached,
      metadata: attempt.trailer === undefined ? undefined : metadataFromPairs(attempt.trailer),
      details: attempt.details,
      retryAfterMs: attempt.retryAfterMs,
      cause: attempt.cause,
    });
  }

  #note(attempt: ClientAttempt, code: Code): void {
    const link = this.#link;
    const kind = attempt.fault ?? "status";
    const blame: Blame = kind === "status" ? "peer" : kind === "reset" ? "network" : "peer";
    (this.faults ??= []).push({
      kind,
      phase: attempt.hasAnswered ? "receive" : attempt.reached === "no" ? "send" : "server",
      blame,
      peer: link === undefined ? undefined : peerOf(link),
      attempt: attempt.number,
      code,
      atMs: this.channel.runtime.world.clock.monotonicMs() - this.createdMs,
      text: attempt.text,
    });
  }

  // ------------------------------------------------------------------------------------------------ headers

  headBytesMax(): number {
    const own = this.pairs.length === 0 ? 0 : pairsBytesMax(this.pairs);
    return HEAD_BYTES + this.#ownTextBytes() + own + (this.#token === undefined ? 0 : 32);
  }

  /** The texts of the headers that have no bound of their own. */
  #ownTextBytes(): number {
    const key = this.options?.idempotencyKey;
    return (
      this.method.pathBytes +
      (this.#authority as FieldToken).value.length +
      (key === undefined ? 0 : key.length) +
      (this.#token === undefined ? 0 : this.#token.length)
    );
  }

  /** What the header section counts against the peer's MAX_HEADER_LIST_SIZE, or a little more. */
  #headListBytes(): number {
    const own = this.pairs.length === 0 ? 0 : pairsListBytes(this.pairs);
    return HEAD_LIST_BYTES + this.#ownTextBytes() + own;
  }

  encodeHead(encoder: HpackEncoder, out: Buffer, start: number, attempt: ClientAttempt): number {
    const channel = this.channel;
    let at = encoder.token(methodPost, out, start);
    at = encoder.token(channel.scheme, out, at);
    at = encoder.token(this.method.path, out, at);
    at = encoder.token(this.#authority as FieldToken, out, at);
    at = encoder.token(contentTypeGrpc, out, at);
    at = encoder.token(teTrailers, out, at);
    at = encoder.token(userAgent, out, at);
    at = encoder.token(acceptEncodings, out, at);
    if (channel.requestEncoding !== undefined) {
      const token = encodingTokens[channel.requestEncoding];
      if (token !== undefined) at = encoder.token(token, out, at);
    }
    at = this.#encodeTimeout(encoder, out, at, attempt.number);
    const random = channel.runtime.world.random;
    this.span0 = random.uint32() | 0;
    this.span1 = random.uint32() | 1;
    writeTraceparent(scratch, 0, this);
    at = encoder.literalBytes(nameTraceparent, scratch, 0, TRACEPARENT_BYTES, out, at);
    const key = this.options?.idempotencyKey;
    if (key === undefined) {
      writeCallId(scratch, 0, this);
      at = encoder.literalBytes(nameCallId, scratch, 0, CALL_ID_BYTES, out, at);
    } else {
      at = encoder.literalText(nameCallId, key, out, at);
    }
    const priority = this.priority;
    if (priority !== "normal") at = encoder.field("holdfast-priority", priority, out, at);
    if (attempt.number > 1 && this.#counted > 0) {
      at = encoder.field("grpc-previous-rpc-attempts", String(this.#counted), out, at);
    }
    if (this.#token !== undefined) at = encoder.sensitive("authorization", `Bearer ${this.#token}`, out, at);
    if (this.pairs.length > 0) at = encodePairs(encoder, this.pairs, out, at);
    return at;
  }

  #encodeTimeout(encoder: HpackEncoder, out: Buffer, at: number, number: number): number {
    if (this.deadlineMs === Infinity) return at;
    const isWhole = number === 1 && !this.#isDelayed && this.deadlineMs === this.createdMs + this.ownTimeoutMs;
    if (isWhole && this.ownTimeoutMs === this.method.timeoutMs && this.method.timeout !== undefined) {
      return encoder.token(this.method.timeout, out, at);
    }
    const leftMs = this.deadlineMs - (isWhole ? this.createdMs : this.channel.runtime.world.clock.monotonicMs());
    return encoder.literalText(nameTimeout, formatTimeout(Math.max(leftMs, 0.001)), out, at);
  }
}

/** Whether an answer of UNAUTHENTICATED may be followed by the same call with a fresh token (docs/decisions/token-refresh.md). */
function isBeforeHandler(attempt: ClientAttempt, effect: Effect): boolean {
  return attempt.header === undefined || effect === "none" || effect === "idempotent";
}

function peerOf(link: PeerLink): Peer {
  const identities = link.connection?.socket?.tls?.identities ?? [];
  return { id: link.address, address: link.address, zone: undefined, version: undefined, identities };
}
