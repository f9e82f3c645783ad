/** Damage to bytes at a place that is a part of their length: what a corrupted or truncated reply looks like. */

/**
 * A copy with one bit flipped; `part`, [0, 1), is where among all its bits. Without bytes there is nothing to flip: an empty copy.
 */
export function flippedAt(bytes: Uint8Array, part: number): Buffer {
  checkPart(part);
  const damaged = Buffer.from(bytes);
  const bit = Math.floor(part * damaged.length * 8);
  const at = bit >>> 3;
  if (damaged.length > 0) damaged[at] = (damaged[at] ?? 0) ^ (1 << (bit & 7));
  return damaged;
}

/** The beginning that arrives, the same memory: always less than the whole, unless there are no bytes. `part` is in [0, 1). */
export function cutAt(bytes: Uint8Array, part: number): Uint8Array {
  checkPart(part);
  return bytes.subarray(0, Math.floor(part * bytes.length));
}

function checkPart(part: number): void {
  if (!(part >= 0 && part < 1)) throw new RangeError(`part must be 0 or more and below 1, got ${part}`);
}
