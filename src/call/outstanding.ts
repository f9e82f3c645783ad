/**
 * A piece of work that waits for a peer's first sign of an answer. Linked into its peer's list in order of start, without
 * allocation, so that the age of the oldest is known at every pick.
 */
export interface Outstanding {
  /** When it was sent, on the monotonic clock. */
  startedMs: number;
  /** It stands in its peer's list. */
  isOutstanding: boolean;
  outstandingPrevious: Outstanding | undefined;
  outstandingNext: Outstanding | undefined;
}
