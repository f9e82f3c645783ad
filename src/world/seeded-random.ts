/**
 * Chance from a seed: xoshiro128** (Blackman and Vigna, 2018), its state spread from the seed by splitmix32. The same
 * seed gives the same numbers on every machine, so that a simulation can be played again. Not for secrets.
 */
import type { Random } from "./random.ts";

/**
 * Numbers drawn from `seed`: any finite number; its integer part and its fraction both count. Throws a RangeError for
 * NaN and infinities.
 */
export function seededRandom(seed: number): Random {
  if (!Number.isFinite(seed)) throw new RangeError(`seed must be a finite number, got ${seed}`);
  const words = new Uint32Array(new Float64Array([seed]).buffer);
  const low = words[0] ?? 0;
  const high = words[1] ?? 0;
  return new Xoshiro128(mixed(low), mixed(high), mixed(low ^ 0x9e3779b9), mixed(high ^ 0x243f6a88));
}

/** Numbers drawn from four words of state; they must not all be 0 (they then stay 0, so one is set). */
export function randomFromState(a: number, b: number, c: number, d: number): Random {
  return new Xoshiro128(a, b, c, d);
}

/** One step of splitmix32: spreads the bits of a word over all its bits. */
function mixed(word: number): number {
  let z = (word + 0x9e3779b9) | 0;
  z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
  z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
  return z ^ (z >>> 15);
}

class Xoshiro128 implements Random {
  private s0: number;
  private s1: number;
  private s2: number;
  private s3: number;

  constructor(a: number, b: number, c: number, d: number) {
    this.s0 = a | 0;
    this.s1 = b | 0;
    this.s2 = c | 0;
    this.s3 = (a | b | c | d) === 0 ? 1 : d | 0;
  }

  uint32(): number {
    const s1 = this.s1;
    const product = Math.imul(s1, 5);
    const result = Math.imul((product << 7) | (product >>> 25), 9);
    const s2 = this.s2 ^ this.s0;
    const s3 = this.s3 ^ s1;
    this.s1 = s1 ^ s2;
    this.s0 = this.s0 ^ s3;
    this.s2 = s2 ^ (s1 << 9);
    this.s3 = (s3 << 11) | (s3 >>> 21);
    return result >>> 0;
  }

  float(): number {
    const high = this.uint32() >>> 5;
    const low = this.uint32() >>> 6;
    return (high * 0x4000000 + low) / 0x20000000000000;
  }
}
