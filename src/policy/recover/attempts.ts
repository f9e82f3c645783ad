/**
 * What may be repeated (DESIGN section 4's table), and where: the pure heart of the attempts machine in its first form.
 * A call that provably never reached a handler is sent elsewhere; one whose effect allows it, after what a peer or the
 * network did, too; nothing after the commit point (response headers), and nothing the server told us not to repeat.
 */
import type { CodeOrOk } from "../../call/code.ts";
import type { Effect } from "../../call/method.ts";

export interface FailedAttempt {
  readonly code: CodeOrOk;
  /** "no": provably no handler saw it. */
  readonly reached: "no" | "maybe" | "yes";
  /** The connection died under it: the call has no answer. */
  readonly isConnectionLost: boolean;
  /** Response headers had come: the commit point. */
  readonly isCommitted: boolean;
  /** The server's pushback in milliseconds; negative: never repeat; undefined: none given. */
  readonly retryAfterMs: number | undefined;
  readonly effect: Effect;
  /** Attempts that may have reached a handler, this one included. */
  readonly attempts: number;
  readonly attemptsMax: number;
  /** Attempts that never reached one, this one included, and the peers there are. */
  readonly unreached: number;
  readonly peers: number;
  /** The request can be sent again from its beginning. */
  readonly isRepeatable: boolean;
}

/** `counts`: the repeat is one of the `attemptsMax`. */
export type Repeat = { readonly kind: "fail" } | { readonly kind: "repeat"; readonly counts: boolean };

const FAIL: Repeat = Object.freeze({ kind: "fail" });
const FREE: Repeat = Object.freeze({ kind: "repeat", counts: false });
const COUNTED: Repeat = Object.freeze({ kind: "repeat", counts: true });

/** Whether a failed attempt is followed by another, and whether that one counts against `attemptsMax`. */
export function decideRepeat(failed: FailedAttempt): Repeat {
  if (!failed.isRepeatable || failed.isCommitted) return FAIL;
  if (failed.retryAfterMs !== undefined && failed.retryAfterMs < 0) return FAIL;
  // One free re-pick per peer; from then on it is a retry like any other.
  if (failed.reached === "no" && failed.unreached <= failed.peers) return FREE;
  const counted = failed.attempts + Math.max(0, failed.unreached - failed.peers);
  if (counted >= failed.attemptsMax) return FAIL;
  if (failed.reached === "no") return COUNTED;
  const mayRepeat = failed.effect === "none" || failed.effect === "idempotent";
  if (!mayRepeat || !failed.isConnectionLost) return FAIL;
  return COUNTED;
}

/** The wait before going back to a peer that was tried: 50 ms x 2^n up to 1 s, full jitter. `chance` is in [0, 1). */
export function backoffMs(repeats: number, chance: number): number {
  return Math.min(1_000, 50 * 2 ** Math.min(repeats, 10)) * chance;
}
