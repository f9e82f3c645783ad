/**
 * The heart of the attempts machine: what may be repeated (DESIGN section 4's table), what may be copied, and how long to wait
 * before. Pure: facts of one call come in, a decision goes out; the client and `protect` carry it out.
 */
import { type CodeOrOk, codeNumber } from "../../call/code.ts";
import type { Effect } from "../../call/method.ts";

/** One attempt that failed, and the call it belongs to. */
export interface FailedAttempt {
  readonly code: CodeOrOk;
  /** "no": provably no handler saw it. */
  readonly reached: "no" | "maybe" | "yes";
  /** Something of its answer has reached the user: the commit point (docs/decisions/commit-point.md). */
  readonly isCommitted: boolean;
  /** The server's pushback in milliseconds; negative: never repeat; undefined: none given. */
  readonly retryAfterMs: number | undefined;
  readonly effect: Effect;
  /** Failures of a request that reached a handler which are repeated, a bit for each gRPC number. */
  readonly codes: number;
  /** Attempts that may have reached a handler, this one included. */
  readonly attempts: number;
  /** 1..10, or Infinity: then deadline and budget bound it. */
  readonly attemptsMax: number;
  /** Attempts that never reached one, this one included, and the peers there are. */
  readonly unreached: number;
  readonly peers: number;
  /** The request can be sent again from its beginning. */
  readonly canSendAgain: boolean;
  /** Nobody above repeats this call (`holdfast-repeat`): if somebody does, what was reached is not repeated here. */
  readonly mayRepeat: boolean;
  /** Connections that died without a word while this call was on them, this one included. */
  readonly marks: number;
  /** A `once` call may be repeated: its server deduplicates it, and the next peer shares its store. */
  readonly isDeduplicated: boolean;
}

/**
 * `free`: beyond the attempts and the budget; `charged`: one of the `attemptsMax`, taken from the budget.
 * `poison`: not sent again, for it is suspected of killing its servers. `fail`: the failure is the call's.
 */
export type Repeat = "fail" | "poison" | "free" | "charged";

/** A connection that dies marks its calls; one marked so often is not sent again. */
export const POISON_MARKS = 2;

/** UNAVAILABLE, INTERNAL, UNKNOWN, DATA_LOSS, and DEADLINE_EXCEEDED of an attempt: what a request that was reached is repeated for. */
export const REPEATED_CODES: number = codeBits([
  "UNAVAILABLE",
  "INTERNAL",
  "UNKNOWN",
  "DATA_LOSS",
  "DEADLINE_EXCEEDED",
]);

/** What a service says to a caller who asked for the wrong thing: its answer, which does not make it unreliable. */
export const ANSWER_CODES: number = codeBits([
  "INVALID_ARGUMENT",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "PERMISSION_DENIED",
  "FAILED_PRECONDITION",
  "ABORTED",
  "OUT_OF_RANGE",
  "UNAUTHENTICATED",
]);

/** A set of codes as bits. */
export function codeBits(codes: readonly CodeOrOk[]): number {
  let bits = 0;
  for (const code of codes) bits |= 1 << codeNumber(code);
  return bits;
}

/** Whether a failed attempt is followed by another. */
export function decideRepeat(failed: FailedAttempt): Repeat {
  if (failed.isCommitted || !failed.canSendAgain) return "fail";
  if (failed.marks >= POISON_MARKS) return "poison";
  const { retryAfterMs } = failed;
  if (retryAfterMs !== undefined && retryAfterMs < 0) return "fail";
  // One free re-pick per peer; from then on it is a repeat like any other.
  if (failed.reached === "no" && failed.unreached <= failed.peers) return "free";
  if (failed.attempts + Math.max(0, failed.unreached - failed.peers) >= failed.attemptsMax) return "fail";
  if (failed.reached === "no") return "charged";
  if (!failed.mayRepeat || !mayRunTwice(failed)) return "fail";
  if (failed.code === "RESOURCE_EXHAUSTED") return retryAfterMs === undefined ? "fail" : "charged";
  return (failed.codes & (1 << codeNumber(failed.code))) === 0 ? "fail" : "charged";
}

function mayRunTwice({ effect, isDeduplicated }: FailedAttempt): boolean {
  return effect === "none" || effect === "idempotent" || (effect === "once" && isDeduplicated);
}

/** A call whose youngest attempt is overdue. */
export interface OverdueCall {
  readonly effect: Effect;
  readonly isCommitted: boolean;
  readonly canSendAgain: boolean;
  readonly mayRepeat: boolean;
  /** Attempts that may have reached a handler, those in flight included. */
  readonly attempts: number;
  readonly attemptsMax: number;
  readonly inFlight: number;
  /** Copies beside the first, at once. */
  readonly copiesMax: number;
  /** Most peers have become slower at once: copies would only add to it. */
  readonly isStandingDown: boolean;
}

/** Whether an overdue call gets a copy. Whether there is a peer and a budget for it, the caller asks. */
export function mayCopy(call: OverdueCall): boolean {
  return (
    (call.effect === "none" || call.effect === "idempotent") &&
    !call.isCommitted &&
    call.canSendAgain &&
    call.mayRepeat &&
    !call.isStandingDown &&
    call.attempts < call.attemptsMax &&
    call.inFlight <= call.copiesMax
  );
}

/** A failure that is to be waited out before the next attempt, even at another peer: what overload asks for. */
export function isOverload(code: CodeOrOk, retryAfterMs: number | undefined): boolean {
  return code === "RESOURCE_EXHAUSTED" || (retryAfterMs !== undefined && retryAfterMs > 0);
}
