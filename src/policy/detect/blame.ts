/**
 * Hot path: whose part the end of an attempt was, and as what it counts. One function, so that no detector has its own idea of
 * guilt. Transport facts count absolutely; what a handler raised counts only against other peers on the same method; a
 * refusal is load, not health; the caller's doing and our own stalls are nobody's fault out there.
 */
import type { CodeOrOk } from "../../call/code.ts";
import type { Blame, FaultKind, Phase } from "../../call/fault.ts";
import { OUTCOME_IGNORED, OUTCOME_LATE, OUTCOME_OK, OUTCOME_RAISED, OUTCOME_TRANSPORT } from "./outcome.ts";

/** How an attempt ended. */
export interface AttemptFacts {
  readonly code: CodeOrOk;
  /** What was seen to go wrong; undefined for success, or where only the code is known. */
  readonly faultKind: FaultKind | undefined;
  /** Whether the handler may have begun. */
  readonly reached: "no" | "maybe" | "yes";
  readonly isConnectionLost: boolean;
  /** How long the peer had, in milliseconds. */
  readonly hadMs: number;
  /** p99 of the peer or of the method, in milliseconds; NaN: unknown. */
  readonly p99Ms: number;
  /** The caller, a deadline above, or a faster copy ended it. */
  readonly isCancelledByUs: boolean;
  /** How long this process was stalled meanwhile, in milliseconds. */
  readonly stalledMs: number;
  readonly phase: Phase;
  /** The server's pushback, in milliseconds; negative: never. */
  readonly retryAfterMs: number | undefined;
}

/** What it counts as. */
export interface Judgement {
  /** Means nothing after success. */
  readonly blame: Blame;
  /** One of OUTCOME_*. */
  readonly outcome: number;
  /** The server refused for overload: for throttle and pushback. What this process refused by itself is not counted. */
  readonly countsAsLoad: boolean;
}

/** What a peer without a known p99 must have had before lateness is its fault, in milliseconds. */
const UNKNOWN_P99_MS = 1_000;

const verdict = (blame: Blame, outcome: number, countsAsLoad = false): Judgement =>
  Object.freeze({ blame, outcome, countsAsLoad });

const WELL = verdict("peer", OUTCOME_OK);
const BY_CALLER = verdict("caller", OUTCOME_IGNORED);
const BY_US = verdict("this-process", OUTCOME_IGNORED);
const BY_NETWORK = verdict("network", OUTCOME_IGNORED);
const BY_PEER = verdict("peer", OUTCOME_IGNORED);
const LOAD = verdict("peer", OUTCOME_IGNORED, true);
const NETWORK_FAULT = verdict("network", OUTCOME_TRANSPORT);
const PEER_FAULT = verdict("peer", OUTCOME_TRANSPORT);
const LATE = verdict("peer", OUTCOME_LATE);
const RAISED = verdict("peer", OUTCOME_RAISED);
const RAISED_BELOW = verdict("callee-of-peer", OUTCOME_RAISED);

/** Gives one of a few frozen constants; allocates nothing. */
export function judge(facts: AttemptFacts): Judgement {
  if (facts.code === "OK") return WELL;
  if (facts.isCancelledByUs) return BY_CALLER;
  switch (facts.faultKind) {
    case "refused":
    case "tls":
    case "protocol":
      return PEER_FAULT;
    case "connect-timeout":
      return facts.stalledMs > 0 ? BY_US : NETWORK_FAULT;
    case "reset":
      return resetVerdict(facts);
    case "stream-refused":
      return LOAD;
    case "overload":
      return facts.phase === "queue" ? BY_US : LOAD;
    case "attempt-timeout":
    case "deadline":
      return lateness(facts);
    // A peer that drains says so, and what it did not run is no fault. Dissent and corruption have detectors of their own.
    case "goaway":
    case "disagreed":
      return BY_PEER;
    case "corrupt":
    case "resolve-failed":
      return BY_NETWORK;
    case "cancelled":
    // A limit or a schema of the caller's own: the next peer's reply would be no other.
    case "unreadable":
      return BY_CALLER;
    case "local-stall":
      return BY_US;
    case "status":
    case undefined:
      return facts.isConnectionLost ? NETWORK_FAULT : statusVerdict(facts);
  }
}

/** A stream or a connection that the peer cut. ENHANCE_YOUR_CALM and CANCEL arrive as these codes (gRPC over HTTP/2, errors). */
function resetVerdict(facts: AttemptFacts): Judgement {
  if (facts.isConnectionLost) return PEER_FAULT;
  if (facts.code === "RESOURCE_EXHAUSTED") return LOAD;
  return facts.code === "CANCELLED" ? BY_PEER : PEER_FAULT;
}

/** DEADLINE_EXCEEDED: the peer's fault only if it had its own p99 of time, our stalls not counted. */
function lateness(facts: AttemptFacts): Judgement {
  const fairMs = Number.isNaN(facts.p99Ms) ? UNKNOWN_P99_MS : facts.p99Ms;
  switch (facts.phase) {
    case "resolve":
    case "connect":
      return BY_NETWORK;
    case "queue":
    case "stall":
      return BY_US;
    case "send":
    case "server":
    case "receive":
      if (facts.hadMs - facts.stalledMs >= fairMs) return facts.reached === "no" ? BY_PEER : LATE;
      return facts.hadMs >= fairMs ? BY_US : BY_CALLER;
  }
}

/** A status that came from the peer. */
function statusVerdict(facts: AttemptFacts): Judgement {
  switch (facts.code) {
    case "RESOURCE_EXHAUSTED":
      return facts.phase === "queue" ? BY_US : LOAD;
    case "UNAVAILABLE":
      // With a pushback it is a refusal; without the handler, a server that is going away.
      if (facts.retryAfterMs !== undefined) return LOAD;
      return facts.reached === "no" ? unreached(facts) : RAISED_BELOW;
    case "INTERNAL":
    case "UNKNOWN":
    case "DATA_LOSS":
      return RAISED;
    case "DEADLINE_EXCEEDED":
      return lateness(facts);
    case "OK":
      return WELL;
    case "CANCELLED":
      return BY_PEER;
    case "INVALID_ARGUMENT":
    case "NOT_FOUND":
    case "ALREADY_EXISTS":
    case "PERMISSION_DENIED":
    case "FAILED_PRECONDITION":
    case "ABORTED":
    case "OUT_OF_RANGE":
    case "UNIMPLEMENTED":
    case "UNAUTHENTICATED":
      return BY_CALLER;
  }
}

/** UNAVAILABLE without a handler: no connection could be had, or a draining server's mark that it did not run the call. */
function unreached(facts: AttemptFacts): Judgement {
  return facts.phase === "connect" ? NETWORK_FAULT : BY_PEER;
}
