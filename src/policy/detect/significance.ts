/**
 * Whether a difference between two shares is more than chance: two proportions, Fisher's exact test, and many methods at once
 * (Cochran-Mantel-Haenszel). All one-sided: is the first group worse?
 */

/** Calls and failures of two groups on one method. */
export interface Stratum {
  readonly calls: number;
  readonly failures: number;
  readonly otherCalls: number;
  readonly otherFailures: number;
}

/** Fewer expected failures than this, and the normal curve is no model of the tail. */
const EXPECTED_MIN = 10;
/** What a term of the tail adds less than is left out. */
const NEGLIGIBLE = 1e-12;

/** How many standard errors the first share of failures lies above the second; 0 where nothing can be said. */
export function shareDifferenceZ(failures: number, calls: number, otherFailures: number, otherCalls: number): number {
  if (calls <= 0 || otherCalls <= 0) return 0;
  const pooled = (failures + otherFailures) / (calls + otherCalls);
  const variance = pooled * (1 - pooled) * (1 / calls + 1 / otherCalls);
  return variance <= 0 ? 0 : (failures / calls - otherFailures / otherCalls) / Math.sqrt(variance);
}

/** The chance that the first group has as many failures or more if both fail alike: Fisher's exact test, upper tail. */
export function fisherExactP(stratum: Stratum): number {
  const { calls, failures, otherCalls, otherFailures } = stratum;
  const expected = (calls * (failures + otherFailures)) / (calls + otherCalls);
  // Terms are summed away from the mode, where they fall; a sum that begins in the far tail would begin with 0.
  if (failures > expected) return Math.min(1, tail(stratum, failures, 1));
  return Math.max(0, 1 - tail(stratum, failures - 1, -1));
}

/** The hypergeometric terms from `from` failures in the first group on, upwards or downwards, each from the one before. */
function tail({ calls, failures, otherCalls, otherFailures }: Stratum, from: number, step: 1 | -1): number {
  const failed = failures + otherFailures;
  const least = Math.max(0, failed - otherCalls);
  const most = Math.min(calls, failed);
  if (from < least || from > most) return 0;
  let term = Math.exp(
    logChoose(calls, from) + logChoose(otherCalls, failed - from) - logChoose(calls + otherCalls, failed),
  );
  let sum = 0;
  for (let x = from; x >= least && x <= most; x += step) {
    sum += term;
    if (term < sum * NEGLIGIBLE) break;
    term *=
      step === 1
        ? ((calls - x) * (failed - x)) / ((x + 1) * (otherCalls - failed + x + 1))
        : (x * (otherCalls - failed + x)) / ((calls - x + 1) * (failed - x + 1));
  }
  return sum;
}

/**
 * The chance, if on each method both groups fail alike, that the first has failures so many more: Cochran-Mantel-Haenszel with
 * continuity correction where enough failures are expected, else Fisher's test per method times the number of methods
 * (Bonferroni), which is too careful rather than too bold.
 */
export function strataP(strata: readonly Stratum[]): number {
  let failures = 0;
  let expected = 0;
  let variance = 0;
  for (const { calls, failures: own, otherCalls, otherFailures } of strata) {
    const all = calls + otherCalls;
    if (calls === 0 || otherCalls === 0 || all < 2) continue;
    const failed = own + otherFailures;
    failures += own;
    expected += (calls * failed) / all;
    variance += (calls * otherCalls * failed * (all - failed)) / (all * all * (all - 1));
  }
  if (variance > 0 && expected >= EXPECTED_MIN) return normalTail((failures - expected - 0.5) / Math.sqrt(variance));
  let least = 1;
  for (const stratum of strata) {
    if (stratum.calls > 0 && stratum.otherCalls > 0) least = Math.min(least, fisherExactP(stratum));
  }
  return Math.min(1, least * Math.max(1, strata.length));
}

/** P(Z >= z): Abramowitz and Stegun 26.2.17, absolute error below 7.5e-8. */
export function normalTail(z: number): number {
  if (z < 0) return 1 - normalTail(-z);
  const t = 1 / (1 + 0.2316419 * z);
  const density = Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI);
  return density * t * (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
}

function logChoose(n: number, k: number): number {
  return logFactorial(n) - logFactorial(k) - logFactorial(n - k);
}

/** ln n!: summed for small n, Stirling's series beyond (error below 1e-10). */
function logFactorial(n: number): number {
  if (n < 16) {
    let sum = 0;
    for (let i = 2; i <= n; i += 1) sum += Math.log(i);
    return sum;
  }
  const inverse = 1 / n;
  return (
    (n + 0.5) * Math.log(n) - n + 0.5 * Math.log(2 * Math.PI) + inverse / 12 - inverse ** 3 / 360 + inverse ** 5 / 1260
  );
}
