/**
 * What streams carry in the benchmarks.
 */
import type { Item } from "./contender.ts";

/** `count` items numbered from 0, each with a text of `size` characters: what streams carry in both directions. */
export function* numberedItems(count: number, size: number): Generator<Item, undefined> {
  const text = "x".repeat(size);
  for (let index = 0; index < count; index += 1) yield { index, text };
  return undefined;
}
