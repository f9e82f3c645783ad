/**
 * Latencies, in logarithmic buckets: recording costs a few nanoseconds and allocates nothing, and a quantile is within 2 % of
 * the truth, however many calls there were.
 */
const BUCKETS_PER_OCTAVE = 32;
/** From 1 us: 32 octaves reach over an hour. */
const OCTAVES = 32;
const US_PER_MS = 1_000;

export class Histogram {
  readonly #counts: Uint32Array;
  #count: number;
  #maxMs: number;

  constructor() {
    this.#counts = new Uint32Array(BUCKETS_PER_OCTAVE * OCTAVES);
    this.#count = 0;
    this.#maxMs = 0;
  }

  /** The longest recorded duration; 0 if there is none. */
  get maxMs(): number {
    return this.#maxMs;
  }

  record(ms: number): void {
    const octaves = Math.log2(Math.max(1, ms * US_PER_MS));
    const index = Math.min(this.#counts.length - 1, Math.floor(octaves * BUCKETS_PER_OCTAVE));
    this.#counts[index] = (this.#counts[index] ?? 0) + 1;
    this.#count += 1;
    if (ms > this.#maxMs) this.#maxMs = ms;
  }

  /** The duration that `share` (0..1) of the recorded ones do not exceed; 0 if there is none. */
  quantileMs(share: number): number {
    const rank = Math.max(1, Math.ceil(share * this.#count));
    let seen = 0;
    for (const [index, count] of this.#counts.entries()) {
      seen += count;
      if (seen >= rank) return Math.min(this.#maxMs, 2 ** ((index + 0.5) / BUCKETS_PER_OCTAVE) / US_PER_MS);
    }
    return 0;
  }

  reset(): void {
    this.#counts.fill(0);
    this.#count = 0;
    this.#maxMs = 0;
  }
}
