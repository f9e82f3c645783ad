/**
 * A token bucket for each key (a principal, a method), as the generic cell rate algorithm of ITU-T I.371: instead of tokens the time is kept
 * at which the bucket would be full again, one number a key. Used by, among others, Envoy's and redis-cell's limits.
 */
import type { Options } from "../../call/options.ts";
import { numberOption, resolveOptions } from "../../call/options.ts";

/** How many calls a key may make. */
export type RateLimitOptions = Options<{
  /** Calls a second, in the long run. Default 100, 0.001..1 000 000. */
  perSecond: number;
  /** Calls at once, after a time without any. Default 100: a second of them. 1..1 000 000. */
  burst: number;
  /**
   * Keys that are remembered. Default 10 000, 1..1 000 000. Beyond it those whose bucket is full again are forgotten, which changes nothing, and
   * where there are none the one that was seen first, which gives it a full bucket: a caller who can invent keys must be limited by something else.
   */
  keysMax: number;
}>;

const SHAPE = {
  perSecond: numberOption({ default: 100, min: 0.001, max: 1_000_000 }),
  burst: numberOption({ default: 100, min: 1, max: 1_000_000, integer: true }),
  keysMax: numberOption({ default: 10_000, min: 1, max: 1_000_000, integer: true }),
};

/** So many of the oldest keys are looked at when a new one needs room: the cost of a call stays bounded. */
const LOOKED_AT = 8;

interface Bucket {
  fullAtMs: number;
}

/** Takes a call of a key, or says when it may come again. Throws for options that are out of range or unknown. */
export class RateLimit {
  private readonly gapMs: number;
  private readonly toleranceMs: number;
  private readonly keysMax: number;
  private readonly buckets: Map<string, Bucket>;

  constructor(options?: RateLimitOptions) {
    const { perSecond, burst, keysMax } = resolveOptions("rateLimit", options, SHAPE);
    this.gapMs = 1_000 / perSecond;
    this.toleranceMs = (burst - 1) * this.gapMs;
    this.keysMax = keysMax;
    this.buckets = new Map();
  }

  /** Keys that are remembered now. */
  get size(): number {
    return this.buckets.size;
  }

  /** 0: the call may go, and is counted. Else it is not counted, and a call would go in so many milliseconds. */
  take(key: string, nowMs: number): number {
    const bucket = this.buckets.get(key) ?? this.made(key, nowMs);
    const fullAtMs = bucket.fullAtMs > nowMs ? bucket.fullAtMs : nowMs;
    const waitMs = fullAtMs - this.toleranceMs - nowMs;
    // Gaps that are no whole number add up to a little more than their sum.
    if (waitMs > this.gapMs * 1e-6) return waitMs;
    bucket.fullAtMs = fullAtMs + this.gapMs;
    return 0;
  }

  private made(key: string, nowMs: number): Bucket {
    if (this.buckets.size >= this.keysMax) this.makeRoom(nowMs);
    const bucket = { fullAtMs: nowMs };
    this.buckets.set(key, bucket);
    return bucket;
  }

  /** Those that are looked at and stay become the youngest, so that each gets its turn. */
  private makeRoom(nowMs: number): void {
    const looked: [string, Bucket][] = [];
    for (const entry of this.buckets) {
      looked.push(entry);
      if (looked.length === LOOKED_AT) break;
    }
    const kept = looked.filter(([, bucket]) => bucket.fullAtMs > nowMs);
    for (const [key] of looked) this.buckets.delete(key);
    // None was full: the first goes.
    for (const [key, bucket] of kept.length === looked.length ? kept.slice(1) : kept) this.buckets.set(key, bucket);
  }
}
