/**
 * Hot path: what a peer of this fleet costs on average, the measure for peers of which nothing is known, and what an answer usually
 * takes, the measure for failures.
 *
 * The mean is exact and kept in O(1): all costs fade at the same rate, so their sum fades at that rate too, and an observation adds
 * the difference that it made. A peer that was never observed counts as 0: while most are unknown, the unknown are the cheaper ones and
 * get tried; one newcomer among many gets the mean of the others, almost.
 */
import { decayOver } from "./decay.ts";

/** An answer moves what is usual by 1/32 of its distance: the last hundred answers count. */
const USUAL_WEIGHT = 1 / 32;

/** What is usual, 0 for nothing yet, after one more answer. It does not fade: seldom calls have to be judged too. */
export function usualAfter(usualMs: number, latencyMs: number): number {
  return usualMs === 0 ? latencyMs : usualMs + (latencyMs - usualMs) * USUAL_WEIGHT;
}

/** Costs of the ready peers of one balancer, in milliseconds. */
export class FleetCost {
  // First values here and not in a constructor, so that the fields are doubles from the start (see Candidate).

  /** Peers that are counted, those without a cost too. */
  count = 0;
  /** Latency that an answer of any of them usually has; 0 before the first. */
  usualMs = 0;
  private sumMs = 0;
  private sumAtMs = Number.NEGATIVE_INFINITY;

  /** Forgets the sum, which is then built anew. What is usual stays. */
  reset(): void {
    this.count = 0;
    this.sumMs = 0;
    this.sumAtMs = Number.NEGATIVE_INFINITY;
  }

  /** A peer whose cost is now `costMs` is counted from here on. */
  join(costMs: number, nowMs: number): void {
    this.count += 1;
    this.changedBy(costMs, nowMs);
  }

  /** The cost of a counted peer is now higher by so much. */
  changedBy(differenceMs: number, nowMs: number): void {
    // Rounding must not leave a sum below nothing.
    this.sumMs = Math.max(0, this.sumAt(nowMs) + differenceMs);
    if (nowMs > this.sumAtMs) this.sumAtMs = nowMs;
  }

  /** An answer took so long. */
  answered(latencyMs: number): void {
    this.usualMs = usualAfter(this.usualMs, latencyMs);
  }

  /** Mean cost of the counted peers; 0 without any. */
  meanMs(nowMs: number): number {
    return this.count === 0 ? 0 : this.sumAt(nowMs) / this.count;
  }

  /**
   * What a peer is thought to cost of which nothing is known: the mean, but no more than an answer usually takes, or one failing peer
   * would make every newcomer look dear.
   */
  unknownMs(nowMs: number): number {
    const meanMs = this.meanMs(nowMs);
    return this.usualMs > 0 && this.usualMs < meanMs ? this.usualMs : meanMs;
  }

  private sumAt(nowMs: number): number {
    return this.sumMs === 0 ? 0 : this.sumMs * decayOver(nowMs - this.sumAtMs);
  }
}
