/**
 * What a call's failure says: where the time went, who failed, whether a handler may have run.
 */
import { type Code, codeNumber } from "../call/code.ts";
import { failure, type RpcError } from "../call/error.ts";
import type { Fault } from "../call/fault.ts";
import { metadataFromPairs } from "../call/metadata.ts";
import { ANSWER_CODES } from "../policy/recover/attempts.ts";
import type { CallAttempt } from "./call-attempt.ts";
import type { ClientCall } from "./client-call.ts";
import type { ClientMethod } from "./client-method.ts";
import type { OncePlace } from "./once-place.ts";

/** What every failure of the call tells. */
export function factsOf(call: ClientCall): {
  method: ClientMethod["plan"]["info"];
  callId: string;
  tookMs: number;
  attempts: number;
  faults: readonly Fault[];
} {
  return {
    method: call.method.plan.info,
    callId: call.id,
    tookMs: call.channel.nowMs() - call.createdMs,
    attempts: call.attempts,
    faults: call.faults ?? [],
  };
}

/** The call fails of an attempt's failure. */
export function errorOf(call: ClientCall, attempt: CallAttempt, code: Code, isBudgetEmpty: boolean): RpcError {
  return failure({
    ...factsOf(call),
    code,
    text: isBudgetEmpty && attempt.text === "" ? "the budget for repeats was empty" : attempt.text,
    reason: isBudgetEmpty ? "BUDGET_EMPTY" : attempt.reason,
    reached: isDoubtful(call, attempt) ? "maybe" : attempt.reached,
    metadata: attempt.trailer === undefined ? undefined : metadataFromPairs(attempt.trailer),
    details: attempt.details,
    retryAfterMs: attempt.retryAfterMs,
    cause: attempt.cause,
  });
}

/** A server that cannot tell knows no more than we do; and what the last attempt did not do, an earlier one may have done. */
function isDoubtful(call: ClientCall, attempt: CallAttempt): boolean {
  if (attempt.reason === "OUTCOME_UNKNOWN") return true;
  return attempt.reached === "no" && (call.counted > 0 || call.once !== undefined);
}

/** A `once` call may have been done, and there is nobody to ask. `why`: in words. */
export function outcomeUnknown(call: ClientCall, { peer, cause }: OncePlace, why: string): RpcError {
  const isOwnKey = call.options?.idempotencyKey !== undefined;
  const key = isOwnKey ? "the same idempotencyKey" : "this error's callId as idempotencyKey";
  const failed = cause === undefined ? "" : ` (${cause.message})`;
  return failure({
    ...factsOf(call),
    code: "ABORTED",
    text: `${peer.address} may have done it${failed}, and ${why}; ${key} may be used later, and a peer with that store knows it`,
    reason: "OUTCOME_UNKNOWN",
    reached: "maybe",
    cause,
  });
}

/** Where a call stood when its deadline passed. */
export function whereText(call: ClientCall, nowMs: number): string {
  const tookMs = Math.round(nowMs - call.createdMs);
  if (call.isWaiting) return `the deadline passed after ${tookMs} ms while no peer was ready`;
  if (call.attempt === undefined) return `the deadline passed after ${tookMs} ms between two attempts`;
  const who = call.attempt.peer.address;
  return call.attempt.hasAnswered
    ? `the deadline passed after ${tookMs} ms while ${who} was answering`
    : `the deadline passed after ${tookMs} ms while waiting for ${who}`;
}

/** Nobody's success and nobody's failure. */
export function endedByCaller({ reason }: RpcError): boolean {
  return reason === "CANCELLED_BY_CALLER" || reason === "CLIENT_CLOSED" || reason === "UNREAD";
}

/** The service's answer to a caller who asked for the wrong thing: no failure of the service. */
export function isAnswerCode({ code, reason }: RpcError): boolean {
  return (reason === undefined || reason === "KEY_CONFLICT") && (ANSWER_CODES & (1 << codeNumber(code))) !== 0;
}
