/**
 * Hot path: quantiles of a method's latency over the last 30 s, from a log-linear histogram (as HdrHistogram's) in typed
 * arrays: three slices of 10 s, the oldest forgotten as a whole, so that 20 to 30 s are seen (Finagle's backup requests keep the
 * same window). From 0.01 ms to 10 min, each octave in 24 equal parts: an answer is at most 2.1 % off. 7.3 KiB a sketch.
 */

/** The range that is told apart; what lies outside counts as its end. */
const MIN_MS = 0.01;
const MAX_MS = 600_000;
const SLICES = 3;
/** Parts of an octave. The error is 1 / (2 * PARTS + 1). */
const PARTS = 24;
const MANTISSA_BITS = 23;
const MANTISSA_MASK = (1 << MANTISSA_BITS) - 1;

/** A number's exponent and mantissa, read through the bits of its 32-bit form: no logarithm, and the same on any byte order. */
const FLOAT = new Float32Array(1);
const BITS = new Uint32Array(FLOAT.buffer);

const FIRST = partOf(MIN_MS);
const BUCKETS = partOf(MAX_MS) - FIRST + 1;

/** Latencies of late, as counts per part of an octave. */
export class LatencySketch {
  private readonly sliceMs: number;
  /** The buckets of the slices, one slice behind the other, and how many samples each slice holds. */
  private readonly buckets: Uint32Array;
  private readonly counts: Uint32Array;
  /** Number of the current slice since time 0, its place, where its buckets begin, and when it ends. */
  private slice: number;
  private at: number;
  private base: number;
  private sliceEndMs: number;

  /** @param windowMs how far back is looked, in milliseconds: default 30 000, 300..600 000. */
  constructor(windowMs = 30_000) {
    if (!(windowMs >= 300 && windowMs <= 600_000)) {
      throw new RangeError(`windowMs must be 300..600_000, got ${windowMs}`);
    }
    this.sliceMs = windowMs / SLICES;
    this.buckets = new Uint32Array(SLICES * BUCKETS);
    this.counts = new Uint32Array(SLICES);
    this.slice = Number.NEGATIVE_INFINITY;
    this.at = 0;
    this.base = 0;
    this.sliceEndMs = Number.NEGATIVE_INFINITY;
  }

  /** Adds a sample of `ms` milliseconds; NaN is none. What is still running is recorded at its age so far (a censored sample). */
  record(nowMs: number, ms: number): void {
    if (nowMs >= this.sliceEndMs) this.roll(nowMs);
    let within = ms;
    if (!(ms >= MIN_MS && ms <= MAX_MS)) {
      if (Number.isNaN(ms)) return;
      within = ms < MIN_MS ? MIN_MS : MAX_MS;
    }
    const index = this.base + partOf(within) - FIRST;
    this.buckets[index] = (this.buckets[index] as number) + 1;
    this.counts[this.at] = (this.counts[this.at] as number) + 1;
  }

  /** Samples in the window. */
  count(nowMs: number): number {
    if (nowMs >= this.sliceEndMs) this.roll(nowMs);
    let sum = 0;
    for (let i = 0; i < SLICES; i++) sum += this.counts[i] as number;
    return sum;
  }

  /**
   * The value in milliseconds that a share `q` of the samples does not exceed (nearest rank), at most 2.1 % off; NaN without samples. About
   * a microsecond: ask rarely, or through {@link Overdue}. Throws a RangeError for a `q` outside 0..1.
   */
  quantile(nowMs: number, q: number): number {
    if (!(q >= 0 && q <= 1)) throw new RangeError(`q must be 0..1, got ${q}`);
    const count = this.count(nowMs);
    if (count === 0) return Number.NaN;
    // 0.07 * 100 is a little more than 7, and must not become the eighth.
    const rank = Math.max(1, Math.ceil(q * count - 1e-6));
    const { buckets } = this;
    let seen = 0;
    for (let i = 0; i < BUCKETS; i++) {
      seen += (buckets[i] as number) + (buckets[i + BUCKETS] as number) + (buckets[i + 2 * BUCKETS] as number);
      if (seen >= rank) return middleOf(i + FIRST);
    }
    return MAX_MS;
  }

  /**
   * Enters the slice of `nowMs` and forgets those that are too old, however long nothing was asked. Only called when the current slice is
   * over: a clock that went back stays in the slice that it has.
   */
  private roll(nowMs: number): void {
    const slice = Math.floor(nowMs / this.sliceMs);
    for (let steps = Math.min(slice - this.slice, SLICES); steps > 0; steps--) {
      this.at = (this.at + 1) % SLICES;
      this.base = this.at * BUCKETS;
      // Most slices of a quiet method are empty already.
      if (this.counts[this.at] !== 0) this.buckets.fill(0, this.base, this.base + BUCKETS);
      this.counts[this.at] = 0;
    }
    this.slice = slice;
    this.sliceEndMs = (slice + 1) * this.sliceMs;
  }
}

/** The part of its octave that `ms` lies in, numbered through over all octaves. */
function partOf(ms: number): number {
  FLOAT[0] = ms;
  const bits = BITS[0] as number;
  return (bits >>> MANTISSA_BITS) * PARTS + (((bits & MANTISSA_MASK) * PARTS) >>> MANTISSA_BITS);
}

/** The value from which both ends of a part are equally far, in relative terms. */
function middleOf(part: number): number {
  const from = startOf(part);
  const to = startOf(part + 1);
  return (2 * from * to) / (from + to);
}

function startOf(part: number): number {
  const octave = Math.floor(part / PARTS);
  return 2 ** (octave - 127) * (1 + (part % PARTS) / PARTS);
}
