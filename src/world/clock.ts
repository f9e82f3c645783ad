/**
 * Time as a port. Monotonic numbers measure; wall numbers are only for logs and the wire.
 */
export interface Clock {
  /** Milliseconds since an arbitrary start, fractional, never going back. For every duration and deadline. */
  monotonicMs(): number;
  /** Milliseconds since the Unix epoch; may jump. Only for logs, ids and the wire. */
  wallMs(): number;
}
