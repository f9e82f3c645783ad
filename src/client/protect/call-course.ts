/**
 * The course of a protected call that is not over at once: its times, its repeats and copies. Decisions are those of `policy/recover`; here they
 * are carried out, as client-call.ts does for calls on the wire.
 */
import { failure } from "../../call/error.ts";
import type { Fault } from "../../call/fault.ts";
import { judge, type Judgement } from "../../policy/detect/blame.ts";
import { OUTCOME_IGNORED } from "../../policy/detect/outcome.ts";
import { decideRepeat, mayCopy } from "../../policy/recover/attempts.ts";
import { backoffDelayMs } from "../../policy/recover/backoff.ts";
import {
  askAgainMs,
  attemptsMaxWithCopies,
  copyDelayMs,
  isAnswer,
  LATE_MS,
  UNKNOWN_LOOK_MS,
} from "../../policy/recover/copies.ts";
import { BEAT_MS } from "../self-beat.ts";
import { WheelEntry } from "../../wire/transport/timer-wheel.ts";
import type { Timer } from "../../world/timers.ts";
import { type AttemptFailure, attemptFailure, faultOf, showsHealth } from "./attempt-failure.ts";
import type { AnyAttempt } from "./protected-attempt.ts";
import type { ProtectedCall } from "./protected-call.ts";

/** Why the signal of an attempt aborts that nobody needs any more. */
const OVERTAKEN = failure({ code: "CANCELLED", text: "another attempt has answered first" });
const HAS_FAILED = failure({ code: "CANCELLED", text: "the attempt has failed" });

export class CallCourse extends WheelEntry {
  faults: Fault[] | undefined;
  /** Attempts in flight beside the youngest. */
  readonly others: AnyAttempt[];
  /** Of the attempts that have ended: those that may have begun their work, and those that did not. */
  counted: number;
  #unreached: number;
  #repeats: number;
  #delayMs: number;
  /** The peer has asked not to repeat the call. */
  #isStopped: boolean;
  #copyAtMs: number;
  #isCopyPostponed: boolean;
  /** When it began, the work had not yet shown how long it takes. */
  #isOverdueUnknown: boolean;
  #attemptByMs: number;
  #backoffUntilMs: number;
  /** Keeps the process alive between two attempts. */
  #hold: Timer | undefined;
  readonly #call: ProtectedCall;

  constructor(call: ProtectedCall) {
    super();
    this.faults = undefined;
    this.others = [];
    this.counted = 0;
    this.#unreached = 0;
    this.#repeats = 0;
    this.#delayMs = 0;
    this.#isStopped = false;
    this.#copyAtMs = Infinity;
    this.#isCopyPostponed = false;
    this.#isOverdueUnknown = false;
    this.#attemptByMs = Infinity;
    this.#backoffUntilMs = Infinity;
    this.#hold = undefined;
    this.#call = call;
  }

  get failedAttempts(): number {
    return this.counted + this.#unreached;
  }

  /** The call goes on after its turn: from now on it has timers. */
  turnEnded(nowMs: number): void {
    const { attempt } = this.#call;
    if (attempt !== undefined) this.#expect(attempt, nowMs);
    this.#wait(nowMs);
  }

  /** Another attempt starts. */
  began(attempt: AnyAttempt, nowMs: number): void {
    attempt.startedMs = nowMs;
    this.#expect(attempt, nowMs);
    this.#wait(nowMs);
  }

  /** When the youngest attempt will be overdue, or has used up its own time. */
  #expect(attempt: AnyAttempt, nowMs: number): void {
    const { hedge, attemptTimeoutMs } = this.#call.plan.policy;
    const startedMs = attempt.startedMs ?? nowMs;
    this.#attemptByMs = Math.min(this.#attemptByMs, startedMs + attemptTimeoutMs);
    if (hedge === false) return;
    const delayMs = copyDelayMs(hedge, this.#call.state.overdue, nowMs);
    this.#isCopyPostponed = false;
    this.#isOverdueUnknown = delayMs === Infinity;
    this.#copyAtMs = startedMs + (delayMs === Infinity ? UNKNOWN_LOOK_MS : delayMs);
  }

  // ----------------------------------------------------------------------------------------------- attempts

  /** An attempt has done it: the others are losers, of which neither gate nor budget hear. Gives the time. */
  succeeded(winner: AnyAttempt): number {
    const { protection } = this.#call.plan;
    const nowMs = protection.nowMs();
    this.#remove(winner);
    protection.runtime.wheel.cancel(this);
    this.#release();
    for (const loser of this.#takeAll()) {
      // It has taken so long already: a censored sample, without which the quantiles would forget all that is slow.
      this.#call.state.sample(nowMs, ageOf(loser, nowMs));
      this.#call.endAttempt(loser, OVERTAKEN, nowMs);
    }
    return nowMs;
  }

  /** What an attempt came to is known, and it is nothing good. */
  attemptFailed(attempt: AnyAttempt, failed: AttemptFailure, nowMs: number): void {
    const call = this.#call;
    const { policy, info, protection, discard } = call.plan;
    this.#noteFailure(attempt, failed, nowMs);
    this.#remove(attempt);
    if (failed.reached === "no") this.#unreached += 1;
    else this.counted += 1;
    if ((failed.retryAfterMs ?? 0) < 0) this.#isStopped = true;
    const repeat = decideRepeat({
      code: failed.code,
      reached: failed.reached,
      isCommitted: false,
      retryAfterMs: failed.retryAfterMs,
      effect: info.effect,
      codes: policy.codes,
      attempts: this.counted + this.#inFlight,
      attemptsMax: policy.attemptsMax,
      unreached: this.#unreached,
      peers: 1,
      canSendAgain: call.canSendAgain && !this.#isStopped && !failed.isFinal,
      mayRepeat: call.mayRepeat,
      marks: 0,
      // Who declares `once` hands the call's id on as the key by which the second execution is known.
      isDeduplicated: true,
    });
    // If the first to finish failed of anything but an answer, the one that is still in flight is awaited.
    if (call.attempt !== undefined && !isAnswer(failed.code, isFromWork(failed), policy.codes)) {
      if (failed.given !== undefined) discard?.(failed.given.value);
      return;
    }
    const delayMs = repeat === "free" || repeat === "charged" ? this.#waitMs(failed) : Infinity;
    // An attempt that could only begin after the deadline is none.
    if (nowMs + delayMs >= call.fixTimes().deadlineMs) {
      call.finishWith(failed, false);
      return;
    }
    if (repeat === "charged" && !protection.budget.takeRepeat(nowMs)) {
      if (protection.events.isHeard) protection.events.emit("budget.empty", nowMs, { method: info });
      call.finishWith(failed, true);
      return;
    }
    if (failed.given !== undefined) discard?.(failed.given.value);
    this.#repeat(delayMs, nowMs);
  }

  /** Tells those who form opinions. */
  #noteFailure(attempt: AnyAttempt, failed: AttemptFailure, nowMs: number): void {
    const call = this.#call;
    const { plan, peer, state } = call;
    const { protection, policy } = plan;
    const judgement = this.#judgementOf(attempt, failed, nowMs);
    if (judgement.countsAsLoad) {
      if (policy.throttle) state.refused(call.priority, nowMs);
    } else if (policy.throttle) state.throttleOf(call.priority)?.accepted(nowMs);
    if (policy.gate) this.#tellGate(attempt, failed, judgement, nowMs);
    protection.counters.attemptEnded(nowMs, false);
    const atMs = nowMs - call.fixTimes().createdMs;
    const fault = faultOf(failed, judgement.blame, peer.describe(), attempt.number, atMs);
    (this.faults ??= []).push(fault);
    call.trail?.ended(call, attempt, failed.code, fault, nowMs);
    // What it began and did not wait for ends with it; not so what it returned, which may be the call's result yet.
    if (!attempt.isDone && failed.given === undefined && failed.kind !== "deadline") call.stop(attempt, HAS_FAILED);
    attempt.isDone = true;
  }

  #judgementOf(attempt: AnyAttempt, failed: AttemptFailure, nowMs: number): Judgement {
    const { state } = this.#call;
    return judge({
      code: failed.code,
      faultKind: failed.kind,
      reached: failed.reached,
      isConnectionLost: false,
      hadMs: ageOf(attempt, nowMs),
      p99Ms: state.p99Ms(nowMs),
      isCancelledByUs: failed.isOurs,
      stalledMs: this.#stalledMs(attempt, nowMs),
      phase: failed.phase,
      retryAfterMs: failed.retryAfterMs,
    });
  }

  #stalledMs(attempt: AnyAttempt, nowMs: number): number {
    const { plan, times } = this.#call;
    // Of a stall that is not over, the call's own timer may be the first to tell.
    if (times !== undefined && nowMs - times.deadlineMs > BEAT_MS) return ageOf(attempt, nowMs);
    return plan.protection.stalledMsSince(nowMs - ageOf(attempt, nowMs));
  }

  #tellGate(attempt: AnyAttempt, failed: AttemptFailure, { outcome }: Judgement, nowMs: number): void {
    const { plan, peer } = this.#call;
    const { protection } = plan;
    const { breaker } = peer;
    if (outcome !== OUTCOME_IGNORED) {
      const text = failed.text === "" ? failed.code : `${failed.code} (${failed.text})`;
      const change = breaker.failed(attempt.ticket, nowMs, text, protection.runtime.world.random.float());
      if (change !== undefined) protection.tellGate(peer, nowMs);
    } else if (showsHealth(failed)) {
      if (breaker.succeeded(attempt.ticket, nowMs) !== undefined) protection.tellGate(peer, nowMs);
    } else breaker.saidNothing(attempt.ticket);
  }

  /** How long a repeat waits: as the peer asked, else as the policy says. There is no other peer to go to at once. */
  #waitMs({ retryAfterMs, reached, kind }: AttemptFailure): number {
    if (reached !== "no" && retryAfterMs !== undefined && retryAfterMs >= 0) return retryAfterMs;
    const { plan } = this.#call;
    const { timeoutBackoff, failureBackoff } = plan.policy;
    const rule = kind === "attempt-timeout" ? timeoutBackoff : failureBackoff;
    const chance = plan.protection.runtime.world.random.float();
    this.#delayMs = backoffDelayMs(rule, this.#repeats, this.#delayMs, chance);
    this.#repeats += 1;
    return this.#delayMs;
  }

  #repeat(delayMs: number, nowMs: number): void {
    const call = this.#call;
    const { protection, info } = call.plan;
    const { events, budget, counters, runtime } = protection;
    this.#copyAtMs = Infinity;
    this.#attemptByMs = Infinity;
    counters.repeats += 1;
    if (events.isHeard) {
      events.emit("retry", nowMs, {
        callId: call.callId,
        method: info,
        attempt: call.attempts + 1,
        delayMs,
        budgetLeft: budget.left(nowMs),
        peer: call.peer.describe(),
      });
    }
    // Also for no time at all: the work is never run again in the middle of another call's turn.
    this.#backoffUntilMs = nowMs + delayMs;
    this.#hold = runtime.world.timers.hold();
    this.#wait(nowMs);
  }

  get #inFlight(): number {
    return this.#call.attempt === undefined ? 0 : 1 + this.others.length;
  }

  /** No longer in flight. */
  #remove(attempt: AnyAttempt): void {
    const call = this.#call;
    if (call.attempt === attempt) {
      call.attempt = this.others.pop();
      return;
    }
    const at = this.others.indexOf(attempt);
    if (at >= 0) this.others.splice(at, 1);
  }

  /** Those in flight, the youngest last. */
  #all(): readonly AnyAttempt[] {
    const { attempt } = this.#call;
    return attempt === undefined ? [] : [...this.others, attempt];
  }

  /** All that are in flight, which then none is. */
  #takeAll(): readonly AnyAttempt[] {
    const all = this.#all();
    this.#call.attempt = undefined;
    this.others.length = 0;
    return all;
  }

  // ------------------------------------------------------------------------------------------------- copies

  /** The youngest attempt is overdue: it may get a copy beside it, and is never ended. */
  #overdue(nowMs: number): void {
    if (nowMs - this.#copyAtMs > LATE_MS && !this.#isCopyPostponed) {
      this.#isCopyPostponed = true;
      this.#copyAtMs = nowMs + 1;
      return;
    }
    const { attempt, plan } = this.#call;
    const { hedge } = plan.policy;
    this.#copyAtMs = Infinity;
    if (hedge === false || attempt === undefined) return;
    if (this.#isOverdueUnknown) {
      const delayMs = copyDelayMs(hedge, this.#call.state.overdue, nowMs);
      this.#isOverdueUnknown = delayMs === Infinity;
      const dueMs = (attempt.startedMs ?? nowMs) + delayMs;
      if (dueMs > nowMs) {
        this.#copyAtMs = delayMs === Infinity ? askAgainMs(ageOf(attempt, nowMs), nowMs) : dueMs;
        return;
      }
    }
    if (!this.#isCopyable(hedge.copiesMax, nowMs)) return;
    if (this.#mayBurden(nowMs)) this.#copy(attempt, nowMs);
    // What stood in the way may pass: an empty budget, a gate that is shut.
    else this.#copyAtMs = askAgainMs(ageOf(attempt, nowMs), nowMs);
  }

  /** Whether the call may have a copy, as far as its own facts say. */
  #isCopyable(copiesMax: number, nowMs: number): boolean {
    const call = this.#call;
    const inFlight = this.#inFlight;
    return mayCopy({
      effect: call.plan.info.effect,
      isCommitted: false,
      canSendAgain: call.canSendAgain && !this.#isStopped,
      mayRepeat: call.mayRepeat,
      attempts: this.counted + inFlight,
      attemptsMax: attemptsMaxWithCopies(call.plan.policy.attemptsMax, copiesMax),
      inFlight,
      copiesMax,
      isStandingDown: call.peer.isStandingDown(nowMs),
    });
  }

  /** Whether the peer and the budget bear a copy, which is then taken from the budget. */
  #mayBurden(nowMs: number): boolean {
    const { plan, peer } = this.#call;
    if (plan.policy.gate && !peer.breaker.wouldAdmit(nowMs)) return false;
    return plan.protection.budget.takeCopy(nowMs);
  }

  #copy(attempt: AnyAttempt, nowMs: number): void {
    const call = this.#call;
    const { protection, info } = call.plan;
    protection.counters.copies += 1;
    if (protection.events.isHeard) {
      const afterMs = ageOf(attempt, nowMs);
      const peer = call.peer.describe();
      protection.events.emit("hedge", nowMs, { callId: call.callId, method: info, afterMs, peer });
    }
    this.#start("hedge", nowMs);
  }

  /** From a timer: where the call was made, not where the timer was set. */
  #start(why: "retry" | "hedge", nowMs: number): void {
    const call = this.#call;
    if (call.context === undefined) call.start(why, nowMs);
    else call.context.runInAsyncScope(() => call.start(why, nowMs));
  }

  // --------------------------------------------------------------------------------------------------- time

  /** From now on it has timers, which are to know whether they come late. */
  #wait(nowMs: number): void {
    this.#call.plan.protection.beat.wanted(nowMs);
    this.#rearm();
  }

  /** Arms the wheel for the earliest of all moments that matter. */
  #rearm(): void {
    const call = this.#call;
    if (call.isOver) return;
    const { wheel } = call.plan.protection.runtime;
    const dueMs = Math.min(call.fixTimes().deadlineMs, this.#copyAtMs, this.#backoffUntilMs, this.#attemptByMs);
    if (dueMs === Infinity) wheel.cancel(this);
    else wheel.arm(this, dueMs);
  }

  expired(nowMs: number): void {
    const call = this.#call;
    if (call.isOver) return;
    call.plan.protection.beat.late(this.dueMs, nowMs);
    if (nowMs >= call.fixTimes().deadlineMs) {
      this.#deadlinePassed(nowMs);
      return;
    }
    if (nowMs >= this.#backoffUntilMs) {
      this.#backoffUntilMs = Infinity;
      this.#release();
      this.#start("retry", nowMs);
    }
    if (!call.isOver && nowMs >= this.#attemptByMs) this.#attemptsTimedOut(nowMs);
    if (!call.isOver && nowMs >= this.#copyAtMs) this.#overdue(nowMs);
    this.#rearm();
  }

  /** An explicit `attemptTimeoutMs` has passed: the attempt is ended, and counts as failed. */
  #attemptsTimedOut(nowMs: number): void {
    const call = this.#call;
    const { attemptTimeoutMs } = call.plan.policy;
    this.#attemptByMs = Infinity;
    for (const attempt of this.#all()) {
      if (call.isOver) return;
      const byMs = (attempt.startedMs ?? nowMs) + attemptTimeoutMs;
      if (byMs > nowMs) {
        this.#attemptByMs = Math.min(this.#attemptByMs, byMs);
        continue;
      }
      const text = `the attempt took longer than ${attemptTimeoutMs} ms`;
      call.stop(attempt, failure({ code: "DEADLINE_EXCEEDED", text, reason: "DEADLINE", callId: call.callId }));
      this.attemptFailed(attempt, attemptFailure("DEADLINE_EXCEEDED", text, { kind: "attempt-timeout" }), nowMs);
    }
  }

  #deadlinePassed(nowMs: number): void {
    const call = this.#call;
    const { attempt, peer } = call;
    const tookMs = Math.round(nowMs - call.fixTimes().createdMs);
    const where = attempt === undefined ? "between two attempts" : `while ${peer.key} was at work`;
    const text = `the deadline passed after ${tookMs} ms ${where}`;
    // Those that still have the call have had their time.
    for (const late of this.#all()) {
      call.state.sample(nowMs, ageOf(late, nowMs));
      this.#noteFailure(late, attemptFailure("DEADLINE_EXCEEDED", text, { kind: "deadline" }), nowMs);
    }
    call.endWith("DEADLINE_EXCEEDED", text, "DEADLINE", undefined);
  }

  // ---------------------------------------------------------------------------------------------------- end

  /** The call is over. */
  ended(reason: unknown, nowMs: number): void {
    this.#call.plan.protection.runtime.wheel.cancel(this);
    this.#release();
    for (const attempt of this.#takeAll()) this.#call.endAttempt(attempt, reason, nowMs);
  }

  #release(): void {
    this.#hold?.cancel();
    this.#hold = undefined;
  }
}

function ageOf({ startedMs }: AnyAttempt, nowMs: number): number {
  return startedMs === undefined ? 0 : nowMs - startedMs;
}

/** The work itself has said so, and was begun. */
function isFromWork({ kind, reached }: AttemptFailure): boolean {
  return kind === "status" && reached !== "no";
}
