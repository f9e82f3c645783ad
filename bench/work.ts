/** A fixed amount of computing, as a stand-in for handlers that compute. */
import { hash } from "node:crypto";

/** The fastest of so many is what the machine can do when nobody disturbs it; and the amount is set anew so often. */
const tries = 300;
const rounds = 3;

/**
 * Work that takes `ms` of an undisturbed CPU: the digest of so many bytes. Not the clock of CPU time, which ticks every 4 ms on some kernels, nor
 * wall time, of which another process may take a part, nor a loop of our own, which runs two and a half times as long or short as V8
 * happens to compile it this time: the same native code each time, measured once.
 */
export function workOf(ms: number): () => void {
  let bytes = new Uint8Array(100_000);
  const work = (): void => {
    hash("sha256", bytes, "hex");
  };
  for (let round = 0; round < rounds; round += 1) {
    let fastestMs = Number.POSITIVE_INFINITY;
    for (let i = 0; i < tries; i += 1) {
      const startMs = performance.now();
      work();
      fastestMs = Math.min(fastestMs, performance.now() - startMs);
    }
    bytes = new Uint8Array(Math.max(1, Math.round((bytes.length * ms) / fastestMs)));
  }
  return work;
}
