/**
 * When a call must have ended, as seen by the one who works on it.
 */

/** A point on the monotonic clock that a call may not outlive. */
export interface Deadline {
  /** Milliseconds left, fractional, never below 0; Infinity when the call has no deadline. */
  remainingMs(): number;
}
