/**
 * Hot path: whether a server is over its capacity, and what follows for each priority: whether it lacks capacity, and how old its calls may grow. Numbers
 * only; {@link Admission} tells it what waits, begins and is refused.
 *
 * CoDel's rule (Nichols and Jacobson 2012): the oldest call has waited longer than a target for a whole interval. It ends when the queue was empty and nothing
 * was refused for an interval. Soon after, the next interval is a quarter, as CoDel's gets shorter: a queue over capacity runs dry by chance.
 *
 * An interval in which nobody looked does not count: this process stood still, for others had the processor, and what waits is old for that alone. It is
 * begun in a moment.
 *
 * Ages. Where newest goes first and n calls come for each that begins, who has waited for some six services by the square of n has hardly a chance, and what
 * little it has makes answers late. So the age falls from four targets to a quarter of one as n grows. n counts a priority with those above it: that
 * thousands of sheddable calls are refused makes no critical one old. One that has enough while a worse one has not is late by chance, and may wait for an interval.
 */
import type { PriorityRank, RefusalWhy } from "./refusal.ts";

/** No call of a priority that lacks capacity waits for longer than so many targets, and none is too old before so few. */
export const AGE_TARGETS_MAX = 4;
export const AGE_TARGETS_MIN = 0.25;
/** Targets that a call may wait for, times the square of how many calls come for each that begins. */
const AGE_NEWER = 6;
/** The interval is four targets and at least so long; and a quarter of that for so long after the last time. */
const INTERVAL_TARGETS = 4;
const INTERVAL_MIN_MS = 30;
const INTERVAL_AGAIN_SHARE = 0.25;
const AGAIN_MS = 100;
/** A priority lacks capacity when so many of it and of better ones are refused for each that begins. */
const LACK_SHARE = 0.05;
/** What begins and what is refused is counted over about so long. */
const COUNTED_MS = 100;
const KEPT = 0.5;

/** The state of one queue. Times are monotonic milliseconds. */
export class OverCapacity {
  /** Whether it is over its capacity. */
  isOver: boolean;
  /** By rank: whether it, with better ones, lacks capacity. */
  readonly lacks: boolean[];
  /** Since when the oldest has waited for longer than the target; Infinity: it has not. */
  private aboveSinceMs: number;
  private lookedAtMs: number;
  private overUntilMs: number;
  private refusedAtMs: number;
  /** While over: calls begun from the queue, refused, and for how long. */
  private begun: number;
  private refused: number;
  private spanMs: number;
  private spanAtMs: number;
  /** By rank: begun from the queue, refused after they had waited, refused for want of capacity. */
  private readonly begunOf: Float64Array;
  private readonly staleOf: Float64Array;
  private readonly lackOf: Float64Array;
  private readonly ageTargets: Float64Array;

  constructor() {
    this.isOver = false;
    this.lacks = [false, false, false];
    this.aboveSinceMs = Number.POSITIVE_INFINITY;
    this.lookedAtMs = Number.NEGATIVE_INFINITY;
    this.overUntilMs = Number.NEGATIVE_INFINITY;
    this.refusedAtMs = Number.NEGATIVE_INFINITY;
    // -0 and not 0, so that the fields are doubles from the start.
    this.begun = -0;
    this.refused = -0;
    this.spanMs = -0;
    this.spanAtMs = Number.NEGATIVE_INFINITY;
    this.begunOf = new Float64Array(3);
    this.staleOf = new Float64Array(3);
    this.lackOf = new Float64Array(3);
    this.ageTargets = new Float64Array(3).fill(AGE_TARGETS_MAX);
  }

  /** The oldest came at `oldestAtMs`, Infinity for none. True: from now on it is over capacity, and was not shortly before. */
  look(oldestAtMs: number, targetMs: number, nowMs: number): boolean {
    const stoodStill = nowMs - this.lookedAtMs > fullIntervalMs(targetMs);
    this.lookedAtMs = nowMs;
    if (this.isOver) {
      if (oldestAtMs === Number.POSITIVE_INFINITY) this.calm(targetMs, nowMs);
      return false;
    }
    if (nowMs < oldestAtMs + targetMs) {
      this.aboveSinceMs = Number.POSITIVE_INFINITY;
      return false;
    }
    if (stoodStill || this.aboveSinceMs === Number.POSITIVE_INFINITY) this.aboveSinceMs = nowMs;
    if (nowMs < this.aboveSinceMs + this.intervalMs(targetMs)) return false;
    this.isOver = true;
    this.spanAtMs = nowMs;
    if (this.isAgain()) return false;
    this.begun = 0;
    this.refused = 0;
    this.spanMs = 0;
    this.begunOf.fill(0);
    this.staleOf.fill(0);
    this.lackOf.fill(0);
    this.lacks.fill(false);
    this.ageTargets.fill(AGE_TARGETS_MAX);
    return true;
  }

  /** Nothing waits. */
  calm(targetMs: number, nowMs: number): void {
    this.aboveSinceMs = Number.POSITIVE_INFINITY;
    if (!this.isOver || this.isRefusing(targetMs, nowMs)) return;
    this.isOver = false;
    this.overUntilMs = nowMs;
  }

  /** Whether something was refused within the last interval. */
  isRefusing(targetMs: number, nowMs: number): boolean {
    return nowMs < this.refusedAtMs + this.intervalMs(targetMs);
  }

  /** When to look again, for a queue that is not over capacity and whose oldest came at `oldestAtMs`. */
  lookDueMs(oldestAtMs: number, targetMs: number): number {
    if (this.aboveSinceMs === Number.POSITIVE_INFINITY) return oldestAtMs + targetMs;
    // Twice an interval, so that one without a look is one in which the process stood still.
    return Math.min(this.aboveSinceMs + this.intervalMs(targetMs), this.lookedAtMs + fullIntervalMs(targetMs) / 2);
  }

  /** How long a call of this rank may wait while it is over capacity. Where only worse ranks lack it, its calls are late by chance: an interval. */
  ageMaxMs(rank: number, targetMs: number): number {
    if (!this.lacks[rank] && (this.lacks[2] || (rank === 0 && this.lacks[1]))) return fullIntervalMs(targetMs);
    return (this.ageTargets[rank] as number) * targetMs;
  }

  /** A call that waited was begun while it is over capacity. */
  countBegun(rank: PriorityRank, nowMs: number): void {
    this.begun += 1;
    this.begunOf[rank] = (this.begunOf[rank] as number) + 1;
    this.spanMs += nowMs - this.spanAtMs;
    this.spanAtMs = nowMs;
    this.judge();
    if (this.spanMs >= COUNTED_MS) this.fade();
  }

  /** A call was refused. */
  countRefused(rank: PriorityRank, why: RefusalWhy, nowMs: number): void {
    this.refused += 1;
    this.refusedAtMs = nowMs;
    if (why === "too-old" || why === "displaced") this.staleOf[rank] = (this.staleOf[rank] as number) + 1;
    if (why === "expired" || why === "doomed") return;
    const lack = (this.lackOf[rank] as number) + 1;
    this.lackOf[rank] = lack;
    // At the beginning nothing was begun yet, and the first refusal says it.
    if (lack > this.begun * LACK_SHARE) this.lacks[rank] = true;
  }

  /** Calls begun in a millisecond of late; 0 when that is not known. */
  begunPerMs(): number {
    return this.spanMs > 0 ? this.begun / this.spanMs : 0;
  }

  /** How long it would take to begin those that wait and those that were refused of late; 0 when that is not known. */
  drainMs(waiting: number): number {
    return this.begun > 0 ? ((waiting + this.refused) * this.spanMs) / this.begun : 0;
  }

  private intervalMs(targetMs: number): number {
    const intervalMs = fullIntervalMs(targetMs);
    return this.isAgain() ? intervalMs * INTERVAL_AGAIN_SHARE : intervalMs;
  }

  private isAgain(): boolean {
    return this.aboveSinceMs < this.overUntilMs + AGAIN_MS;
  }

  private judge(): void {
    let begun = 0;
    let comes = 0;
    let lack = 0;
    for (let rank = 0; rank < 3; rank++) {
      lack += this.lackOf[rank] as number;
      begun += this.begunOf[rank] as number;
      comes += (this.begunOf[rank] as number) + (this.staleOf[rank] as number);
      const targets = begun === 0 ? AGE_TARGETS_MAX : (AGE_NEWER * begun * begun) / (comes * comes);
      this.lacks[rank] = lack > LACK_SHARE * begun;
      this.ageTargets[rank] = Math.max(AGE_TARGETS_MIN, Math.min(AGE_TARGETS_MAX, targets));
    }
  }

  private fade(): void {
    this.begun *= KEPT;
    this.refused *= KEPT;
    this.spanMs *= KEPT;
    for (let rank = 0; rank < 3; rank++) {
      this.begunOf[rank] = (this.begunOf[rank] as number) * KEPT;
      this.staleOf[rank] = (this.staleOf[rank] as number) * KEPT;
      this.lackOf[rank] = (this.lackOf[rank] as number) * KEPT;
    }
  }
}

function fullIntervalMs(targetMs: number): number {
  return Math.max(INTERVAL_MIN_MS, INTERVAL_TARGETS * targetMs);
}
