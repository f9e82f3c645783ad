/**
 * Drawing from a seed what a universe is made of.
 */
import type { Random } from "../../src/world/random.ts";

/** A whole number from `low` to `high`, both included. */
export function between(random: Random, low: number, high: number): number {
  return low + Math.floor(random.float() * (high - low + 1));
}

/** True for this share of draws. */
export function happens(random: Random, share: number): boolean {
  return random.float() < share;
}

/** Whole milliseconds around `meanMs`, exponentially distributed: mostly short, now and then long (at most 5 times the mean). */
export function around(random: Random, meanMs: number): number {
  return Math.max(1, Math.round(Math.min(5, -Math.log(1 - random.float())) * meanMs));
}

/** One of some. RangeError for an empty list. */
export function oneOf<T>(random: Random, list: readonly T[]): T {
  if (list.length === 0) throw new RangeError("nothing to choose from");
  return list[Math.floor(random.float() * list.length)] as T;
}

/** The same in another order. */
export function shuffled<T>(random: Random, list: readonly T[]): T[] {
  const mixed = [...list];
  for (let last = mixed.length - 1; last > 0; last--) {
    const other = between(random, 0, last);
    [mixed[last], mixed[other]] = [mixed[other] as T, mixed[last] as T];
  }
  return mixed;
}

/** Some of them, at least one, in their order. */
export function someOf<T>(random: Random, list: readonly T[]): T[] {
  const certain = between(random, 0, list.length - 1);
  return list.filter((_, index) => happens(random, 0.5) || index === certain);
}
