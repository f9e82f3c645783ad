/**
 * What one call of a protected function went through, for its events and its record: kept only while somebody listens.
 */
import type { CodeOrOk } from "../../call/code.ts";
import type { RpcError } from "../../call/error.ts";
import type { AttemptRecord, AttemptWhy, CallRecord, SavedBy } from "../../call/event.ts";
import type { Fault } from "../../call/fault.ts";
import { hexOf } from "../../call/ids.ts";
import type { Peer } from "../../call/peer.ts";
import { decidingAttempt, phasesOf } from "../../observe/phases.ts";
import type { AnyAttempt } from "./protected-attempt.ts";
import type { ProtectedCall } from "./protected-call.ts";

interface TrailEntry {
  readonly attempt: AnyAttempt;
  readonly peer: Peer;
  readonly why: AttemptWhy;
  endedMs: number;
  code: CodeOrOk | undefined;
  fault: Fault | undefined;
}

export class ProtectedTrail {
  readonly #entries: TrailEntry[] = [];

  started(attempt: AnyAttempt, peer: Peer): void {
    this.#entries.push({ attempt, peer, why: attempt.why, endedMs: Number.NaN, code: undefined, fault: undefined });
  }

  /** Keeps an attempt's first end, and tells of it. */
  ended(call: ProtectedCall, attempt: AnyAttempt, code: CodeOrOk, fault: Fault | undefined, nowMs: number): void {
    const entry = this.#entries.find((each) => each.attempt === attempt);
    if (entry === undefined || entry.code !== undefined) return;
    entry.code = code;
    entry.fault = fault;
    entry.endedMs = nowMs;
    const tookMs = nowMs - (attempt.startedMs ?? nowMs);
    call.plan.protection.events.emit("attempt.ended", nowMs, {
      callId: call.callId,
      peer: entry.peer,
      code,
      tookMs,
      fault,
    });
  }

  /** Tells of the call's end. */
  tell(call: ProtectedCall, error: RpcError | undefined, nowMs: number): void {
    const { events } = call.plan.protection;
    if (events.hears("call.ended")) events.emit("call.ended", nowMs, { record: this.#recordOf(call, error, nowMs) });
  }

  #recordOf(call: ProtectedCall, error: RpcError | undefined, nowMs: number): CallRecord {
    const { plan, scope } = call;
    const { createdMs, deadlineMs } = call.fixTimes();
    // The clock of a call that is over within its turn is read here for the first time.
    const tookMs = Math.max(0, nowMs - createdMs);
    const attempts = this.#entries.map(({ attempt, peer, why, endedMs, code, fault }): AttemptRecord => {
      const startedMs = attempt.startedMs ?? createdMs;
      const untilMs = Number.isNaN(endedMs) ? nowMs : endedMs;
      return {
        peer,
        why,
        startMs: startedMs - createdMs,
        tookMs: Math.max(0, untilMs - startedMs),
        code: code ?? "CANCELLED",
        fault,
      };
    });
    return Object.freeze({
      callId: call.callId,
      traceId: scope === undefined ? undefined : traceOf(scope),
      method: plan.info,
      side: "client",
      code: error?.code ?? "OK",
      tookMs,
      deadlineMs: deadlineMs - createdMs,
      phasesMs: phasesInMs(call, attempts, error?.code ?? "OK", tookMs),
      attempts,
      savedBy: error === undefined ? savedBy(attempts) : undefined,
      verdict: error?.verdict ?? goodVerdict(attempts, tookMs),
    });
  }
}

/** Work gives no sign before its end: receiving is not measured. */
function phasesInMs(
  call: ProtectedCall,
  attempts: readonly AttemptRecord[],
  code: CodeOrOk,
  endedMs: number,
): CallRecord["phasesMs"] {
  const { createdMs } = call.fixTimes();
  const { stalledUntilMs, lastStallMs } = call.plan.protection.beat.watch;
  return phasesOf({
    placedMs: attempts[0]?.startMs ?? Number.NaN,
    decidingMs: decidingAttempt(attempts, code)?.startMs ?? Number.NaN,
    answeredMs: Number.NaN,
    endedMs,
    stalledFromMs: stalledUntilMs - lastStallMs - createdMs,
    stalledUntilMs: stalledUntilMs - createdMs,
  });
}

function savedBy(attempts: readonly AttemptRecord[]): SavedBy | undefined {
  if (attempts.some(({ why, code }) => why === "hedge" && code === "OK")) return "hedge";
  return attempts.some(({ fault }) => fault !== undefined) ? "retry" : undefined;
}

function goodVerdict(attempts: readonly AttemptRecord[], tookMs: number): string {
  const took = `${tookMs < 10 ? tookMs.toFixed(1) : Math.round(tookMs)} ms`;
  const failed = attempts.filter(({ fault }) => fault !== undefined);
  if (failed.length === 0) {
    return attempts.length > 1 ? `OK in ${took}, of ${attempts.length} copies the first` : `OK in ${took}`;
  }
  const who = failed.map(({ peer, code }) => `${peer?.address ?? "nobody"} ${code}`).join(", ");
  return `OK after ${attempts.length} attempts in ${took}: saved from ${who}`;
}

function traceOf(scope: NonNullable<ProtectedCall["scope"]>): string | undefined {
  const { trace0, trace1, trace2, trace3 } = scope;
  if ((trace0 | trace1 | trace2 | trace3) === 0) return undefined;
  return hexOf(trace0) + hexOf(trace1) + hexOf(trace2) + hexOf(trace3);
}
