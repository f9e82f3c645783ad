/**
 * Whether a call is suspected of killing its servers (docs/decisions/poison.md): what is known of requests like it, by their payload.
 */
import { failure, type RpcError } from "../call/error.ts";
import type { CallAttempt } from "./call-attempt.ts";
import { factsOf } from "./call-error.ts";
import type { ClientCall } from "./client-call.ts";
import { type PayloadHash, payloadHash } from "./payload-hash.ts";

/** Undefined for a call that sends a stream. */
function payloadOf({ onlyRequest, requestCodec }: ClientCall): PayloadHash | undefined {
  return onlyRequest === undefined ? undefined : payloadHash(requestCodec, onlyRequest.message);
}

/** The same request has brought down servers a moment ago. */
export function isQuarantined(call: ClientCall): boolean {
  const { channel, method } = call;
  const payload = channel.poisonState === "on" ? payloadOf(call) : undefined;
  return (
    payload !== undefined &&
    channel.quarantine.holds(method.plan.info.path, payload.hash, payload.bytes, call.createdMs)
  );
}

/** It was answered: so would be others that are like it. */
export function noteGood(call: ClientCall, nowMs: number): void {
  const payload = payloadOf(call);
  if (payload !== undefined) call.method.state.knownGood.answered(payload.hash, payload.bytes, nowMs);
}

/** Requests like it were answered lately: the connection did not die of it. */
export function isKnownGood(call: ClientCall, attempt: CallAttempt, nowMs: number): boolean {
  const payload = payloadOf(call);
  if (payload === undefined) return false;
  return call.method.state.knownGood.excuses(payload.hash, payload.bytes, attempt.peer.target.id, nowMs);
}

/** It was on two connections that died without a word: it, and what is like it, is not sent to a third. */
export function suspectPoison(call: ClientCall, nowMs: number): void {
  const { channel, method } = call;
  const { info } = method.plan;
  const payload = payloadOf(call);
  // All that are like it pay for a wrong guess: of what was good a moment ago, this call alone is ended.
  if (payload !== undefined && !method.state.knownGood.has(payload.hash, payload.bytes, nowMs)) {
    channel.quarantine.add(info.path, payload.hash, payload.bytes, nowMs);
  }
  method.state.counters.poisoned += 1;
  if (channel.events.isHeard) channel.events.emit("poisoned", nowMs, { callId: call.id, method: info });
}

/** Nobody is to repeat it. */
export function poisonError(call: ClientCall, text: string, reached: "no" | "maybe"): RpcError {
  return failure({ ...factsOf(call), code: "INTERNAL", text, reason: "POISON_SUSPECT", reached, retryAfterMs: -1 });
}
