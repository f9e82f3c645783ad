/**
 * A peer whose messages fail their checksum again and again: one flipped bit is bad luck, three in a minute are bad memory or a
 * bad path. Pure; one for a peer.
 */

/** When corruption is no longer chance. */
export interface CorruptionOptions {
  /** Failed checksums that eject, 1..100. Default 3. */
  readonly failures?: number | undefined;
  /** In how many milliseconds they must fall, > 0. Default 60,000. */
  readonly windowMs?: number | undefined;
}

/** Counts failed checksums in a sliding window. */
export class Corruption {
  private readonly windowMs: number;
  /** When the last failures were, as a ring: the oldest is the next to be overwritten. */
  private times: Float64Array | undefined;
  private readonly failures: number;
  private next: number;

  /** Throws a RangeError for an option outside its range. */
  constructor(options?: CorruptionOptions) {
    const { failures = 3, windowMs = 60_000 } = options ?? {};
    if (!Number.isInteger(failures) || failures < 1 || failures > 100)
      throw new RangeError(`corruption.failures must be 1..100, got ${failures}`);
    if (!(windowMs > 0)) throw new RangeError(`corruption.windowMs must be > 0, got ${windowMs}`);
    this.windowMs = windowMs;
    this.failures = failures;
    // Made at the first failure: most peers have none.
    this.times = undefined;
    this.next = 0;
  }

  /** A checksum did not match. True: eject the peer now; the count then begins anew, so that a returned peer needs as many again. */
  failed(nowMs: number): boolean {
    const times = (this.times ??= new Float64Array(this.failures).fill(Number.NEGATIVE_INFINITY));
    times[this.next] = nowMs;
    this.next = (this.next + 1) % times.length;
    const oldestMs = times[this.next] ?? Number.NEGATIVE_INFINITY;
    if (nowMs - oldestMs > this.windowMs) return false;
    times.fill(Number.NEGATIVE_INFINITY);
    return true;
  }
}
