/**
 * How many calls may suffer at once, whatever the plans say: a bound for the whole process where several layers share one
 * (gRFC A33, max_active_faults).
 */

/** A limit on injected faults. */
export class CallFaultLimit {
  /** Calls that may suffer at once. */
  readonly activeMax: number;
  private taken: number;

  /** @param activeMax 1..1,000,000; RangeError for anything else. */
  constructor(activeMax: number) {
    if (!Number.isInteger(activeMax) || activeMax < 1 || activeMax > 1_000_000) {
      throw new RangeError(`activeMax must be an integer in 1..1_000_000, got ${activeMax}`);
    }
    this.activeMax = activeMax;
    this.taken = 0;
  }

  /** Calls that suffer now. */
  get active(): number {
    return this.taken;
  }

  /** One more, if it may be: false at the limit. */
  take(): boolean {
    if (this.taken >= this.activeMax) return false;
    this.taken += 1;
    return true;
  }

  /** One has ended. Error if none is active: someone gave back twice. */
  giveBack(): void {
    if (this.taken === 0) throw new Error("a call fault was given back that was not taken");
    this.taken -= 1;
  }
}
