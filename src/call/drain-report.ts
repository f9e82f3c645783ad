/**
 * How the end of a server went: what ended by itself, and what had to be cut.
 */

/** A call that a closing server did not let come to its end. */
export interface CutCall {
  /** The same as in the caller's own record. */
  readonly callId: string;
  /** `/package.Service/Method`. */
  readonly path: string;
  /** From its arrival until it was cut, in milliseconds. */
  readonly ageMs: number;
  /**
   * true: the handler had done its work and given its answer, of which a part had not left, because its caller took none. false: the
   * handler was told by `call.signal`, and may still be at work.
   */
  readonly hasHandlerEnded: boolean;
}

/** How a close went. */
export interface DrainReport {
  /** Calls that ended by themselves while the server drained. */
  readonly finished: number;
  /** Calls that did not make it; their callers got UNAVAILABLE, or lost the connection. */
  readonly cut: readonly CutCall[];
  /** From the beginning of the drain to its end, in milliseconds. */
  readonly tookMs: number;
}
