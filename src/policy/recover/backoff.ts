/**
 * How long to wait before going back to a peer that was tried, or to one that is overloaded: three families of growth, four kinds of
 * jitter. Jitter keeps clients that failed together from coming back together (Brooker, "Exponential Backoff And Jitter", AWS 2015;
 * Finagle's Backoff.scala has the same families).
 */

/** How waits grow. One shape for all families: what a family does not use is ignored. */
export interface BackoffRule {
  /** exponential: baseMs * factor^n. linear: baseMs + stepMs * n. constant: baseMs. n counts repeats, from 0. */
  readonly kind: "exponential" | "linear" | "constant";
  /** The wait before the first repeat, in milliseconds, before jitter. */
  readonly baseMs: number;
  /** What an exponential wait is multiplied with for each repeat. */
  readonly factor: number;
  /** What a linear wait grows by for each repeat, in milliseconds. */
  readonly stepMs: number;
  /** No wait is longer, in milliseconds. */
  readonly maxMs: number;
  /**
   * Where in the wait w chance falls. none: w. equal: w/2..w. full: 0..w. decorrelated: baseMs..3 x the wait before, which takes the place
   * of the family's growth.
   */
  readonly jitter: "none" | "equal" | "full" | "decorrelated";
}

/** 50 ms doubling up to 1 s, full jitter. */
export const DEFAULT_BACKOFF: BackoffRule = Object.freeze({
  kind: "exponential",
  baseMs: 50,
  factor: 2,
  stepMs: 0,
  maxMs: 1_000,
  jitter: "full",
});

/**
 * The wait before a repeat, in milliseconds, from 0 to `rule.maxMs`.
 *
 * @param repeat how many repeats went before, from 0.
 * @param previousMs the wait before the last repeat; 0 if there was none. Only decorrelated jitter looks at it.
 * @param chance in [0, 1).
 */
export function backoffDelayMs(rule: BackoffRule, repeat: number, previousMs: number, chance: number): number {
  if (rule.jitter === "decorrelated") return decorrelatedMs(rule, previousMs, chance);
  const waitMs = Math.min(rule.maxMs, grownMs(rule, repeat));
  switch (rule.jitter) {
    case "none":
      return waitMs;
    case "equal":
      return waitMs / 2 + (waitMs / 2) * chance;
    case "full":
      return waitMs * chance;
  }
}

function grownMs(rule: BackoffRule, repeat: number): number {
  switch (rule.kind) {
    case "exponential":
      // The power of many repeats is Infinity, and Infinity times 0 is no wait at all.
      return rule.baseMs === 0 ? 0 : rule.baseMs * rule.factor ** repeat;
    case "linear":
      return rule.baseMs + rule.stepMs * repeat;
    case "constant":
      return rule.baseMs;
  }
}

function decorrelatedMs(rule: BackoffRule, previousMs: number, chance: number): number {
  const fromMs = Math.min(rule.baseMs, rule.maxMs);
  const toMs = Math.min(rule.maxMs, 3 * Math.max(previousMs, fromMs));
  // The sum is rounded, and may come out above its end.
  return Math.min(toMs, fromMs + (toMs - fromMs) * chance);
}
