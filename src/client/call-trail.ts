/**
 * What one call went through, for its record: kept only while somebody listens.
 */
import type { CodeOrOk } from "../call/code.ts";
import type { RpcError } from "../call/error.ts";
import type { AttemptRecord, CallRecord, SavedBy } from "../call/event.ts";
import type { Fault } from "../call/fault.ts";
import { hexOf } from "../call/ids.ts";
import type { Peer } from "../call/peer.ts";
import { decidingAttempt, phasesOf } from "../observe/phases.ts";
import type { ClientAttempt } from "../wire/transport/client-attempt.ts";
import type { AttemptWhy, CallAttempt } from "./call-attempt.ts";
import type { ClientCall } from "./client-call.ts";

interface TrailEntry {
  readonly attempt: CallAttempt;
  readonly peer: Peer;
  readonly why: AttemptWhy;
  readonly startMs: number;
  /** NaN: none came, or it has a single reply, which comes with its headers. */
  answeredMs: number;
  endMs: number;
  code: CodeOrOk | undefined;
  fault: Fault | undefined;
}

export class CallTrail {
  readonly #entries: TrailEntry[] = [];

  started(attempt: CallAttempt, startMs: number): void {
    const peer = attempt.peer.describe();
    const unknown = { answeredMs: Number.NaN, endMs: Number.NaN, code: undefined, fault: undefined };
    this.#entries.push({ attempt, peer, why: attempt.why, startMs, ...unknown });
  }

  /** Headers of its reply stream have come, so many milliseconds after the call began. */
  answered(attempt: ClientAttempt, atMs: number): void {
    const entry = this.#entries.findLast((each) => each.attempt === attempt);
    if (entry !== undefined) entry.answeredMs = atMs;
  }

  ended(attempt: CallAttempt, code: CodeOrOk, fault: Fault | undefined, atMs: number): void {
    const entry = this.#entries.findLast((each) => each.attempt === attempt);
    if (entry === undefined || entry.code !== undefined) return;
    entry.code = code;
    entry.fault = fault;
    entry.endMs = atMs;
  }

  /** Tells of the call's end. */
  tell(call: ClientCall, error: RpcError | undefined, nowMs: number): void {
    const { events } = call.channel;
    if (!events.hears("call.ended")) return;
    events.emit("call.ended", nowMs, { record: this.#recordOf(call, error, nowMs) });
  }

  #recordOf(call: ClientCall, error: RpcError | undefined, nowMs: number): CallRecord {
    const tookMs = nowMs - call.createdMs;
    const attempts = this.#entries.map(({ peer, why, startMs, endMs, code, fault }): AttemptRecord => {
      return {
        peer,
        why,
        startMs,
        tookMs: (Number.isNaN(endMs) ? tookMs : endMs) - startMs,
        code: code ?? error?.code ?? "CANCELLED",
        fault,
      };
    });
    const winner = this.#entries.findLast(({ code }) => code === "OK");
    return Object.freeze({
      callId: call.id,
      traceId: (call.trace0 | call.trace1 | call.trace2 | call.trace3) === 0 ? undefined : traceOf(call),
      method: call.method.plan.info,
      side: "client",
      code: error?.code ?? "OK",
      tookMs,
      deadlineMs: call.deadlineMs - call.createdMs,
      phasesMs: this.#phasesOf(call, attempts, error?.code ?? "OK", tookMs),
      attempts,
      savedBy: error === undefined ? savedBy(attempts, winner?.attempt) : undefined,
      verdict: error?.verdict ?? goodVerdict(attempts, tookMs),
    });
  }

  #phasesOf(
    { createdMs, channel }: ClientCall,
    attempts: readonly AttemptRecord[],
    code: CodeOrOk,
    endedMs: number,
  ): CallRecord["phasesMs"] {
    const deciding = decidingAttempt(attempts, code);
    const entry = deciding === undefined ? undefined : this.#entries[attempts.indexOf(deciding)];
    const { stalledUntilMs, lastStallMs } = channel.selfBeat.watch;
    return phasesOf({
      placedMs: attempts[0]?.startMs ?? Number.NaN,
      decidingMs: deciding?.startMs ?? Number.NaN,
      answeredMs: entry?.answeredMs ?? Number.NaN,
      endedMs,
      stalledFromMs: stalledUntilMs - lastStallMs - createdMs,
      stalledUntilMs: stalledUntilMs - createdMs,
    });
  }
}

function savedBy(attempts: readonly AttemptRecord[], winner: CallAttempt | undefined): SavedBy | undefined {
  if (winner?.why === "hedge") return "hedge";
  if (!attempts.some(hasFailed)) return undefined;
  return winner?.isDeduplicated === true ? "dedup" : "retry";
}

/** One that succeeded may have a fault too: what was only observed. */
function hasFailed({ code, fault }: AttemptRecord): boolean {
  return fault !== undefined && code !== "OK";
}

function goodVerdict(attempts: readonly AttemptRecord[], tookMs: number): string {
  const took = `${tookMs < 10 ? tookMs.toFixed(1) : Math.round(tookMs)} ms`;
  const failed = attempts.filter(hasFailed);
  if (failed.length === 0)
    return attempts.length > 1 ? `OK in ${took}, of ${attempts.length} copies the first` : `OK in ${took}`;
  const who = failed.map(({ peer, code }) => `${peer?.address ?? "nobody"} ${code}`).join(", ");
  return `OK after ${attempts.length} attempts in ${took}: saved from ${who}`;
}

function traceOf(call: ClientCall): string {
  return hexOf(call.trace0) + hexOf(call.trace1) + hexOf(call.trace2) + hexOf(call.trace3);
}
