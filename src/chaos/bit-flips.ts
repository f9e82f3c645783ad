/** Which bits of a stream flip: one in every so many bytes, wherever the chunks' borders are, or one in a share of the chunks. Pure. */
import type { Random } from "../world/random.ts";

/** Flips bits of one direction of one connection. */
export interface BitFlips {
  /** Flips, in place, what is due in the next bytes of the stream; gives back how many bits. */
  damage(chunk: Buffer): number;
}

/** One bit in each run of `everyBytes` bytes, at a place drawn for each run: the same places however the stream is cut. */
export function flipsEveryBytes(everyBytes: number, random: Random): BitFlips {
  // Both counted from the first byte that the next chunk brings.
  let flipAt = Math.floor(random.float() * everyBytes);
  let runEnd = everyBytes;
  return {
    damage(chunk) {
      let flips = 0;
      while (flipAt < chunk.length) {
        flip(chunk, flipAt, random);
        flips += 1;
        flipAt = runEnd + Math.floor(random.float() * everyBytes);
        runEnd += everyBytes;
      }
      flipAt -= chunk.length;
      runEnd -= chunk.length;
      return flips;
    },
  };
}

/** One bit, at a place drawn, in this share of the chunks. */
export function flipsInChunks(share: number, random: Random): BitFlips {
  return {
    damage(chunk) {
      if (chunk.length === 0 || random.float() >= share) return 0;
      flip(chunk, Math.floor(random.float() * chunk.length), random);
      return 1;
    },
  };
}

function flip(chunk: Buffer, at: number, random: Random): void {
  chunk[at] = (chunk[at] ?? 0) ^ (1 << (random.uint32() & 7));
}
