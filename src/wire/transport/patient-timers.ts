/**
 * Timers that look twice after a stall. When this process was stalled, stopped or asleep, what is due and what arrived
 * meanwhile come up at once, timers first; the answers that somebody is about to be given up for lie in the sockets. So a
 * timer that comes late lets the sockets be read, and fires in the turn after.
 */
import type { Clock } from "../../world/clock.ts";
import type { Timer, Timers } from "../../world/timers.ts";

/** A timer that comes so much later than it was to come says that the process was stalled. */
const STALL_MS = 100;

/** The same timers, patient. */
export function patientTimers(clock: Clock, timers: Timers): Timers {
  return {
    schedule: (delayMs, callback) => new PatientTimer(clock, timers, delayMs, callback),
    hold: () => timers.hold(),
    afterTurn: (callback) => timers.afterTurn(callback),
  };
}

class PatientTimer implements Timer {
  readonly #clock: Clock;
  readonly #timers: Timers;
  readonly #dueMs: number;
  readonly #callback: () => void;
  #timer: Timer;

  constructor(clock: Clock, timers: Timers, delayMs: number, callback: () => void) {
    this.#clock = clock;
    this.#timers = timers;
    this.#dueMs = clock.monotonicMs() + delayMs;
    this.#callback = callback;
    this.#timer = timers.schedule(delayMs, () => this.#fire());
  }

  cancel(): void {
    this.#timer.cancel();
  }

  #fire(): void {
    if (this.#clock.monotonicMs() - this.#dueMs > STALL_MS) this.#timer = this.#timers.schedule(0, this.#callback);
    else this.#callback();
  }
}
