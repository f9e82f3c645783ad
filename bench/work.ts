/** A fixed amount of computing, as a stand-in for handlers that compute. */

/** Each try takes about so long, and the fastest of so many is what the machine can do when nobody disturbs it. */
const tryMs = 20;
const tries = 20;

/**
 * Work that takes `ms` of an undisturbed CPU. Not the clock of CPU time, which ticks every 4 ms on some kernels, nor wall time, of which another
 * process may take a part: the same number of steps each time, measured once.
 */
export function workOf(ms: number): () => number {
  let stepsPerMs = 0;
  let steps = 1_000;
  for (let done = 0; done < tries; ) {
    const startMs = performance.now();
    compute(steps);
    const tookMs = performance.now() - startMs;
    if (tookMs < tryMs / 2) {
      steps *= 2;
      continue;
    }
    stepsPerMs = Math.max(stepsPerMs, steps / tookMs);
    done += 1;
  }
  const wanted = Math.max(1, Math.round(stepsPerMs * ms));
  return () => compute(wanted);
}

function compute(steps: number): number {
  let hash = 1;
  for (let i = 0; i < steps; i++) hash = Math.imul(hash ^ i, 0x9e3779b1) ^ (hash >>> 13);
  return hash;
}
