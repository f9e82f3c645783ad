/**
 * Why a server refuses a call before its handler begins, and how long the caller should wait before it comes again. The pushback is
 * gRFC A6's `grpc-retry-pushback-ms`: milliseconds, or -1 for "not again".
 */
import type { Priority } from "../../call/method.ts";
import type { Random } from "../../world/random.ts";

/**
 * Closed; each is a word of events and of the status.
 * - `queue-full`: as many wait as may, none of them worse than this one.
 * - `displaced`: it waited, and its place went to a better or a newer one.
 * - `too-old`: it waited for longer than answers are worth while the server is over its capacity.
 * - `expired`: its deadline is over. `doomed`: what remains is less than the handler needs at its best.
 * - `shed`: the server sheds its priority, or its level within that.
 * - `share`: its principal, or its connection, has more than its fair share.
 * - `rate`: over the rate limit of its key.
 * - `overdue`: as many handlers as may go on although their calls are over.
 */
export type RefusalWhy =
  | "queue-full"
  | "displaced"
  | "too-old"
  | "expired"
  | "doomed"
  | "shed"
  | "share"
  | "rate"
  | "overdue";

/** 0 critical, 1 normal, 2 sheddable. */
export type PriorityRank = 0 | 1 | 2;

export function rankOf(priority: Priority): PriorityRank {
  return priority === "normal" ? 1 : priority === "critical" ? 0 : 2;
}

/** The pushback that stops all repeats. */
export const NOT_AGAIN = -1;
/** A pushback lies in this range, in milliseconds, before jitter. */
export const PUSHBACK_MIN_MS = 50;
export const PUSHBACK_MAX_MS = 2_000;

/**
 * Milliseconds that a refused first attempt should wait, -1 for a refused repeat: who was refused twice adds to what the server cannot do.
 *
 * @param drainMs how long the server would take for what it was asked of late. Clamped to 50..2 000, then jittered by a half either way, so that
 * what was refused at once does not come back at once.
 */
export function pushbackMs(drainMs: number, isRepeat: boolean, random: Random): number {
  if (isRepeat) return NOT_AGAIN;
  const base = drainMs > PUSHBACK_MIN_MS ? Math.min(PUSHBACK_MAX_MS, drainMs) : PUSHBACK_MIN_MS;
  return Math.round(base * (0.5 + random.float()));
}
