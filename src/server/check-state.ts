/**
 * What a dependency check is worth: an opinion from the outcomes of its runs, without time and without chance. Two failures in a row
 * turn it, one success turns it back: a single lost packet is no outage, and a server that can work again should (Envoy's health checks
 * have the two thresholds, and let the first success at startup suffice; they leave the numbers to their users).
 */
import type { ChecksWord } from "./health.ts";

/** Failures in a row after which a check counts as failing. */
export const FAILURES_TO_TURN = 2;

/** What is known of one check. */
export interface CheckState {
  /** It has passed at least once. */
  readonly hasPassed: boolean;
  readonly failuresInARow: number;
  readonly isFailing: boolean;
}

/** Of one that has not run yet. */
export const CHECK_UNKNOWN: CheckState = Object.freeze({ hasPassed: false, failuresInARow: 0, isFailing: false });

/** After one more run. */
export function checkStep(state: CheckState, hasPassed: boolean): CheckState {
  if (hasPassed) return { hasPassed: true, failuresInARow: 0, isFailing: false };
  const failuresInARow = state.failuresInARow + 1;
  return { hasPassed: state.hasPassed, failuresInARow, isFailing: failuresInARow >= FAILURES_TO_TURN };
}

/**
 * What all of them say together. An essential check that has never passed makes it `pending`, however often it has failed: the server has
 * not come up yet, and nothing was lost.
 */
export function checksWord(
  checks: Iterable<{ readonly isEssential: boolean; readonly state: CheckState }>,
): ChecksWord {
  let word: ChecksWord = "passing";
  for (const { isEssential, state } of checks) {
    if (isEssential && !state.hasPassed) return "pending";
    if (!state.isFailing) continue;
    if (isEssential) word = "failing";
    else if (word === "passing") word = "degraded";
  }
  return word;
}
