/**
 * Hot path: one call of a protected function: what it inherits, its attempts, its end. What a call does that is over before its turn is; the rest
 * is its course (call-course.ts). What may be repeated and copied is decided in `policy/recover`, as for a client's calls.
 */
import type { AsyncResource } from "node:async_hooks";
import type { Deadline } from "../../call/deadline.ts";
import type { Code } from "../../call/code.ts";
import { failure, RpcError } from "../../call/error.ts";
import { callIdText, mintCallId } from "../../call/ids.ts";
import type { Priority } from "../../call/method.ts";
import type { Reason } from "../../call/reason.ts";
import { CallScope, contextHere, type ScopeChild, scopes } from "../../call/scope.ts";
import type { AttemptWhy } from "../call-attempt.ts";
import { priorityOf } from "../call-base.ts";
import { isAnswerCode } from "../call-error.ts";
import type { MethodState } from "../method-state.ts";
import type { AttemptFailure } from "./attempt-failure.ts";
import { REFUSED } from "./breaker.ts";
import { CallCourse } from "./call-course.ts";
import { fallBack } from "./fall-back.ts";
import type { FreshCall } from "./fresh-calls.ts";
import { type AnyAttempt, AttemptScope, inspectCustom, LaterAttempt, runInside } from "./protected-attempt.ts";
import type { ProtectedPeer } from "./protected-peer.ts";
import { ProtectedTrail } from "./protected-trail.ts";
import type { ProtectedPlan } from "./protection.ts";

/** Calls a protected function. `canSendAgain`: its arguments are good for another attempt. A `signal` that aborts rejects with its reason. */
export function callProtected(
  plan: ProtectedPlan,
  peer: ProtectedPeer,
  args: readonly unknown[],
  canSendAgain: boolean,
  signal: AbortSignal | undefined,
): Promise<unknown> {
  let settle: (value: unknown) => void = unset;
  let fail: (error: unknown) => void = unset;
  const promise = new Promise((resolve, reject) => {
    settle = resolve;
    fail = reject;
  });
  new ProtectedCall(plan, peer, args, canSendAgain, settle, fail).begin(signal);
  return promise;
}

function unset(): void {}

/** On the monotonic clock. */
export interface CallTimes {
  createdMs: number;
  deadlineMs: number;
}

export class ProtectedCall implements AnyAttempt, Deadline, ScopeChild, FreshCall {
  scopePrevious: ScopeChild | undefined;
  scopeNext: ScopeChild | undefined;
  readonly plan: ProtectedPlan;
  readonly peer: ProtectedPeer;
  readonly args: readonly unknown[];
  readonly canSendAgain: boolean;
  readonly scope: CallScope | undefined;
  /** When it began and must have ended; undefined until somebody asks, or its turn is over. */
  times: CallTimes | undefined;
  isOver: boolean;
  /** The youngest attempt that is in flight. */
  attempt: AnyAttempt | undefined;
  /** Attempts started. */
  attempts: number;
  /** What a call has that outlives its turn, or has failed. */
  course: CallCourse | undefined;
  trail: ProtectedTrail | undefined;
  /** The caller's async context; undefined while no timer may need it. */
  context: AsyncResource | undefined;
  #id: string | undefined;
  ticket: number;
  startedMs: number | undefined;
  isDone: boolean;
  inner: CallScope | undefined;
  readonly #resolve: (value: unknown) => void;
  readonly #reject: (error: unknown) => void;
  #stopListening: (() => void) | undefined;

  constructor(
    plan: ProtectedPlan,
    peer: ProtectedPeer,
    args: readonly unknown[],
    canSendAgain: boolean,
    resolve: (value: unknown) => void,
    reject: (error: unknown) => void,
  ) {
    this.scopePrevious = undefined;
    this.scopeNext = undefined;
    this.plan = plan;
    this.peer = peer;
    this.args = args;
    this.canSendAgain = canSendAgain;
    this.scope = scopes.getStore();
    this.times = undefined;
    this.isOver = false;
    this.attempt = undefined;
    this.attempts = 0;
    this.course = undefined;
    this.trail = undefined;
    this.context = undefined;
    this.#id = undefined;
    this.ticket = 0;
    this.startedMs = undefined;
    this.isDone = false;
    this.inner = undefined;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#stopListening = undefined;
  }

  // As its own first attempt.
  get number(): number {
    return 1;
  }
  get why(): AttemptWhy {
    return "first";
  }
  get signal(): AbortSignal {
    return this.innerOf(this).signal;
  }
  get deadline(): Deadline {
    return this;
  }
  remainingMs(): number {
    return this.leftMs(this);
  }
  [inspectCustom](): object {
    return { callId: this.callId, number: this.number };
  }

  get state(): MethodState {
    const { kind, info, protection } = this.plan;
    return this.peer.stateOf(kind, info, protection.budget);
  }
  get priority(): Priority {
    return priorityOf(undefined, this.plan.policy.priority, this.scope);
  }

  /** Minted when first asked for: most calls end without having needed one. */
  get callId(): string {
    if (this.#id === undefined) {
      const words = { id0: 0, id1: 0, id2: 0, id3: 0 };
      mintCallId(this.plan.protection.runtime.world, words);
      this.#id = callIdText(words);
    }
    return this.#id;
  }

  /** Nobody above repeats the call that this one is made for. */
  get mayRepeat(): boolean {
    return this.scope === undefined || this.scope.mayRepeat;
  }

  // ------------------------------------------------------------------------------------------------ context

  begin(signal: AbortSignal | undefined): void {
    const { plan, scope } = this;
    const { protection } = plan;
    const { fresh } = protection;
    fresh.add(this);
    protection.budget.deposit(fresh.nowMs);
    if (protection.events.isHeard) this.trail = new ProtectedTrail();
    if (scope !== undefined && !this.#inherit(scope)) return;
    if (signal !== undefined && !this.#listen(signal)) return;
    if (plan.keepsContext) this.context = contextHere("HOLDFAST_CALL");
    this.start("first", fresh.nowMs);
    for (let copies = plan.policy.copies; copies > 1 && !this.isOver; copies--) this.start("copy", fresh.nowMs);
  }

  #inherit(scope: CallScope): boolean {
    if (scope.isCancelled) {
      this.scopeCancelled(scope.cancelReason);
      return false;
    }
    if (scope.deadlineMs !== Infinity) {
      const times = this.fixTimes();
      times.deadlineMs = Math.min(times.deadlineMs, scope.deadlineOn(this.plan.protection.runtime.world.clock));
      if (times.deadlineMs <= times.createdMs) {
        this.endWith("DEADLINE_EXCEEDED", "the inherited deadline left no time for this call", "DEADLINE", undefined);
        return false;
      }
    }
    scope.addChild(this);
    return true;
  }

  #listen(signal: AbortSignal): boolean {
    if (signal.aborted) {
      this.#cancelled(signal.reason);
      return false;
    }
    const onAbort = (): void => this.#cancelled(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    this.#stopListening = () => signal.removeEventListener("abort", onAbort);
    return true;
  }

  /** The caller has gone: it hears its own reason, as of `fetch`. */
  #cancelled(reason: unknown): void {
    if (this.isOver) return;
    const error = this.#errorOf("CANCELLED", "the caller cancelled the call", "CANCELLED_BY_CALLER", reason);
    this.#end(error);
    this.#reject(reason);
  }

  /** What the call belongs to has ended; if its time was over, so was the call's, whichever timer came first. */
  scopeCancelled(reason: unknown): void {
    const isLate = reason instanceof RpcError && reason.reason === "DEADLINE";
    const text = "the deadline of what the call belongs to has passed";
    if (isLate) this.endWith("DEADLINE_EXCEEDED", text, "DEADLINE", reason);
    else this.endWith("CANCELLED", "what the call belongs to has ended", "CANCELLED_BY_CALLER", reason);
  }

  /** Its times; the clock is read for a call that did not need them before. */
  fixTimes(): CallTimes {
    return this.times ?? this.#beginAt(this.plan.protection.nowMs());
  }

  #beginAt(nowMs: number): CallTimes {
    const times = { createdMs: nowMs, deadlineMs: nowMs + this.plan.timeoutMs };
    this.times = times;
    return times;
  }

  /** What is left to an attempt. */
  leftMs(attempt: AnyAttempt): number {
    return Math.max(0, this.#attemptDeadlineMs(attempt) - this.plan.protection.nowMs());
  }

  #attemptDeadlineMs(attempt: AnyAttempt): number {
    const { createdMs, deadlineMs } = this.fixTimes();
    return Math.min(deadlineMs, (attempt.startedMs ?? createdMs) + this.plan.policy.attemptTimeoutMs);
  }

  get isFresh(): boolean {
    return !this.isOver && this.course === undefined;
  }

  /** What holds the signal of an attempt. */
  innerOf(attempt: AnyAttempt): CallScope {
    attempt.inner ??= new CallScope(this.plan.protection.runtime.world.clock);
    return attempt.inner;
  }

  /** Ends an attempt from our side: whoever has its signal is told. */
  stop(attempt: AnyAttempt, reason: unknown): void {
    attempt.isDone = true;
    this.innerOf(attempt).cancel(reason);
  }

  turnEnded(nowMs: number): void {
    // What has waited for this process does not count as waiting for the work.
    if (this.times === undefined) this.#beginAt(nowMs);
    this.toCourse().turnEnded(nowMs);
  }

  /** From now on it has what a call needs that is not over at once. */
  toCourse(): CallCourse {
    if (this.course !== undefined) return this.course;
    const { createdMs } = this.fixTimes();
    if (this.attempt !== undefined) this.attempt.startedMs ??= createdMs;
    this.course = new CallCourse(this);
    return this.course;
  }

  // ----------------------------------------------------------------------------------------------- attempts

  /** Starts an attempt, in the caller's async context. What does not let it begin ends the call, unless it would have been a copy. */
  start(why: AttemptWhy, nowMs: number): void {
    const { plan, peer } = this;
    const { policy } = plan;
    if (policy.throttle && !this.#passesThrottle(why, nowMs)) return;
    const ticket = policy.gate ? peer.breaker.admit(nowMs) : 0;
    if (ticket === REFUSED) {
      if (why === "first" || why === "retry") this.#refusedByGate();
      return;
    }
    this.attempts += 1;
    const attempt = this.attempts === 1 ? this.#asFirst(ticket) : new LaterAttempt(this, this.attempts, why, ticket);
    if (this.attempt !== undefined) this.toCourse().others.push(this.attempt);
    this.attempt = attempt;
    this.trail?.started(attempt, peer.describe());
    this.course?.began(attempt, nowMs);
    this.#run(attempt);
  }

  #asFirst(ticket: number): AnyAttempt {
    this.ticket = ticket;
    return this;
  }

  #run(attempt: AnyAttempt): void {
    const { plan, args } = this;
    let given: unknown;
    try {
      if (plan.hasScope) {
        const mayRepeat = this.mayRepeat && attempt.number === 1;
        const scope = new AttemptScope(this, this.#attemptDeadlineMs(attempt), mayRepeat);
        attempt.inner = scope;
        given = runInside(scope, this.context ?? contextHere("HOLDFAST_CALL"), plan.work, attempt, args);
      } else {
        given = args.length === 0 ? plan.work(attempt) : plan.work(attempt, ...args);
      }
    } catch (error) {
      given = Promise.reject(error);
    }
    Promise.resolve(given).then(
      (value) => this.#returned(attempt, value),
      (error: unknown) => this.#threw(attempt, error),
    );
  }

  /** What the peer would refuse for overload is refused here. */
  #passesThrottle(why: AttemptWhy, nowMs: number): boolean {
    const throttle = this.state.throttleOf(this.priority);
    if (throttle === undefined || !throttle.isActive) return true;
    const { protection, info } = this.plan;
    if (throttle.admits(nowMs, protection.runtime.world.random.float())) return true;
    const refusedShare = throttle.refusedShare(nowMs);
    if (protection.events.isHeard) protection.events.emit("throttled", nowMs, { method: info, refusedShare });
    if (why === "hedge" || why === "copy") return false;
    protection.counters.throttled += 1;
    const share = Math.round(refusedShare * 100);
    const text = `${share} % of ${this.priority} calls are refused here, as ${this.peer.key} would refuse them`;
    this.endWith("RESOURCE_EXHAUSTED", text, "THROTTLED", undefined, -1);
    return false;
  }

  #refusedByGate(): void {
    const { breaker, key } = this.peer;
    const leftMs = breaker.state === "shut" ? Math.ceil(breaker.untilMs - this.plan.protection.nowMs()) : undefined;
    const text =
      leftMs === undefined
        ? `the gate of ${key} lets one call through at a time, to see whether it is well again: ${breaker.why}`
        : `the gate of ${key} is shut for ${leftMs} ms more: ${breaker.why}`;
    this.endWith("UNAVAILABLE", text, "NO_PEER", undefined, leftMs === undefined ? undefined : Math.max(0, leftMs));
  }

  #returned(attempt: AnyAttempt, value: unknown): void {
    const { plan } = this;
    if (attempt.isDone) {
      plan.discard?.(value);
      return;
    }
    const failed = plan.judgeValue?.(value);
    if (failed !== undefined) {
      this.#failed(attempt, failed);
      return;
    }
    const { fresh, counters } = plan.protection;
    const { course } = this;
    attempt.isDone = true;
    let nowMs = fresh.nowMs;
    if (course !== undefined) nowMs = course.succeeded(attempt);
    this.#noteSuccess(attempt, nowMs);
    this.#leave();
    counters.ended(
      nowMs,
      true,
      this.attempts,
      course === undefined ? 0 : course.failedAttempts,
      attempt.why === "hedge",
    );
    if (this.trail !== undefined) this.trail.tell(this, undefined, nowMs);
    this.#resolve(value);
  }

  #noteSuccess(attempt: AnyAttempt, nowMs: number): void {
    const { plan, peer, state } = this;
    const { policy, protection } = plan;
    // What is done within its turn took no time that a clock could show.
    const tookMs = attempt.startedMs === undefined ? 0 : nowMs - attempt.startedMs;
    state.sample(nowMs, tookMs);
    if (policy.hedge !== false) peer.pace.sample(tookMs, nowMs);
    if (policy.gate && peer.breaker.succeeded(attempt.ticket, nowMs) !== undefined) protection.tellGate(peer, nowMs);
    if (policy.throttle) state.throttleOf(this.priority)?.accepted(nowMs);
    protection.counters.attemptEnded(nowMs, true);
    this.trail?.ended(this, attempt, "OK", undefined, nowMs);
  }

  #threw(attempt: AnyAttempt, error: unknown): void {
    if (!attempt.isDone) this.#failed(attempt, this.plan.judgeError(error));
  }

  #failed(attempt: AnyAttempt, failed: AttemptFailure): void {
    // This is a reaction to the work's promise, so it runs where the call was made.
    this.context ??= contextHere("HOLDFAST_CALL");
    const course = this.toCourse();
    const nowMs = this.plan.protection.nowMs();
    course.attemptFailed(attempt, failed, nowMs);
  }

  // ---------------------------------------------------------------------------------------------------- end

  /** Ends the call from our side. */
  endWith(code: Code, text: string, reason: Reason | undefined, cause: unknown, retryAfterMs?: number): void {
    if (!this.isOver) this.finish(this.#errorOf(code, text, reason, cause, retryAfterMs));
  }

  #errorOf(code: Code, text: string, reason: Reason | undefined, cause: unknown, retryAfterMs?: number): RpcError {
    const mayHaveBegun = this.attempt !== undefined || (this.course !== undefined && this.course.counted > 0);
    const reached = mayHaveBegun ? "maybe" : "no";
    return failure({ ...this.facts(), code, text, reason, reached, cause, retryAfterMs });
  }

  /** Ends the call with the failure of its last attempt. */
  finishWith(failed: AttemptFailure, isBudgetEmpty: boolean): void {
    const { code, text, cause, details, metadata, retryAfterMs } = failed;
    const hasBegun = failed.reached !== "no" || (this.course !== undefined && this.course.counted > 0);
    const error = failure({
      ...this.facts(),
      code,
      text: isBudgetEmpty && text === "" ? "the budget for repeats was empty" : text,
      reason: isBudgetEmpty ? "BUDGET_EMPTY" : undefined,
      reached: hasBegun ? "maybe" : "no",
      details,
      metadata,
      retryAfterMs,
      cause,
    });
    if (failed.given === undefined || !this.plan.returnsFailures) {
      this.finish(error);
      return;
    }
    this.#end(error);
    this.#resolve(failed.given.value);
  }

  /** Ends the call: with an answer of the fallback, if there is one and somebody is there to hear it; else with the error. */
  finish(error: RpcError): void {
    if (this.isOver) return;
    this.#end(error);
    const { fallback } = this.plan;
    if (fallback === undefined || error.reason === "CANCELLED_BY_CALLER") this.#reject(error);
    else this.#resolve(fallBack(fallback, error, this));
  }

  /** Whatever is in flight is ended too, and told why. */
  #end(error: RpcError): void {
    const { protection } = this.plan;
    const nowMs = protection.nowMs();
    this.course?.ended(error, nowMs);
    if (this.attempt !== undefined) this.endAttempt(this.attempt, error, nowMs);
    this.#leave();
    const { counters } = protection;
    const failedAttempts = this.course === undefined ? 0 : this.course.failedAttempts;
    if (error.reason === "CANCELLED_BY_CALLER") counters.endedByCaller(this.attempts);
    else counters.ended(nowMs, isAnswerCode(error), this.attempts, failedAttempts);
    if (this.trail !== undefined) this.trail.tell(this, error, nowMs);
  }

  /** Cancels an attempt that is in flight: neither gate nor budget hear of it. */
  endAttempt(attempt: AnyAttempt, reason: unknown, nowMs: number): void {
    if (this.plan.policy.gate) this.peer.breaker.saidNothing(attempt.ticket);
    this.trail?.ended(this, attempt, "CANCELLED", undefined, nowMs);
    this.stop(attempt, reason);
  }

  #leave(): void {
    this.isOver = true;
    if (this.scope !== undefined) this.scope.removeChild(this);
    if (this.#stopListening !== undefined) this.#stopListening();
  }

  /** What an error says of the call that it ends. */
  facts(): {
    readonly method: ProtectedPlan["info"];
    readonly callId: string;
    readonly tookMs: number;
    readonly attempts: number;
    readonly faults: NonNullable<CallCourse["faults"]>;
  } {
    return {
      method: this.plan.info,
      callId: this.callId,
      tookMs: this.plan.protection.nowMs() - this.fixTimes().createdMs,
      attempts: this.attempts,
      faults: this.course?.faults ?? [],
    };
  }
}
