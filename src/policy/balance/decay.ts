/**
 * Hot path: how what was seen of a peer fades: to 1/e in 10 s, the decay of Finagle's `PeakEwma`. A cost that halves in 7 s lets a
 * peer that was slow be tried again without anybody deciding so.
 */

/** What was seen this long ago counts for 1/e of itself. */
export const DECAY_MS = 10_000;
/** Within a step the first three terms of the series are exact to 2 in 10 million; whole steps are looked up. */
const STEP_MS = 100;
const STEPS = 1_024;
const AFTER_STEPS = Float64Array.from({ length: STEPS }, (_, step) => Math.exp((-step * STEP_MS) / DECAY_MS));

/** e^(-elapsed / 10 s), to 2 in 10 million, without an exponential for the first 100 s. Time that runs backwards counts as none. */
export function decayOver(elapsedMs: number): number {
  if (elapsedMs < STEP_MS) return elapsedMs > 0 ? withinStep(elapsedMs) : 1;
  if (elapsedMs >= STEP_MS * STEPS) return Math.exp(-elapsedMs / DECAY_MS);
  const step = (elapsedMs * (1 / STEP_MS)) | 0;
  return (AFTER_STEPS[step] as number) * withinStep(elapsedMs - step * STEP_MS);
}

function withinStep(elapsedMs: number): number {
  const share = elapsedMs * (1 / DECAY_MS);
  return 1 - share * (1 - 0.5 * share);
}
