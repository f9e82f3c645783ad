/**
 * Hot path: outages, as the one who calls sees them. A failure begins one, the next success ends it; the failures between belong to it.
 */

/** How often, and for how long, nothing succeeded. */
export class Outages {
  /** All that began; the one that goes on is among them. */
  count: number;
  /** How long the ended ones lasted together. */
  endedMs: number;
  /** When the one that goes on began; NaN while there is none. */
  sinceMs: number;

  constructor() {
    this.count = 0;
    // NaN first, so that the field is a double from the start and the first fraction does not change the shape.
    this.endedMs = Number.NaN;
    this.endedMs = 0;
    this.sinceMs = Number.NaN;
  }

  /** Something ended, well or not. */
  note(nowMs: number, isOk: boolean): void {
    if (isOk === Number.isNaN(this.sinceMs)) return;
    if (isOk) {
      // Ends may be told a little out of order; an outage that lasted less than nothing lasted nothing.
      this.endedMs += Math.max(0, nowMs - this.sinceMs);
      this.sinceMs = Number.NaN;
    } else {
      this.count += 1;
      this.sinceMs = nowMs;
    }
  }

  /** How long all of them lasted, the one that goes on up to now. */
  totalMs(nowMs: number): number {
    return this.endedMs + (Number.isNaN(this.sinceMs) ? 0 : Math.max(0, nowMs - this.sinceMs));
  }
}
