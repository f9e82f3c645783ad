/**
 * Hot path: one logical call of a client: its context, its attempts, its end. What may be repeated and copied is decided in
 * `policy/recover`; what a unary and a streaming call do differently is in the classes built on this one.
 */
import type { Code } from "../call/code.ts";
import { codeOf } from "../call/code.ts";
import { failure, RpcError } from "../call/error.ts";
import type { Fault } from "../call/fault.ts";
import { type IdWords, mintCallId } from "../call/ids.ts";
import { metadataFromPairs } from "../call/metadata.ts";
import type { Effect } from "../call/method.ts";
import type { Peer } from "../call/peer.ts";
import type { Reason } from "../call/reason.ts";
import { type CallScope, type ScopeChild, scopes } from "../call/scope.ts";
import { decideRepeat, type FailedAttempt, isOverload, mayCopy, type Repeat } from "../policy/recover/attempts.ts";
import { backoffDelayMs } from "../policy/recover/backoff.ts";
import { meaningOfOnce, type OnceMeaning } from "../policy/recover/once.ts";
import {
  askAgainMs,
  attemptsMaxWithCopies,
  copyDelayMs,
  isAnswer,
  LATE_MS,
  UNKNOWN_LOOK_MS,
} from "../policy/recover/copies.ts";
import type { AttemptOwner, ClientAttempt } from "../wire/transport/client-attempt.ts";
import type { Timer } from "../world/timers.ts";
import { type AttemptWhy, CallAttempt } from "./call-attempt.ts";
import { CallBase } from "./call-base.ts";
import { faultOf } from "./attempt-fault.ts";
import { noteAnswer, noteFailure, noteLate, noteSuccess, tellEnd } from "./attempt-notes.ts";
import { endedByCaller, errorOf, factsOf, isAnswerCode, outcomeUnknown, whereText } from "./call-error.ts";
import { CallTrail } from "./call-trail.ts";
import type { ChannelCore, NoPeer } from "./channel-core.ts";
import type { ClientMethod } from "./client-method.ts";
import type { ClientPeer } from "./client-peer.ts";
import { type ConnectionWatch, isSilent } from "./connection-watch.ts";
import { OncePlace } from "./once-place.ts";
import type { CallOptions } from "./options.ts";
import { suffer } from "./ordeal.ts";
import { isKnownGood, isQuarantined, noteGood, poisonError, suspectPoison } from "./poison-mark.ts";

/** A call that finds no peer waits so long at most. */
const PLACE_TIMEOUT_MS = 10_000;
/** A call under which a connection has died waits so long for a peer that has no other such call. */
const ALONE_MS = 250;
/** But no longer than this share of the time that it has left: to be alone is of no use to a call that ends before it is answered. */
const ALONE_SHARE_MAX = 0.25;
/** A call that waits for the one peer that can tell whether it was done looks for it so often. */
const PLACE_LOOK_MS = 25;

/** An attempt whose token is being asked for. It counts as in flight. */
interface PendingStart {
  readonly peer: ClientPeer;
  readonly why: AttemptWhy;
  readonly sinceMs: number;
  readonly abort: AbortController;
}

/** What a header may hold (RFC 9113 section 8.2.1). */
const TOKEN = /^[!-~](?:[ -~]*[!-~])?$/;

export abstract class ClientCall extends CallBase implements AttemptOwner, ScopeChild {
  scopePrevious: ScopeChild | undefined = undefined;
  scopeNext: ScopeChild | undefined = undefined;
  waitPrevious: ClientCall | undefined = undefined;
  waitNext: ClientCall | undefined = undefined;
  isWaiting: boolean = false;
  isOver: boolean = false;
  /** The youngest attempt that is in flight, and the others that are. */
  attempt: CallAttempt | undefined = undefined;
  #others: CallAttempt[] | undefined = undefined;
  #pending: PendingStart[] | undefined = undefined;
  /** The attempt that ended last, or ended the call. */
  last: CallAttempt | undefined = undefined;
  faults: Fault[] | undefined = undefined;
  /** Of effect once, and perhaps done there: it goes nowhere else. */
  once: OncePlace | undefined = undefined;
  /** What its record is made from; only if somebody listens. */
  readonly trail: CallTrail | undefined;
  /** Peers that an attempt was started on: others come first. */
  #tried: ClientPeer[] | undefined = undefined;
  /** Of the tried: those that take no header list as long as this call's. */
  #unfit: ClientPeer[] | undefined = undefined;
  /** Until then it does not go back to a peer that it has tried. */
  #backAtMs: number = -Infinity;
  /** Of the failed attempts: those that never reached a handler. */
  #unreached: number = 0;
  #repeats: number = 0;
  #delayMs: number = 0;
  #marks: number = 0;
  /** Until then it is to share a peer with no other call that is marked: if the peer dies too, only one of them was there. */
  #aloneUntilMs: number = -Infinity;
  /** A server has asked not to repeat the call. */
  #isStopped: boolean = false;
  /** When the youngest attempt is overdue; when it has used up its own time. */
  #copyAtMs: number = Infinity;
  #attemptByMs: number = Infinity;
  #isCopyPostponed: boolean = false;
  /** When it began, its method had not yet shown how long it takes. */
  #isOverdueUnknown: boolean = false;
  /** It is looked at when half of its time is gone, before it is overdue: if its peer is silent then, it is copied. */
  #isLookEarly: boolean = false;
  #placeByMs: number = Infinity;
  #backoffUntilMs: number = Infinity;
  #why: AttemptWhy = "first";
  #hasRefreshed: boolean = false;
  /** The last attempt was answered with UNAUTHENTICATED: the next token is to be a fresh one. */
  #isRefreshDue: boolean = false;
  #onAbort: (() => void) | undefined = undefined;
  /** Keeps the process alive between two attempts. */
  #hold: Timer | undefined = undefined;
  #isParked: boolean = false;
  /** A further moment at which `timeCame` is to be called, for a subclass. */
  protected dueByMs: number = Infinity;

  constructor(channel: ChannelCore, method: ClientMethod, options: CallOptions | undefined, nowMs: number) {
    super(channel, method, options, nowMs);
    this.trail = channel.events.hears("call.ended") ? new CallTrail() : undefined;
  }

  get peer(): Peer | undefined {
    return this.last?.peer.describe();
  }

  /** Sends the request, or begins to, on an attempt whose headers have been written. */
  protected abstract sendRequest(attempt: ClientAttempt): void;
  /** The request can be sent again from its beginning. */
  protected abstract get canSendAgain(): boolean;
  /** The one request message, for those that have one; copies are for those alone. */
  abstract get onlyRequest(): { readonly message: unknown } | undefined;
  /** Something of the attempt's answer has reached the user (docs/decisions/commit-point.md). Nothing of a single reply does before all of it. */
  protected isCommitted(_attempt: ClientAttempt): boolean {
    return false;
  }
  /** Another attempt will take the place of the last one. */
  protected attemptReplaced(): void {}
  protected abstract succeeded(attempt: ClientAttempt): void;
  protected abstract failed(error: RpcError): void;
  /** Response headers have come. */
  protected abstract answered(attempt: ClientAttempt): void;
  abstract attemptWritable(attempt: ClientAttempt): void;
  protected timeCame(_nowMs: number): void {}

  // ------------------------------------------------------------------------------------------------ context

  /** Takes over what it inherits and finds a peer. */
  begin(idFrom: IdWords | undefined): void {
    const { channel } = this;
    channel.callBegan();
    const { state } = this.method;
    state.budget.deposit(this.createdMs);
    const { world } = channel.runtime;
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
    channel.tick.used(this.createdMs);
    if (!channel.quarantine.isEmpty && isQuarantined(this)) {
      state.counters.poisoned += 1;
      this.#finish(poisonError(this, "the same request brought down two servers within the last minute", "no"));
      return;
    }
    this.place(this.createdMs);
    this.rearm();
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
      this.deadlineMs = Math.min(this.deadlineMs, scope.deadlineOn(this.channel.runtime.world.clock));
      if (this.deadlineMs <= this.createdMs) {
        this.endWith("DEADLINE_EXCEEDED", "the inherited deadline left no time for this call", "DEADLINE", undefined);
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
    if (isLate) this.endWith("DEADLINE_EXCEEDED", text, "DEADLINE", reason);
    else this.endWith("CANCELLED", "what the call belongs to has ended", "CANCELLED_BY_CALLER", reason);
  }

  /** Cancelled by the signal, or by leaving the stream. */
  protected cancelled(reason: unknown): void {
    this.endWith("CANCELLED", "the caller cancelled the call", "CANCELLED_BY_CALLER", reason);
  }

  // -------------------------------------------------------------------------------------------------- placing

  /** Starts an attempt on a peer, or waits for one. */
  place(nowMs: number): void {
    const { channel } = this;
    channel.start();
    if (this.isOver) return;
    if (this.once !== undefined) {
      this.#placeOnce(this.once, nowMs);
      return;
    }
    if (!this.#passesThrottle(nowMs, this.#why)) return;
    const peer = channel.pick(nowMs, this.#excluded(nowMs), this.isReplyStream, this.policy.gate);
    if (peer !== undefined) {
      this.startOn(peer);
      return;
    }
    const hopeless = channel.hopeless(this.policy.waitForReady);
    if (hopeless !== undefined) {
      this.unplaced(hopeless);
      return;
    }
    this.isDelayed = true;
    this.#placeByMs = nowMs + PLACE_TIMEOUT_MS;
    channel.wait(this);
    this.rearm();
  }

  /** The same for a call that may have been done already: only where that is known. Others that wait are not held up by it. */
  #placeOnce(once: OncePlace, nowMs: number): void {
    const { channel } = this;
    const closed = channel.isClosed ? channel.hopeless(true) : undefined;
    if (closed !== undefined || !once.isAnywhere(channel, this.#unfit)) {
      this.unplaced(closed ?? { reason: "OUTCOME_UNKNOWN", text: once.whyNowhere() });
      return;
    }
    const isLong = this.isReplyStream;
    let peer = once.pick(channel, nowMs, this.#tried, isLong);
    if (peer === undefined && nowMs >= this.#backAtMs) peer = once.pick(channel, nowMs, this.#unfit, isLong);
    if (peer !== undefined) {
      if (this.#passesThrottle(nowMs, this.#why)) this.startOn(peer);
      return;
    }
    if (!this.policy.waitForReady) {
      this.unplaced({ reason: "OUTCOME_UNKNOWN", text: "the peer that can tell takes no call now" });
      return;
    }
    this.isDelayed = true;
    this.#placeByMs = Math.min(this.#placeByMs, nowMs + PLACE_TIMEOUT_MS);
    this.#pause(nowMs + PLACE_LOOK_MS);
  }

  /** A peer for a call that waits: one that was not tried; one that was, if no other takes it now. */
  pickAgain(nowMs: number): ClientPeer | undefined {
    const { channel } = this;
    const isGated = this.policy.gate;
    const peer = channel.pick(nowMs, this.#excluded(nowMs), this.isReplyStream, isGated);
    if (peer !== undefined || this.#tried === undefined || nowMs < this.#backAtMs) return peer;
    // Rather beside another marked call, in a moment, than back to where the connection died.
    if (this.#isAlone(nowMs)) return undefined;
    return channel.pick(nowMs, this.#unfit, this.isReplyStream, isGated);
  }

  #isAlone(nowMs: number): boolean {
    return nowMs < this.#aloneUntilMs;
  }

  #excluded(nowMs: number): readonly ClientPeer[] | undefined {
    return this.#isAlone(nowMs) ? this.channel.notAlone(this.#tried ?? []) : this.#tried;
  }

  /** A peer takes the call. */
  startOn(peer: ClientPeer): void {
    this.#placeByMs = Infinity;
    this.#launch(peer, this.#why);
  }

  /** Starts an attempt, with a token if the channel asks for them. False: it was not started. */
  #launch(peer: ClientPeer, why: AttemptWhy): boolean {
    if (this.channel.token === undefined) return this.#startAttempt(peer, why, undefined);
    void this.#startWithToken(peer, why);
    return true;
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
    this.#cancelAttempts(undefined);
    if (this.once !== undefined && why.reason !== "CLIENT_CLOSED") {
      this.#finish(outcomeUnknown(this, this.once, why.text));
      return;
    }
    this.#finish(
      failure({
        ...factsOf(this),
        code,
        text: why.text,
        reason: why.reason,
        reached: this.counted > 0 ? "maybe" : "no",
        cause: why.reason === "NO_PEER" ? this.channel.resolverFailure?.cause : undefined,
      }),
    );
  }

  async #startWithToken(peer: ClientPeer, why: AttemptWhy): Promise<void> {
    const ask = this.channel.token;
    if (ask === undefined) return;
    this.isDelayed = true;
    const pending: PendingStart = { peer, why, sinceMs: this.channel.nowMs(), abort: new AbortController() };
    (this.#pending ??= []).push(pending);
    this.#park();
    let token: string | undefined;
    let cause: unknown;
    try {
      const facts = { method: this.method.plan.info, isRefresh: this.#isRefreshDue, signal: pending.abort.signal };
      // A call may start in the turn of a socket, whose scope is that of another call.
      token = await scopes.run(this.scope, ask, facts);
      if (typeof token !== "string" || !TOKEN.test(token)) {
        throw new TypeError("a token must be a text of printable ASCII without spaces at its ends");
      }
    } catch (error) {
      token = undefined;
      cause = error;
    }
    if (this.#pending?.includes(pending) !== true) return;
    this.#dropPending(pending);
    if (token !== undefined && this.#startAttempt(peer, why, token)) return;
    if (why === "hedge") this.#giveBackCopy(pending.sinceMs);
    // A copy that cannot be sent takes nothing from the attempts that are in flight.
    if (token !== undefined || this.#inFlight > 0) return;
    this.endWith("UNAUTHENTICATED", "no token could be had for the call", undefined, cause);
  }

  #dropPending(pending: PendingStart): void {
    this.#pending = this.#pending?.filter((other) => other !== pending);
    if (this.#pending?.length !== 0) return;
    this.#pending = undefined;
    if (this.#backoffUntilMs === Infinity) this.#unpark();
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

  // ----------------------------------------------------------------------------------------------- attempts

  /** False: it was not started. A copy is given up then; else the call looks for another peer, or has ended. */
  #startAttempt(peer: ClientPeer, why: AttemptWhy, token: string | undefined): boolean {
    const { channel } = this;
    const { state } = this.method;
    const isFirst = this.attempts === 0 && !this.isDelayed;
    const nowMs = isFirst ? this.createdMs : channel.nowMs();
    const { once } = this;
    const connection =
      once === undefined
        ? peer.link.take(nowMs, this.isReplyStream)
        : once.connectionOf(peer, nowMs, this.isReplyStream);
    if (connection === undefined) {
      if (this.#inFlight === 0) this.place(nowMs);
      return false;
    }
    const attempt = new CallAttempt(this, connection, this.attempts + 1, peer, state, why, token);
    if (once !== undefined) attempt.storeId = once.store?.id;
    if (this.pairs.length > 0 || token !== undefined) {
      // A call that has nothing long of its own is within every limit that a peer is known to have.
      const listBytesMax = connection.engine.peer.headerListBytesMax;
      if (this.headListBytes(attempt) > listBytesMax) {
        this.#isTooLongFor(peer, listBytesMax, nowMs);
        return false;
      }
    }
    this.attempts += 1;
    if (this.attempt !== undefined) (this.#others ??= []).push(this.attempt);
    this.attempt = attempt;
    this.last = attempt;
    peer.began(attempt, nowMs);
    if (this.#marks > 0) {
      attempt.isMarked = true;
      peer.marked += 1;
    }
    this.trail?.started(attempt, nowMs - this.createdMs);
    this.#armCopy(nowMs);
    if (!isFirst) this.rearm();
    const { chaos } = channel;
    const ordeal = chaos === undefined || chaos.isEmpty ? undefined : chaos.meet(state.info.path, peer.address, nowMs);
    if (ordeal === undefined) this.send(attempt, nowMs);
    else suffer(this, attempt, ordeal, nowMs);
    if (why === "first") {
      for (let copies = this.policy.copies; copies > 1 && !this.isOver; copies--) this.#startCopy(nowMs, "copy");
    }
    return true;
  }

  /** Another peer may take a longer header list. */
  #isTooLongFor(peer: ClientPeer, listBytesMax: number, nowMs: number): void {
    if (this.#inFlight > 0) return;
    (this.#unfit ??= []).push(peer);
    (this.#tried ??= []).push(peer);
    if (this.once !== undefined || this.channel.hasOther(this.#unfit)) {
      this.place(nowMs);
      return;
    }
    const text = `the request's metadata is over the ${listBytesMax} bytes that ${peer.address} takes`;
    this.endWith("RESOURCE_EXHAUSTED", text, "METADATA_TOO_LARGE", undefined);
  }

  /** Puts an attempt on its connection. */
  send(attempt: CallAttempt, nowMs: number): void {
    const { connection } = attempt;
    attempt.start(nowMs);
    connection.watch();
    (connection.watcher as ConnectionWatch).began(nowMs);
    try {
      this.sendRequest(attempt);
    } catch (error) {
      this.rejectRequest(error);
    }
  }

  /** When the attempt that starts now will be overdue, or has used up its own time. */
  #armCopy(nowMs: number): void {
    const { policy } = this;
    if (policy.attemptTimeoutMs !== Infinity) {
      this.#attemptByMs = Math.min(this.#attemptByMs, nowMs + policy.attemptTimeoutMs);
    }
    const { hedge } = policy;
    // What may have brought down a server is not sent to two at once.
    if (hedge === false || this.channel.hedgeState === "off" || this.#marks > 0) return;
    const delayMs = copyDelayMs(hedge, this.method.state.overdue, nowMs);
    this.#isCopyPostponed = false;
    this.#isOverdueUnknown = delayMs === Infinity;
    this.#copyAtMs = nowMs + (delayMs === Infinity ? UNKNOWN_LOOK_MS : delayMs);
    // Its deadline may come before it is overdue: what is late may have been so for a stall of this process, a moment ago.
    const halfMs = nowMs + (this.deadlineMs - nowMs) / 2;
    this.#isLookEarly = hedge.kind === "overdue" && this.#copyAtMs > halfMs;
    if (this.#isLookEarly) this.#copyAtMs = halfMs;
  }

  /** What servers refuse for overload is refused here, before it costs them anything. False: the call, or the copy, has ended. */
  #passesThrottle(nowMs: number, why: AttemptWhy): boolean {
    const { channel } = this;
    const { state } = this.method;
    const throttle = this.policy.throttle ? state.throttleOf(this.priority) : undefined;
    if (throttle?.isActive !== true || channel.throttleState === "off") return true;
    const chance = channel.runtime.world.random.float();
    const isOn = channel.throttleState === "on";
    if (isOn ? throttle.admits(nowMs, chance) : throttle.wouldAdmit(nowMs, chance)) return true;
    const refusedShare = state.refusedShare(nowMs);
    if (!isOn) {
      channel.observed("throttle", `refused, as ${Math.round(refusedShare * 100)} % are`, this.id, undefined);
      return true;
    }
    if (channel.events.isHeard) channel.events.emit("throttled", nowMs, { method: state.info, refusedShare });
    if (why === "hedge" || why === "copy") return false;
    state.counters.throttled += 1;
    const text = `${Math.round(refusedShare * 100)} % of ${this.priority} calls are refused here, as servers would refuse them`;
    this.#cancelAttempts(undefined);
    this.#finish(
      failure({
        ...factsOf(this),
        code: "RESOURCE_EXHAUSTED",
        text,
        reason: "THROTTLED",
        reached: this.counted > 0 ? "maybe" : "no",
        retryAfterMs: -1,
      }),
    );
    return false;
  }

  /** The codec refused a request message. */
  protected rejectRequest(error: unknown): void {
    const text = `the request cannot be sent: ${error instanceof Error ? error.message : String(error)}`;
    this.endWith("INVALID_ARGUMENT", text, "INVALID_MESSAGE", error);
  }

  attemptAnswered(given: ClientAttempt): void {
    const attempt = given as CallAttempt;
    if (this.isReplyStream) {
      // Whoever answers first is the one whose replies are read.
      const nowMs = attempt.connection.receivedAtMs;
      noteAnswer(this, attempt, nowMs);
      this.#copyAtMs = Infinity;
      // From here on the stream takes the time that it takes.
      this.#attemptByMs = Infinity;
      if (this.#inFlight > 1 || this.attempt !== attempt) this.#cancelAttempts(attempt);
    }
    this.answered(attempt);
  }

  /** A reply that is not the one that was sent, while integrity is only observed: noted, and handed on. */
  attemptDiffers(given: ClientAttempt, text: string): void {
    const attempt = given as CallAttempt;
    const nowMs = attempt.connection.receivedAtMs;
    attempt.observed = { ...faultOf(attempt, "DATA_LOSS", "network", nowMs - this.createdMs, "corrupt"), text };
  }

  attemptEnded(given: ClientAttempt): void {
    const attempt = given as CallAttempt;
    if (this.isOver) return;
    const nowMs = attempt.connection.receivedAtMs;
    if (attempt.code === 0) {
      noteSuccess(this, attempt, nowMs);
      if (this.method.state.knownGood.isDue(nowMs)) noteGood(this, nowMs);
      this.#remove(attempt);
      // The winner is taken out: whatever is still in flight has lost.
      if (this.#inFlight > 0) this.#cancelAttempts(attempt);
      this.#leave();
      this.last = attempt;
      tellEnd(this, attempt, "OK", attempt.observed, nowMs);
      this.method.state.counters.ended(
        nowMs,
        true,
        this.attempts,
        this.counted + this.#unreached,
        attempt.why === "hedge",
      );
      if (this.trail !== undefined) this.trail.tell(this, undefined, nowMs);
      this.succeeded(attempt);
      return;
    }
    this.#attemptFailed(attempt);
  }

  /** Attempts that are on their way, or about to be. */
  get #inFlight(): number {
    const sent = this.attempt === undefined ? 0 : 1 + (this.#others?.length ?? 0);
    return this.#pending === undefined ? sent : sent + this.#pending.length;
  }

  /** No longer in flight. */
  #remove(attempt: CallAttempt): void {
    const others = this.#others;
    if (this.attempt === attempt) {
      this.attempt = others?.pop();
    } else if (others !== undefined) {
      const at = others.indexOf(attempt);
      if (at >= 0) others.splice(at, 1);
    }
    if (others !== undefined && others.length === 0) this.#others = undefined;
  }

  /** Cancels what is in flight, except one: losers, of which neither detectors nor the budget hear. */
  #cancelAttempts(winner: CallAttempt | undefined): void {
    for (const pending of this.#pending ?? []) this.#giveUp(pending);
    const all = this.#others;
    const youngest = this.attempt;
    this.#others = undefined;
    this.attempt = winner !== undefined && (youngest === winner || all?.includes(winner) === true) ? winner : undefined;
    if (youngest !== undefined && youngest !== winner) this.#cancel(youngest, winner);
    if (all === undefined) return;
    for (const attempt of all) if (attempt !== winner) this.#cancel(attempt, winner);
  }

  #giveUp(pending: PendingStart): void {
    this.#dropPending(pending);
    if (pending.why === "hedge") this.#giveBackCopy(pending.sinceMs);
    pending.abort.abort();
  }

  #cancel(attempt: CallAttempt, winner: CallAttempt | undefined): void {
    const nowMs = this.channel.nowMs();
    const tookMs = nowMs - attempt.startedMs;
    if (winner !== undefined) {
      // It has taken so long already: a censored sample, without which the quantiles would forget all that is slow.
      attempt.peer.overtaken(attempt, nowMs, nowMs - winner.startedMs);
      (attempt.connection.watcher as ConnectionWatch).gaveUp(attempt);
      this.method.state.sample(nowMs, tookMs);
    }
    attempt.peer.ended(attempt);
    this.trail?.ended(attempt, "CANCELLED", undefined, nowMs - this.createdMs);
    attempt.cancel();
  }

  #attemptFailed(attempt: CallAttempt): void {
    const { channel } = this;
    const nowMs = channel.nowMs();
    const code = codeOf(attempt.code) as Code;
    if (code === "CANCELLED" && attempt.reason === "STREAM_RESET" && nowMs >= this.deadlineMs - 2) {
      // The server's timer for this deadline was quicker than ours.
      this.#deadlinePassed(Math.max(nowMs, this.deadlineMs));
      return;
    }
    this.#remove(attempt);
    if (attempt.reached === "no") this.#unreached += 1;
    else this.counted += 1;
    const isMarked = noteFailure(this, attempt, code, nowMs);
    // A listener may have cancelled it.
    if (this.isOver) return;
    if (isMarked && !isKnownGood(this, attempt, nowMs)) {
      this.#marks += 1;
      this.#aloneUntilMs = nowMs + Math.min(ALONE_MS, ALONE_SHARE_MAX * (this.deadlineMs - nowMs));
    }
    if ((attempt.retryAfterMs ?? 0) < 0) this.#isStopped = true;
    const { info } = this.method.plan;
    const isExpiredToken =
      code === "UNAUTHENTICATED" &&
      channel.token !== undefined &&
      !this.#hasRefreshed &&
      isBeforeHandler(attempt, info.effect);
    // A kept answer is the same each time it is asked for.
    const isFinal = info.effect === "once" && !isExpiredToken && this.#meaningOf(attempt, code) === "answer";
    const repeat = this.#switched(attempt, {
      code,
      reached: isExpiredToken ? "no" : attempt.reached,
      isCommitted: this.isCommitted(attempt),
      retryAfterMs: attempt.retryAfterMs,
      effect: info.effect,
      codes: this.policy.codes,
      attempts: this.counted + this.#inFlight,
      attemptsMax: this.policy.attemptsMax,
      unreached: this.#unreached,
      peers: channel.peers.length,
      canSendAgain: this.canSendAgain && !this.#isStopped && !channel.isClosed && !isFinal,
      mayRepeat: this.mayRepeat,
      marks: this.#marks,
      // Whether a server is left that has its store is asked below.
      isDeduplicated: this.once !== undefined,
    });
    if (repeat === "poison") {
      suspectPoison(this, nowMs);
      this.#cancelAttempts(undefined);
      this.#finish(poisonError(this, attempt.text, "maybe"));
      return;
    }
    if (!isExpiredToken) (this.#tried ??= []).push(attempt.peer);
    // If the first to finish failed of anything but an answer, the one that is still in flight is awaited.
    const isFromHandler = attempt.reached === "yes" && attempt.fault === "status";
    if (this.#inFlight > 0 && !isAnswer(code, isFromHandler, this.policy.codes)) return;
    const isWanted = repeat === "free" || repeat === "charged";
    if (isWanted && this.once?.isAnywhere(channel, this.#unfit) === false) {
      this.last = attempt;
      this.unplaced({ reason: "OUTCOME_UNKNOWN", text: this.once.whyNowhere() });
      return;
    }
    const isBack = !isExpiredToken && !this.#hasOther();
    const delayMs = isWanted ? this.#delayBefore(attempt, code, isBack, nowMs) : 0;
    // What could go out only after the deadline would hide the server's own answer.
    const isInTime = delayMs === 0 || nowMs + delayMs < this.deadlineMs;
    const isPaid = isWanted && isInTime && (repeat === "free" || this.#takeRepeat(nowMs));
    if (!isPaid) {
      this.#cancelAttempts(undefined);
      this.last = attempt;
      this.#finish(errorOf(this, attempt, code, isInTime && repeat === "charged"));
      return;
    }
    if (isExpiredToken) this.#hasRefreshed = true;
    this.#isRefreshDue = isExpiredToken;
    if (isBack) this.#tried = this.#unfit?.slice();
    this.#repeat(attempt, delayMs, nowMs);
  }

  /** What a failed attempt says of a call of effect once; if that may have been done, where is remembered. */
  #meaningOf(attempt: CallAttempt, code: Code): OnceMeaning {
    const { reason, reached, announced, retryAfterMs } = attempt;
    const meaning = meaningOfOnce({
      code,
      reason,
      reached,
      isAnswered: attempt.fault === "status",
      announced,
      heard: attempt.connection.dedup,
      isBound: attempt.storeId !== undefined,
      isRepeat: this.once !== undefined,
      retryAfterMs,
    });
    // The replies of streams are kept by no server of ours: where no store is known that may hold them, they are not asked for again.
    const isPlace = this.method.plan.info.kind === "unary" || attempt.connection.dedup !== undefined;
    if (meaning === "ambiguous" && isPlace) this.once ??= new OncePlace(attempt, errorOf(this, attempt, code, false));
    return meaning;
  }

  /** A peer is connected that was not tried and may be. */
  #hasOther(): boolean {
    const { channel, once } = this;
    return once === undefined ? channel.hasOther(this.#tried) : once.isElsewhere(channel, this.#tried);
  }

  /** How long to wait before a repeat: as the server asks; after a backoff where it goes back to a tried peer, or to an overloaded service. */
  #delayBefore(attempt: CallAttempt, code: Code, isBack: boolean, nowMs: number): number {
    const { retryAfterMs } = attempt;
    if (attempt.reached !== "no" && retryAfterMs !== undefined && retryAfterMs >= 0) return retryAfterMs;
    const rule = attempt.fault === "attempt-timeout" ? this.policy.timeoutBackoff : this.policy.failureBackoff;
    const backoffMs = backoffDelayMs(rule, this.#repeats, this.#delayMs, this.channel.runtime.world.random.float());
    // Admission asks this call to wait, not the peer's others: it is the call that does.
    const isAsked = attempt.reason === "ADMISSION_REFUSED" && retryAfterMs !== undefined;
    const backMs = isAsked ? Math.max(backoffMs, retryAfterMs) : backoffMs;
    // The others may turn out to be full: then too it does not go back at once.
    this.#backAtMs = nowMs + backMs;
    if (!isBack && (attempt.reached === "no" || !isOverload(code, retryAfterMs))) return 0;
    this.#delayMs = backoffMs;
    this.#repeats += 1;
    return backMs;
  }

  /** What is to follow a failed attempt, as far as the switches let it. */
  #switched(attempt: CallAttempt, failed: FailedAttempt): Repeat {
    const { channel } = this;
    let repeat = decideRepeat(failed);
    if (repeat === "poison" && channel.poisonState !== "on") {
      if (channel.poisonState === "observe") channel.observed("poison", "not sent again", this.id, attempt.peer);
      repeat = decideRepeat({ ...failed, marks: 0 });
    }
    if ((repeat === "free" || repeat === "charged") && channel.retryState !== "on") {
      if (channel.retryState === "observe")
        channel.observed("retry", `repeated after ${failed.code}`, this.id, attempt.peer);
      repeat = "fail";
    }
    return repeat;
  }

  #takeRepeat(nowMs: number): boolean {
    const { channel } = this;
    const { state } = this.method;
    if (channel.budgetState === "off" || state.budget.takeRepeat(nowMs)) return true;
    if (channel.budgetState === "observe") {
      channel.observed("budget", "no repeat", this.id, undefined);
      return true;
    }
    if (channel.events.isHeard) channel.events.emit("budget.empty", nowMs, { method: state.info });
    return false;
  }

  /** Goes to a peer that was not tried, at once; or back to one that was, after a backoff. With a fresh token the same peer will do. */
  #repeat(attempt: CallAttempt, delayMs: number, nowMs: number): void {
    if (this.isOver) return;
    const { channel } = this;
    this.attemptReplaced();
    this.#why = "retry";
    this.#copyAtMs = Infinity;
    this.#attemptByMs = Infinity;
    this.method.state.counters.repeats += 1;
    if (channel.events.isHeard) {
      channel.events.emit("retry", nowMs, {
        callId: this.id,
        method: this.method.plan.info,
        attempt: this.attempts + 1,
        delayMs,
        budgetLeft: this.method.state.budget.left(nowMs),
        peer: attempt.peer.describe(),
      });
      if (this.isOver) return;
    }
    if (delayMs <= 0) {
      this.place(nowMs);
      return;
    }
    this.#pause(nowMs + delayMs);
  }

  /** Looks for a peer again at that time. */
  #pause(untilMs: number): void {
    this.#backoffUntilMs = untilMs;
    this.#hold = this.channel.runtime.world.timers.hold();
    this.#park();
    this.rearm();
  }

  // ------------------------------------------------------------------------------------------------- copies

  /** The youngest attempt is overdue: it may be moved, never ended. */
  #overdue(nowMs: number): void {
    if (nowMs - this.#copyAtMs > LATE_MS && !this.#isCopyPostponed) {
      this.#isCopyPostponed = true;
      this.#copyAtMs = nowMs + 1;
      return;
    }
    const { hedge } = this.policy;
    const { attempt } = this;
    this.#copyAtMs = Infinity;
    if (hedge === false || attempt === undefined) return;
    const isEarly = this.#isLookEarly;
    this.#isLookEarly = false;
    if (this.#isOverdueUnknown || (isEarly && !isSilent(attempt, nowMs))) {
      const delayMs = copyDelayMs(hedge, this.method.state.overdue, nowMs);
      this.#isOverdueUnknown = delayMs === Infinity;
      const dueMs = attempt.startedMs + delayMs;
      if (dueMs > nowMs) {
        this.#copyAtMs = delayMs === Infinity ? askAgainMs(nowMs - attempt.startedMs, nowMs) : dueMs;
        return;
      }
    }
    const inFlight = this.#inFlight;
    const isStandingDown = this.channel.isStandingDown && !isSilent(attempt, nowMs);
    const isAllowed = mayCopy({
      effect: this.method.plan.info.effect,
      isCommitted: this.isCommitted(attempt),
      canSendAgain: this.canSendAgain && !this.#isStopped && this.onlyRequest !== undefined,
      mayRepeat: this.mayRepeat,
      attempts: this.counted + inFlight,
      // Without repeats a hedge still has its copies.
      attemptsMax: attemptsMaxWithCopies(this.policy.attemptsMax, hedge.copiesMax),
      inFlight,
      copiesMax: hedge.copiesMax,
      isStandingDown,
    });
    if (!isAllowed && !isStandingDown) return;
    const { hedgeState } = this.channel;
    if (isAllowed && hedgeState === "on") this.#startCopy(nowMs, "hedge");
    else if (isAllowed && hedgeState === "observe")
      this.channel.observed("hedge", "copied", this.id, this.attempt?.peer);
    // What stood in the way may pass: an empty budget, no other peer, all slow at once.
    if (this.attempt === attempt && this.#pending === undefined)
      this.#copyAtMs = askAgainMs(nowMs - attempt.startedMs, nowMs);
  }

  #startCopy(nowMs: number, why: "hedge" | "copy"): void {
    const { channel, attempt } = this;
    const { state } = this.method;
    if (attempt === undefined || this.onlyRequest === undefined || !this.#passesThrottle(nowMs, why)) return;
    const busy = [...(this.#tried ?? []), attempt.peer];
    for (const { peer } of this.#others ?? []) busy.push(peer);
    for (const { peer } of this.#pending ?? []) busy.push(peer);
    const peer = channel.pick(nowMs, busy, this.isReplyStream, this.policy.gate);
    if (peer === undefined) return;
    if (why === "copy") {
      this.#launch(peer, why);
      return;
    }
    if (channel.budgetState !== "off" && !state.budget.takeCopy(nowMs)) {
      if (channel.budgetState === "on") return;
      channel.observed("budget", "no copy", this.id, undefined);
    }
    if (!this.#launch(peer, why)) {
      this.#giveBackCopy(nowMs);
      return;
    }
    state.counters.copies += 1;
    if (!channel.events.isHeard) return;
    const afterMs = nowMs - attempt.startedMs;
    channel.events.emit("hedge", nowMs, { callId: this.id, method: state.info, afterMs, peer: peer.describe() });
  }

  /** A copy was paid for and not sent. */
  #giveBackCopy(takenMs: number): void {
    if (this.channel.budgetState === "on") this.method.state.budget.giveBackCopy(takenMs, this.channel.nowMs());
  }

  // --------------------------------------------------------------------------------------------------- time

  /** Arms the wheel for the earliest of all moments that matter. */
  protected rearm(): void {
    if (this.isOver) return;
    const dueMs = Math.min(
      this.deadlineMs,
      this.#copyAtMs,
      this.#placeByMs,
      this.#backoffUntilMs,
      this.#attemptByMs,
      this.dueByMs,
    );
    if (dueMs === Infinity) this.channel.runtime.wheel.cancel(this);
    else this.channel.runtime.wheel.arm(this, dueMs);
  }

  expired(nowMs: number): void {
    if (this.isOver) return;
    if (nowMs >= this.deadlineMs) {
      this.#deadlinePassed(nowMs);
      return;
    }
    if (nowMs >= this.#placeByMs) {
      this.channel.stopWaiting(this);
      const text = `no peer took the call within ${PLACE_TIMEOUT_MS} ms: ${this.channel.reasonsText()}`;
      this.unplaced({ reason: "NO_PEER", text });
      return;
    }
    if (nowMs >= this.#backoffUntilMs) {
      this.#backoffUntilMs = Infinity;
      this.#release();
      this.place(nowMs);
      if (this.isOver) return;
    }
    if (nowMs >= this.#attemptByMs) this.#attemptsTimedOut(nowMs);
    if (!this.isOver && nowMs >= this.#copyAtMs) this.#overdue(nowMs);
    if (!this.isOver && nowMs >= this.dueByMs) this.timeCame(nowMs);
    this.rearm();
  }

  #deadlinePassed(nowMs: number): void {
    const text = whereText(this, nowMs);
    const { attempt } = this;
    // Those that still have the call have had their time.
    if (attempt !== undefined) noteLate(this, attempt, nowMs);
    for (const other of this.#others ?? []) if (!this.isOver) noteLate(this, other, nowMs);
    this.endWith("DEADLINE_EXCEEDED", text, "DEADLINE", undefined);
  }

  /** An explicit `attemptTimeoutMs` has passed: the attempt is cancelled and counts as failed. */
  #attemptsTimedOut(nowMs: number): void {
    const { attemptTimeoutMs } = this.policy;
    this.#attemptByMs = Infinity;
    const all = this.attempt === undefined ? [] : [...(this.#others ?? []), this.attempt];
    for (const attempt of all) {
      if (this.isOver) return;
      if (attempt.startedMs + attemptTimeoutMs <= nowMs) attempt.timeOut(attemptTimeoutMs);
      else this.#attemptByMs = Math.min(this.#attemptByMs, attempt.startedMs + attemptTimeoutMs);
    }
  }

  // ---------------------------------------------------------------------------------------------------- end

  /** Ends the call from our side. */
  protected endWith(code: Code, text: string, reason: Reason | undefined, cause: unknown): void {
    if (this.isOver) return;
    const attempt = this.attempt;
    const hasAnswered = attempt?.hasAnswered === true || this.#others?.some((other) => other.hasAnswered) === true;
    const hasSent = attempt !== undefined || this.counted > 0;
    const reached = hasAnswered ? "yes" : hasSent && reason !== "INVALID_MESSAGE" ? "maybe" : "no";
    this.#cancelAttempts(undefined);
    this.#finish(failure({ ...factsOf(this), code, text, reason, reached, cause }));
  }

  #finish(error: RpcError): void {
    if (this.isOver) return;
    const nowMs = this.channel.nowMs();
    this.#leave();
    const { counters } = this.method.state;
    if (endedByCaller(error)) counters.endedByCaller(this.attempts);
    else counters.ended(nowMs, isAnswerCode(error), this.attempts, this.counted + this.#unreached);
    if (this.trail !== undefined) this.trail.tell(this, error, nowMs);
    this.failed(error);
  }

  #leave(): void {
    this.isOver = true;
    this.channel.runtime.wheel.cancel(this);
    if (this.isWaiting) this.channel.stopWaiting(this);
    if (this.scope !== undefined) this.scope.removeChild(this);
    if (this.#onAbort !== undefined) this.options?.signal?.removeEventListener("abort", this.#onAbort);
    if (this.#isParked) this.#release();
    this.channel.callEnded();
  }

  #release(): void {
    this.#hold?.cancel();
    this.#hold = undefined;
    if (this.#pending === undefined) this.#unpark();
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
        resumeToken: attempt?.code === 0 ? attempt.resumeToken : undefined,
      });
    } catch (error) {
      // The call has its outcome and other calls are on this connection: the listener's bug goes to the process alone.
      queueMicrotask(() => {
        throw error;
      });
    }
  }
}

/** Whether an answer of UNAUTHENTICATED may be followed by the same call with a fresh token (docs/decisions/token-refresh.md). */
function isBeforeHandler(attempt: ClientAttempt, effect: Effect): boolean {
  return attempt.header === undefined || effect === "none" || effect === "idempotent";
}
