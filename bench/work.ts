/** A fixed amount of computing, as a stand-in for handlers that compute. */

/** After so many calls V8 has compiled it for good: the first code, made while a loop ran, may be more than twice as fast as the last. */
const warmCalls = 3_000;
/** The fastest of so many is what the machine can do when nobody disturbs it; and the number of steps is set anew so often. */
const tries = 300;
const rounds = 3;

/**
 * Work that takes `ms` of an undisturbed CPU. Not the clock of CPU time, which ticks every 4 ms on some kernels, nor wall time, of which another
 * process may take a part: the same number of steps each time, measured once.
 */
export function workOf(ms: number): () => number {
  let steps = 1_000;
  const work = (): number => compute(steps);
  for (let i = 0; i < warmCalls; i += 1) work();
  for (let round = 0; round < rounds; round += 1) {
    let fastestMs = Number.POSITIVE_INFINITY;
    for (let i = 0; i < tries; i += 1) {
      const startMs = performance.now();
      work();
      fastestMs = Math.min(fastestMs, performance.now() - startMs);
    }
    steps = Math.max(1, Math.round((steps * ms) / fastestMs));
  }
  return work;
}
function compute(steps: number): number {
  let hash = 1;
  for (let i = 0; i < steps; i++) hash = Math.imul(hash ^ i, 0x9e3779b1) ^ (hash >>> 13);
  return hash;
}
