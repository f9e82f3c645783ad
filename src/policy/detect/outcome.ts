/**
 * As what the end of an attempt counts against its peer: small integers, since one is passed for each attempt.
 */

/** It went well. */
export const OUTCOME_OK = 0;
/** Connection refused, lost, reset or condemned, or rules of the protocol broken: counts absolutely. */
export const OUTCOME_TRANSPORT = 1;
/** A code that a handler raised: counts only against other peers on the same method. */
export const OUTCOME_RAISED = 2;
/** Load, the caller's doing, or our own: says nothing about the peer's health. */
export const OUTCOME_IGNORED = 3;
/** DEADLINE_EXCEEDED though the peer had its own p99 of time: counts absolutely, unless this process stalled. */
export const OUTCOME_LATE = 4;
