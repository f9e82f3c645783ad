/**
 * Latencies drawn from a seed, in the shapes that the published experiments use.
 */
import type { Random } from "../../src/world/random.ts";

/** A normal deviate with mean 0 and deviation 1 (Box and Muller, 1958). */
export function normal(random: Random): number {
  // 1 - float() is never 0, of which there is no logarithm.
  return Math.sqrt(-2 * Math.log(1 - random.float())) * Math.cos(2 * Math.PI * random.float());
}

/** Normally distributed around `meanMs`; never below 0. */
export function normalMs(random: Random, meanMs: number, deviationMs: number): number {
  return Math.max(0, meanMs + deviationMs * normal(random));
}

/** Log-normally distributed: half of the draws lie below `medianMs`, the share `tailShare` above `tailMs`. */
export class LogNormalMs {
  private readonly random: Random;
  private readonly medianMs: number;
  private readonly sigma: number;

  /** RangeError for a tail that none of the known quantiles is at. */
  constructor(random: Random, medianMs: number, tail: { readonly share: number; readonly ms: number }) {
    const z = UPPER_QUANTILES[tail.share];
    if (z === undefined) {
      throw new RangeError(`tail.share must be one of ${Object.keys(UPPER_QUANTILES).join(", ")}, got ${tail.share}`);
    }
    this.random = random;
    this.medianMs = medianMs;
    this.sigma = Math.log(tail.ms / medianMs) / z;
  }

  draw(): number {
    return this.medianMs * Math.exp(this.sigma * normal(this.random));
  }
}

/** Above which deviate so large a share of a normal distribution lies. */
const UPPER_QUANTILES: Readonly<Record<number, number>> = { 0.05: 1.6449, 0.02: 2.0537, 0.01: 2.3263, 0.001: 3.0902 };
