/**
 * What is noted of an attempt that failed: the fault for people, and whose part it was for those who form opinions.
 */
import type { Code } from "../call/code.ts";
import type { Blame, Fault, FaultKind, Phase } from "../call/fault.ts";
import { judge, type Judgement } from "../policy/detect/blame.ts";
import type { CallAttempt } from "./call-attempt.ts";

/** Whose part a failed attempt was. `p99Ms`: what 99 of 100 calls take, NaN unknown; `stalledMs`: how long this process stood still meanwhile. */
export function judgementOf(
  attempt: CallAttempt,
  code: Code,
  nowMs: number,
  p99Ms: number,
  stalledMs: number,
): Judgement {
  const isBelow = isFromBelow(attempt, code);
  return judge({
    code: isBelow ? "UNAVAILABLE" : code,
    faultKind: attempt.fault,
    reached: attempt.reached,
    isConnectionLost: attempt.reason === "CONNECTION_LOST",
    hadMs: nowMs - attempt.startedMs,
    p99Ms,
    isCancelledByUs: false,
    stalledMs,
    phase: phaseOf(attempt),
    retryAfterMs: isBelow ? undefined : attempt.retryAfterMs,
  });
}

/**
 * A Holdfast server whose handler's own call failed answers with its code and asks not to repeat it. It is not overloaded itself: if
 * each layer of callers throttled for what only the lowest one met, they would come back one after the other when that is well again.
 * A server that refuses for itself says so only to repeats.
 */
function isFromBelow(attempt: CallAttempt, code: Code): boolean {
  if (code !== "RESOURCE_EXHAUSTED" && code !== "UNAVAILABLE") return false;
  return (
    attempt.fault === "status" && attempt.reached === "yes" && attempt.number === 1 && (attempt.retryAfterMs ?? 0) < 0
  );
}

/** The fault of an attempt; `atMs` counts from the call's begin. */
export function faultOf(attempt: CallAttempt, code: Code, blame: Blame, atMs: number, kind?: FaultKind): Fault {
  return {
    kind: kind ?? attempt.fault ?? "status",
    phase: phaseOf(attempt),
    blame,
    peer: attempt.peer.describe(),
    attempt: attempt.number,
    code,
    atMs,
    text: attempt.text,
  };
}

function phaseOf(attempt: CallAttempt): Phase {
  if (attempt.hasAnswered) return "receive";
  return attempt.reached === "no" ? "send" : "server";
}
