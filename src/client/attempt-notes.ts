/**
 * Hot path: who is told of an attempt that has ended: the peer's figures, the detectors, the throttle, the counters, the call's
 * faults and trail, and whoever listens. What becomes of the call is decided elsewhere.
 */
import type { Code, CodeOrOk } from "../call/code.ts";
import type { Fault } from "../call/fault.ts";
import { OUTCOME_OK } from "../policy/detect/outlier.ts";
import { faultOf, judgementOf } from "./attempt-fault.ts";
import type { CallAttempt } from "./call-attempt.ts";
import type { ClientCall } from "./client-call.ts";
import type { ClientPeer } from "./client-peer.ts";
import type { ConnectionWatch } from "./connection-watch.ts";
import { BEAT_MS } from "./self-beat.ts";

/** A peer that asks not to be called for longer is asked again after this. */
const PUSHBACK_MAX_MS = 30_000;
/** A call that is repeated without end keeps its latest faults. */
const FAULTS_MAX = 100;

/** An attempt was answered well. */
export function noteSuccess(call: ClientCall, attempt: CallAttempt, nowMs: number): void {
  const { peer } = attempt;
  const { state } = call.method;
  if (!call.isReplyStream) {
    const tookMs = nowMs - attempt.startedMs;
    noteAnswer(call, attempt, nowMs);
    peer.pace.sample(tookMs, nowMs);
  }
  peer.ended(attempt);
  peer.counters.attemptEnded(nowMs, true);
  state.counters.attemptEnded(nowMs, true);
  state.throttleOf(call.priority)?.accepted(nowMs);
}

/** A reply, or a stream's headers, have come. */
export function noteAnswer(call: ClientCall, attempt: CallAttempt, nowMs: number): void {
  const { state } = call.method;
  const tookMs = nowMs - attempt.startedMs;
  attempt.peer.answered(attempt, nowMs);
  state.sample(nowMs, tookMs);
  call.channel.detector?.observe(attempt.peer.record, state.index, OUTCOME_OK, tookMs, nowMs);
}

/** True: the connection died without a word while the call was on it. Listeners are told, so the call may be over afterwards. */
export function noteFailure(call: ClientCall, attempt: CallAttempt, code: Code, nowMs: number): boolean {
  const { channel } = call;
  const { peer, connection } = attempt;
  const { state } = call.method;
  const judgement = judgementOf(attempt, code, nowMs, state.p99Ms(nowMs), stalledMs(call, attempt, nowMs));
  if (attempt.fault === "attempt-timeout") (connection.watcher as ConnectionWatch).gaveUp(attempt);
  // A stream for which one connection had no slot says nothing of what the service can take: the call goes elsewhere (gRFC A6).
  if (attempt.fault !== "stream-refused") {
    if (judgement.countsAsLoad) {
      state.refused(call.priority, nowMs);
      channel.wasRefused(nowMs);
    } else state.throttleOf(call.priority)?.accepted(nowMs);
  }
  // Whose callee it was does not matter to the choice, nor whether it was a refusal: a peer that fails at once must not look like the fastest.
  if (judgement.countsAsLoad) peer.refused(attempt, nowMs);
  else if (judgement.blame !== "caller" && judgement.blame !== "this-process") peer.failed(attempt, nowMs);
  peer.ended(attempt);
  peer.counters.attemptEnded(nowMs, false);
  state.counters.attemptEnded(nowMs, false);
  const { retryAfterMs } = attempt;
  // What a handler says of this call, of a caller's quota for instance, is not said of the peer. Nor is what admission says: it refuses a share
  // of the calls, by priority and caller, and a client that stayed away altogether would come back with all that had waited
  // (docs/decisions/pushback.md).
  const isOfPeer = attempt.reason !== "ADMISSION_REFUSED" && (attempt.reached === "no" || code === "UNAVAILABLE");
  if (retryAfterMs !== undefined && retryAfterMs > 0 && isOfPeer) {
    peer.pushbackUntilMs = Math.max(peer.pushbackUntilMs, nowMs + Math.min(retryAfterMs, PUSHBACK_MAX_MS));
  }
  const fault = faultOf(attempt, code, judgement.blame, nowMs - call.createdMs);
  keepFault(call, fault);
  if (attempt.fault === "corrupt") noteCorruption(call, peer, nowMs);
  // A connection that is lost is one fact, however many calls were on it.
  const isNews = attempt.reason !== "CONNECTION_LOST" || !connection.isLossNoted;
  if (attempt.reason === "CONNECTION_LOST") connection.isLossNoted = true;
  const tookMs = nowMs - attempt.startedMs;
  if (isNews && channel.detector?.observe(peer.record, state.index, judgement.outcome, tookMs, nowMs) === true) {
    channel.tick.sweepNow(nowMs);
  }
  tellEnd(call, attempt, code, fault, nowMs);
  return attempt.reason === "CONNECTION_LOST" && !connection.hasGoneAway && !connection.isCondemned;
}

/** The call's deadline has passed while the attempt had it. It is still in flight. */
export function noteLate(call: ClientCall, attempt: CallAttempt, nowMs: number): void {
  const { channel } = call;
  const { peer } = attempt;
  const { state } = call.method;
  const stallMs = stalledMs(call, attempt, nowMs);
  const { blame, outcome } = judgementOf(attempt, "DEADLINE_EXCEEDED", nowMs, state.p99Ms(nowMs), stallMs);
  keepFault(call, faultOf(attempt, "DEADLINE_EXCEEDED", blame, nowMs - call.createdMs, "deadline"));
  const tookMs = nowMs - attempt.startedMs;
  state.sample(nowMs, tookMs);
  (attempt.connection.watcher as ConnectionWatch).gaveUp(attempt);
  if (blame === "peer" || blame === "network") peer.failed(attempt, nowMs);
  peer.counters.attemptEnded(nowMs, false);
  state.counters.attemptEnded(nowMs, false);
  if (channel.detector?.observe(peer.record, state.index, outcome, tookMs, nowMs) === true) {
    channel.tick.sweepNow(nowMs);
  }
  tellEnd(call, attempt, "DEADLINE_EXCEEDED", call.faults?.at(-1), nowMs);
}

/** The call's trail and whoever listens hear how an attempt ended. */
export function tellEnd(
  call: ClientCall,
  attempt: CallAttempt,
  code: CodeOrOk,
  fault: Fault | undefined,
  nowMs: number,
): void {
  call.trail?.ended(attempt, code, fault, nowMs - call.createdMs);
  const { events } = call.channel;
  if (!events.hears("attempt.ended")) return;
  const peer = attempt.peer.describe();
  events.emit("attempt.ended", nowMs, { callId: call.id, peer, code, tookMs: nowMs - attempt.startedMs, fault });
}

/** How long this process stood still since the attempt began, at most: the beat that showed it was due after it had begun. */
function stalledMs(call: ClientCall, { startedMs }: CallAttempt, nowMs: number): number {
  // Of a stall that is not over, the call's own timer may be the first to tell.
  if (nowMs - call.deadlineMs > BEAT_MS) return nowMs - startedMs;
  const { stalledUntilMs, lastStallMs } = call.channel.selfBeat.watch;
  return stalledUntilMs >= startedMs ? lastStallMs + BEAT_MS : 0;
}

function keepFault(call: ClientCall, fault: Fault): void {
  const faults = (call.faults ??= []);
  if (faults.length >= FAULTS_MAX) faults.shift();
  faults.push(fault);
}

/** One altered message is bad luck; several from one peer in a minute are its memory, or the way to it. */
function noteCorruption({ channel }: ClientCall, peer: ClientPeer, nowMs: number): void {
  const state = channel.switches.get("corruption");
  if (state === "off" || !peer.corruption.failed(nowMs)) return;
  const why = "messages were altered again and again";
  if (state === "on") {
    channel.detector?.charge(peer.record, why, nowMs);
    channel.tick.sweepNow(nowMs);
  } else if (channel.events.isHeard) {
    const told = { peer: peer.describe(), kind: "ejected", why, untilMs: nowMs, isEnforced: false } as const;
    channel.events.emit("ejection", nowMs, told);
  }
}
