/**
 * Hot path: what one peer did with one method lately: outcomes of the last 30 s in six slices, and a histogram of latencies in
 * two windows, the one that fills and the one before. Counting is two or three writes into typed arrays.
 */
import { OUTCOME_LATE, OUTCOME_OK, OUTCOME_RAISED, OUTCOME_TRANSPORT } from "./outcome.ts";

/** Slices of the window of outcomes; the detector says which one is now. */
export const SLICES = 6;
export const SLICE_MS = 5_000;

/** Latencies lie in 16 us .. 67 s, eight buckets to each doubling: a bucket is at most an eighth wide. */
const LEAST_US = 16;
const MOST_US = 2 ** 26 - 1;
const SUB_SHIFT = 3;
const SUBS = 1 << SUB_SHIFT;
const LEAST_EXPONENT = 4;
const BUCKETS = (26 - LEAST_EXPONENT) * SUBS;

/** Fewer samples have no median. */
export const SAMPLES_MIN = 20;
/** A window of latencies ends when it is old enough and full enough, or too old. */
const WINDOW_MS_MIN = 2_000;
const WINDOW_MS_MAX = 15_000;
/** How fast the peer's own past follows it. */
const PAST_MS = 60_000;

/** So many are kept in one small integer before they are worth a histogram of 0.7 KiB: a client of a call now and then has no median. */
const EARLY_MAX = 3;
/** A slice of nothing; only zeros are written here. */
const NO_COUNTS: number[] = [0, 0, 0, 0, 0];
/** A histogram of nothing; only zeros are written here. */
const NONE = new Uint32Array(BUCKETS);

/** One for a peer and method, made at their first call. */
export class MethodFigures {
  /** The detector's number of the method. */
  readonly slot: number;
  /** By slice, then by outcome (0..4); {@link NO_COUNTS} where nothing was counted. Plain arrays: typed ones so short are larger. */
  private readonly slices: number[][];
  /** Which run of faults `runRaised` belongs to: `PeerRecord.runId` then. */
  runId: number;
  /** Codes raised by this method's handler in that run. */
  runRaised: number;
  /** It has counted since it was last summed up, and stands in the detector's list of such. */
  isTouched: boolean;
  /** Calls and faults in the window; as of {@link summarize}. */
  calls: number;
  faults: number;
  /** Its median latency in milliseconds as of {@link findMedian}; NaN: too few samples. */
  medianMs: number;
  /** What its median used to be while the peer was in line with the others; NaN: unknown. */
  pastMs: number;
  /** The buckets of the first latencies of a window, a byte each, as long as `filling` is {@link NONE}. */
  private early: number;
  private filling: Uint32Array;
  private before: Uint32Array;
  private fillingCount: number;
  /** `fillingCount` when the median was found; -1: it must be found again. */
  private medianCount: number;
  private beforeCount: number;
  private fillingSinceMs: number;

  constructor(slot: number, nowMs: number) {
    this.slot = slot;
    this.slices = [NO_COUNTS, NO_COUNTS, NO_COUNTS, NO_COUNTS, NO_COUNTS, NO_COUNTS];
    this.runId = -1;
    this.runRaised = 0;
    this.isTouched = false;
    this.calls = 0;
    this.faults = 0;
    this.medianMs = Number.NaN;
    this.pastMs = Number.NaN;
    this.early = 0;
    this.filling = NONE;
    this.before = NONE;
    this.fillingCount = 0;
    this.medianCount = -1;
    this.beforeCount = 0;
    this.fillingSinceMs = nowMs;
  }

  count(slice: number, outcome: number): void {
    let counts = this.slices[slice] as number[];
    if (counts === NO_COUNTS) {
      counts = [0, 0, 0, 0, 0];
      this.slices[slice] = counts;
    }
    counts[outcome] = (counts[outcome] as number) + 1;
  }

  /** A latency in milliseconds; what is no number >= 0 is ignored. */
  latency(ms: number): void {
    if (!(ms >= 0)) return;
    const scaled = ms * 1_000;
    const us = scaled < LEAST_US ? LEAST_US : scaled > MOST_US ? MOST_US : scaled | 0;
    const exponent = 31 - Math.clz32(us);
    const bucket = ((exponent - LEAST_EXPONENT) << SUB_SHIFT) | ((us >> (exponent - SUB_SHIFT)) & (SUBS - 1));
    const before = this.fillingCount;
    this.fillingCount = before + 1;
    if (this.filling === NONE) {
      if (before < EARLY_MAX) {
        this.early = ((this.early << 8) | bucket) & 0xffffff;
        return;
      }
      this.makeHistogram(before);
    }
    this.filling[bucket] = (this.filling[bucket] ?? 0) + 1;
  }

  /** The slice begins anew. */
  clearSlice(slice: number): void {
    // Those of no slice are zeros already.
    this.slices[slice]?.fill(0);
  }

  /** The slice's late outcomes were not the peer's fault. */
  excuseLate(slice: number): void {
    (this.slices[slice] as number[])[OUTCOME_LATE] = 0;
  }

  /** Sums the window up into `calls` and `faults`. */
  summarize(): void {
    this.faults = this.sum(OUTCOME_TRANSPORT) + this.sum(OUTCOME_RAISED) + this.sum(OUTCOME_LATE);
    this.calls = this.faults + this.sum(OUTCOME_OK);
  }

  /** Brings `medianMs` up to date: dearer than counts, so only for regular sweeps. */
  findMedian(): void {
    if (this.fillingCount === this.medianCount) return;
    this.medianCount = this.fillingCount;
    this.medianMs = this.median();
  }

  /** Begins a new window of latencies where the old one has served. @param isInLine whether the peer's past may learn from it. */
  turn(nowMs: number, isInLine: boolean): void {
    const ageMs = nowMs - this.fillingSinceMs;
    const isFull = ageMs >= WINDOW_MS_MIN && this.fillingCount >= SAMPLES_MIN;
    if (!isFull && ageMs < WINDOW_MS_MAX) return;
    if (isInLine && !Number.isNaN(this.medianMs)) {
      const share = Math.min(1, ageMs / PAST_MS);
      // In proportions, so that a thousandfold rise does not swallow the past in one step.
      this.pastMs = Number.isNaN(this.pastMs) ? this.medianMs : this.pastMs * (this.medianMs / this.pastMs) ** share;
    }
    if (this.filling === NONE && this.fillingCount > 0) this.makeHistogram(this.fillingCount);
    const oldest = this.before;
    this.before = this.filling;
    this.beforeCount = this.fillingCount;
    this.filling = oldest.fill(0);
    this.fillingCount = 0;
    this.medianCount = -1;
    this.fillingSinceMs = nowMs;
  }

  /** Forgets everything but the past: a peer that returns needs the full evidence again. */
  clear(nowMs: number): void {
    for (const counts of this.slices) counts.fill(0);
    this.filling.fill(0);
    this.before.fill(0);
    this.fillingCount = 0;
    this.medianCount = -1;
    this.beforeCount = 0;
    this.fillingSinceMs = nowMs;
    this.runRaised = 0;
    this.calls = 0;
    this.faults = 0;
    this.medianMs = Number.NaN;
  }

  /** There are too many latencies for an integer, or they are needed as a histogram. */
  private makeHistogram(count: number): void {
    const made = new Uint32Array(BUCKETS);
    for (let at = 0; at < count; at += 1) {
      const bucket = (this.early >> (8 * at)) & 0xff;
      made[bucket] = (made[bucket] ?? 0) + 1;
    }
    this.filling = made;
  }

  private sum(outcome: number): number {
    let sum = 0;
    for (let slice = 0; slice < SLICES; slice += 1) sum += this.slices[slice]?.[outcome] ?? 0;
    return sum;
  }

  /** Of the window that fills if it has enough samples, since it knows a change first; else of both. */
  private median(): number {
    const isEnough = this.fillingCount >= SAMPLES_MIN;
    const total = this.fillingCount + (isEnough ? 0 : this.beforeCount);
    if (total < SAMPLES_MIN) return Number.NaN;
    if (this.filling === NONE) this.makeHistogram(this.fillingCount);
    let left = total / 2;
    for (let bucket = 0; bucket < BUCKETS; bucket += 1) {
      const inBucket = (this.filling[bucket] ?? 0) + (isEnough ? 0 : (this.before[bucket] ?? 0));
      if (inBucket >= left) return bucketMs(bucket, left / inBucket);
      left -= inBucket;
    }
    return MOST_US / 1_000;
  }
}

/** The latency at a share of a bucket. */
function bucketMs(bucket: number, share: number): number {
  const shift = (bucket >> SUB_SHIFT) + LEAST_EXPONENT - SUB_SHIFT;
  return ((SUBS + (bucket & (SUBS - 1)) + share) * 2 ** shift) / 1_000;
}
