/**
 * Wilson's score interval: between which bounds a probability lies, of which k successes in n trials were seen.
 * Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927), without correction
 * for continuity. Unlike p ± z·sqrt(p(1-p)/n) it stays in 0..1 and says something also when nothing has failed yet.
 */

/** The quantile of the normal distribution for 95 % on two sides. */
const z95 = 1.959963984540054;

/**
 * The interval of 95 %. Without trials nothing is known: [0, 1]. RangeError unless 0 <= successes <= trials < Infinity.
 *
 *     (p + z²/2n ± z·sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n)        with p = successes / trials, n = trials, z = 1.96
 */
export function wilsonInterval(successes: number, trials: number): readonly [low: number, high: number] {
  if (!(trials >= 0 && trials < Infinity)) throw new RangeError(`trials must be 0 or more, got ${trials}`);
  if (!(successes >= 0 && successes <= trials))
    throw new RangeError(`successes must be 0..${trials}, got ${successes}`);
  if (trials === 0) return [0, 1];
  const failures = trials - successes;
  const zz = z95 * z95;
  // Everything times n, so that nothing is divided by it twice.
  const centre = successes + zz / 2;
  const half = z95 * Math.sqrt((successes * failures) / trials + zz / 4);
  const scale = trials + zz;
  // The bounds at the ends are exact: rounding must not put a certain answer outside of its interval.
  const low = Math.max(0, (centre - half) / scale);
  const high = failures === 0 ? 1 : Math.min(1, (centre + half) / scale);
  return [low, high];
}
