/**
 * The record of one call on its server. What a handler threw stays here: the caller was told less.
 */
import type { CodeOrOk } from "../call/code.ts";
import { failure, type RpcError } from "../call/error.ts";
import type { CallRecord } from "../call/event.ts";
import { hexOf } from "../call/ids.ts";
import type { ServerCall } from "./server-call.ts";

export function recordOf(call: ServerCall, code: CodeOrOk, error: RpcError | undefined, nowMs: number): CallRecord {
  const tookMs = nowMs - call.arrivedMs;
  const queueMs = call.startedMs === undefined ? tookMs : call.startedMs - call.arrivedMs;
  const hasTrace = (call.trace0 | call.trace1 | call.trace2 | call.trace3) !== 0;
  return Object.freeze({
    callId: call.id,
    traceId: hasTrace ? hexOf(call.trace0) + hexOf(call.trace1) + hexOf(call.trace2) + hexOf(call.trace3) : undefined,
    method: call.route.plan.info,
    side: "server",
    code,
    tookMs,
    deadlineMs: call.deadlineMs - call.arrivedMs,
    phasesMs: Object.freeze({ queue: queueMs, server: tookMs - queueMs }),
    attempts: Object.freeze([]),
    savedBy: call.exchange.isDeduplicated ? "dedup" : undefined,
    verdict: verdictFor(call, code, error, tookMs),
  });
}

function verdictFor(call: ServerCall, code: CodeOrOk, error: RpcError | undefined, tookMs: number): string {
  if (code === "OK") return `OK in ${tookMs < 10 ? tookMs.toFixed(1) : Math.round(tookMs)} ms`;
  const known = error ?? failure({ code, text: "", method: call.route.plan.info });
  return known.verdict;
}
