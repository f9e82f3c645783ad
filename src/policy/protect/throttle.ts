/**
 * Hot path: client throttling (Google SRE, "Handling overload"), one per method and priority. A client that is refused a lot refuses some of its
 * calls itself, with probability (requests - K * accepts) / (requests + 1): an overloaded server then spends its time on work, not on
 * refusals. Counts only refusals for overload; what fails otherwise is no reason to send less.
 *
 * Counters decay exponentially (5 s), not over the two minutes of the source, so that it lets go soon. The floor in calls a second and
 * the limit of 75 % are those of Finagle's NackAdmissionFilter, the call that passes each second that of go-zero's breaker.
 */
import type { Option, Options } from "../../call/options.ts";
import { numberOption, resolveOptions } from "../../call/options.ts";

/** When and how much a client refuses by itself. */
export type ThrottleOptions = Options<{
  /** K: how many requests are sent for each accepted one. Default 2: nothing is refused while half is accepted. 1.1..100. */
  factor: number;
  /** In this time a counter falls to 1/e, in milliseconds. Default 5 000, 100..600 000. */
  decayMs: number;
  /** At most this share is refused here: the rest finds out that the server is well again. Default 0.75, 0..1. */
  refusedShareMax: number;
  /** Below so many calls a second nothing is refused. Default 5, 0..1 000 000. */
  perSecondMin: number;
}>;

/** What a client's options take of these. */
export const throttleShape: Readonly<Record<"factor" | "decayMs" | "refusedShareMax", Option<number>>> = {
  factor: numberOption({ default: 2, min: 1.1, max: 100 }),
  decayMs: numberOption({ default: 5_000, min: 100, max: 600_000 }),
  refusedShareMax: numberOption({ default: 0.75, min: 0, max: 1 }),
};

const SHAPE = {
  ...throttleShape,
  perSecondMin: numberOption({ default: 5, min: 0, max: 1_000_000 }),
};

/** So many accepted in a row, and the refusals are forgotten, with the accepts that they weigh against; so many accepts stay at least. */
const ACCEPTS_TO_CLEAR = 20;
/** So are they when the server has refused nothing for so long: who is hardly called, for it refused so much, need not wait for 20 calls. */
const QUIET_MS = 3_000;
/** One call passes when none did for so long. */
const PASS_EVERY_MS = 1_000;
/** Refusals that have decayed to this are forgotten. */
const FORGOTTEN = 0.05;
/** Counters decay in steps of this part of `decayMs`: an exponential per step, not per call. */
const STEPS = 50;

/** Told what became of each attempt that reached the server, it says whether the next may go. */
export class Throttle {
  private readonly factor: number;
  private readonly decayMs: number;
  private readonly shareMax: number;
  private readonly requestsMin: number;
  /** Decayed counts: accepted by the server, refused by it, refused here. */
  private accepts: number;
  private refusals: number;
  private local: number;
  private acceptsInARow: number;
  private active: boolean;
  private decayedMs: number;
  private decayDueMs: number;
  private passedMs: number;
  private refusedMs: number;

  constructor(options?: ThrottleOptions) {
    const { factor, decayMs, refusedShareMax, perSecondMin } = resolveOptions("throttle", options, SHAPE);
    this.factor = factor;
    this.decayMs = decayMs;
    this.shareMax = refusedShareMax;
    // At r requests a second the counters settle at r * decayMs / 1000.
    this.requestsMin = (perSecondMin * decayMs) / 1_000;
    // -0 and not 0, so that the fields are doubles from the start.
    this.accepts = -0;
    this.refusals = -0;
    this.local = -0;
    this.acceptsInARow = 0;
    this.active = false;
    this.decayedMs = Number.NEGATIVE_INFINITY;
    this.decayDueMs = Number.NEGATIVE_INFINITY;
    this.passedMs = Number.NEGATIVE_INFINITY;
    this.refusedMs = Number.NEGATIVE_INFINITY;
  }

  /** What was accepted before the first refusal, which nobody counted: else one burst of refusals would look like all there was. */
  assume(accepts: number, nowMs: number): void {
    this.decay(nowMs);
    this.accepts += accepts;
  }

  /** Whether a refusal is remembered. False: {@link admits} is true for all. */
  get isActive(): boolean {
    return this.active;
  }

  /** Whether an attempt may go, and counts it as refused if not. `chance` is in [0, 1). */
  admits(nowMs: number, chance: number): boolean {
    if (!this.active) return true;
    if (this.wouldAdmit(nowMs, chance)) return true;
    this.local += 1;
    return false;
  }

  /** As {@link admits}, for a throttle that is only watched: the attempt goes all the same, so what it meets is counted, not this. */
  wouldAdmit(nowMs: number, chance: number): boolean {
    if (!this.active) return true;
    if (chance < this.refusedShare(nowMs) && nowMs - this.passedMs < PASS_EVERY_MS) return false;
    this.passedMs = nowMs;
    return true;
  }

  /** The server took an attempt on, whatever came of it. */
  accepted(nowMs: number): void {
    if (nowMs >= this.decayDueMs) this.decay(nowMs);
    this.accepts += 1;
    if (!this.active) return;
    this.acceptsInARow += 1;
    if (this.acceptsInARow >= ACCEPTS_TO_CLEAR) {
      // All older accepts would cover for as many refusals if the server is still at its limit; none of them, and a burst among many looks like all.
      const spare = this.accepts - (this.refusals + this.local) / (this.factor - 1);
      this.clear();
      this.accepts = Math.max(ACCEPTS_TO_CLEAR, spare);
    }
  }

  /** The server refused an attempt for overload. */
  refused(nowMs: number): void {
    if (nowMs >= this.decayDueMs) this.decay(nowMs);
    this.refusals += 1;
    this.acceptsInARow = 0;
    this.active = true;
    this.refusedMs = nowMs;
  }

  /** The share of attempts that are refused here now, 0 to `refusedShareMax`. */
  refusedShare(nowMs: number): number {
    if (!this.active) return 0;
    if (nowMs >= this.decayDueMs) this.decay(nowMs);
    const requests = this.accepts + this.refusals + this.local;
    if (!this.active || requests < this.requestsMin) return 0;
    const share = (requests - this.factor * this.accepts) / (requests + 1);
    return Math.min(this.shareMax, Math.max(0, share));
  }

  private decay(nowMs: number): void {
    const kept = Math.exp((this.decayedMs - nowMs) / this.decayMs);
    this.accepts *= kept;
    this.refusals *= kept;
    this.local *= kept;
    this.decayedMs = nowMs;
    this.decayDueMs = nowMs + this.decayMs / STEPS;
    const isForgotten = this.refusals + this.local < FORGOTTEN || nowMs - this.refusedMs > QUIET_MS;
    if (this.active && isForgotten) this.clear();
  }

  private clear(): void {
    this.refusals = 0;
    this.local = 0;
    this.acceptsInARow = 0;
    this.active = false;
  }
}
