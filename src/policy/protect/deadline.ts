/**
 * The deadline of a call that is made while another is handled: its own, or what the outer call has left, whichever is sooner. A little of what is
 * left is kept back, so that the failure of the inner call can still be answered to the outer one.
 */

/** What is kept back for the way home, in milliseconds. */
export const DEADLINE_RESERVE_MS = 5;

/**
 * How long a nested call may take, in milliseconds, never below 0: min(own, what the outer call has left - reserve).
 *
 * @param ownMs the call's own limit; Infinity if it has none.
 * @param parentRemainingMs what the outer call has left; Infinity if it has no deadline, negative if it is over.
 * @param reserveMs what to keep back of the outer call's time. Default 5.
 */
export function nestedDeadlineMs(ownMs: number, parentRemainingMs: number, reserveMs = DEADLINE_RESERVE_MS): number {
  return Math.max(0, Math.min(ownMs, parentRemainingMs - reserveMs));
}
