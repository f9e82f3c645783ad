/**
 * Waiting as a port: what runs later, and what runs at the end of this turn.
 */

/** A scheduled callback. Cancelling one that ran, or was cancelled, does nothing. */
export interface Timer {
  cancel(): void;
}

export interface Timers {
  /**
   * Runs `callback` once, `delayMs` or more from now (0 means the next turn, whatever else comes). Never keeps the process alive longer than a turn:
   * what must keep it alive is a socket or a listener.
   */
  schedule(delayMs: number, callback: () => void): Timer;
  /**
   * Keeps the process alive until cancelled: for work that waits for nothing but a timer. Free to call often; cheap only when
   * seldom.
   */
  hold(): Timer;
  /**
   * Runs `callback` after everything that is ready now has run: the other sockets' chunks of this turn and all promise
   * reactions they caused. This is where a turn's writes leave in one write. Cannot be cancelled.
   */
  afterTurn(callback: () => void): void;
}
