/**
 * Hot path: when an attempt is overdue: later than the method's own latency lets expect. An overdue attempt may be copied to another peer; it is
 * never ended by this. The delay follows the last 30 s ("The Tail at Scale", Dean and Barroso, CACM 2013: a copy
 * after the 95th percentile costs 5 %; after 1.5 x p99 less than 1 %).
 */
import type { LatencySketch } from "./latency-sketch.ts";

/** So much of the 99th percentile must have passed. */
const FACTOR = 1.5;
/** Fewer samples do not show a 99th percentile. */
const SAMPLES_MIN = 100;
/** Below this, noise of the two event loops is larger than what a copy could win. */
const DELAY_MIN_MS = 2;
/** An answer is used again for so long. */
const CACHE_MS = 100;
/** The quantiles that a policy can name; others are computed each time. */
const NAMED: readonly number[] = [0.9, 0.95, 0.98, 0.99];
const P99 = 3;

/** What a method's sketch says about waiting. An answer is at most 100 ms old. */
export class Overdue {
  private readonly sketch: LatencySketch;
  private readonly values: Float64Array;
  private readonly untilMs: Float64Array;
  private delay: number;
  private delayUntilMs: number;

  constructor(sketch: LatencySketch) {
    this.sketch = sketch;
    this.values = new Float64Array(NAMED.length).fill(Number.NaN);
    this.untilMs = new Float64Array(NAMED.length).fill(Number.NEGATIVE_INFINITY);
    this.delay = Number.POSITIVE_INFINITY;
    this.delayUntilMs = Number.NEGATIVE_INFINITY;
  }

  /** After how many milliseconds an attempt is overdue: 1.5 x p99, from 100 samples, never under 2 ms; Infinity before. */
  delayMs(nowMs: number): number {
    if (nowMs < this.delayUntilMs) return this.delay;
    this.delayUntilMs = nowMs + CACHE_MS;
    this.delay = this.isKnown(nowMs)
      ? Math.max(DELAY_MIN_MS, FACTOR * this.named(nowMs, P99))
      : Number.POSITIVE_INFINITY;
    return this.delay;
  }

  /** The method's 99th percentile in milliseconds; with few samples the largest; NaN without any. */
  p99Ms(nowMs: number): number {
    return this.named(nowMs, P99);
  }

  /**
   * The delay of a policy that names a quantile (`hedge.after: "p95"`), in milliseconds: that quantile, from 100 samples, never under 2 ms;
   * Infinity before. Throws a RangeError for a `q` outside 0..1.
   */
  quantileMs(nowMs: number, q: number): number {
    const index = NAMED.indexOf(q);
    if (index < 0 && !(q >= 0 && q <= 1)) throw new RangeError(`q must be 0..1, got ${q}`);
    if (!this.isKnown(nowMs)) return Number.POSITIVE_INFINITY;
    return Math.max(DELAY_MIN_MS, index < 0 ? this.sketch.quantile(nowMs, q) : this.named(nowMs, index));
  }

  private isKnown(nowMs: number): boolean {
    return this.sketch.count(nowMs) >= SAMPLES_MIN;
  }

  private named(nowMs: number, index: number): number {
    if (nowMs >= (this.untilMs[index] as number)) {
      const valueMs = this.sketch.quantile(nowMs, NAMED[index] as number);
      this.values[index] = valueMs;
      // That nothing is known yet is not worth remembering: the first samples may come at once.
      if (valueMs >= 0) this.untilMs[index] = nowMs + CACHE_MS;
    }
    return this.values[index] as number;
  }
}
