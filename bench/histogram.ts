/**
 * A latency histogram: log-linear buckets in a typed array, so that recording costs a few nanoseconds and allocates
 * nothing. 128 buckets an octave: a quantile is within 0.8 % of the true value.
 */

const bucketBits = 7;
const bucketsPerOctave = 1 << bucketBits;
/** 0.1 us a unit: 32 bits reach seven minutes. */
const unitsPerMs = 10_000;
const unitsMax = 2 ** 32 - 1;
const bucketCount = (32 - bucketBits) * bucketsPerOctave + bucketsPerOctave;

export class Histogram {
  readonly #counts = new Float64Array(bucketCount);
  #count = 0;

  /** How many values were recorded. */
  get count(): number {
    return this.#count;
  }

  /** Records one duration in ms. Negative ones count as 0, those over seven minutes as seven minutes. */
  record(ms: number): void {
    const units = ms > 0 ? Math.min(Math.round(ms * unitsPerMs), unitsMax) : 0;
    const index = bucketOf(units);
    this.#counts[index] = (this.#counts[index] ?? 0) + 1;
    this.#count += 1;
  }

  /** The value in ms below which `share` (0..1) of the recorded values lie; 0 if nothing was recorded. */
  quantile(share: number): number {
    const rank = Math.max(1, Math.ceil(share * this.#count));
    let seen = 0;
    for (let index = 0; index < bucketCount; index += 1) {
      seen += this.#counts[index] ?? 0;
      if (seen >= rank) return middleOf(index) / unitsPerMs;
    }
    return 0;
  }

  reset(): void {
    this.#counts.fill(0);
    this.#count = 0;
  }
}

function bucketOf(units: number): number {
  if (units < bucketsPerOctave) return units;
  const shift = 31 - bucketBits - Math.clz32(units);
  return shift * bucketsPerOctave + (units >>> shift);
}

function middleOf(index: number): number {
  if (index < 2 * bucketsPerOctave) return index;
  const shift = Math.floor(index / bucketsPerOctave) - 1;
  const low = (bucketsPerOctave + (index % bucketsPerOctave)) * 2 ** shift;
  return low + (2 ** shift - 1) / 2;
}
