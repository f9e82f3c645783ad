/**
 * How fast a figure grows: the least-squares slope of samples over the work done, with its confidence. Neighbouring samples of a
 * heap resemble each other, which makes a plain standard error too small: it is widened by their autocorrelation, as for a time series with
 * AR(1) noise (Santer et al., J. Geophys. Res. 105, 2000, equation 6).
 */

export interface Slope {
  /** Units of y for one of x. */
  readonly perUnit: number;
  /** Two standard errors: with about 95 % the true slope lies within. */
  readonly within: number;
}

/** Of points with at least three different x; NaN otherwise. */
export function slopeOf(xs: readonly number[], ys: readonly number[]): Slope {
  const count = xs.length;
  const meanX = mean(xs);
  const meanY = mean(ys);
  let varianceX = 0;
  let covariance = 0;
  for (let i = 0; i < count; i += 1) {
    varianceX += ((xs[i] ?? 0) - meanX) ** 2;
    covariance += ((xs[i] ?? 0) - meanX) * ((ys[i] ?? 0) - meanY);
  }
  if (count < 3 || varianceX === 0) return { perUnit: Number.NaN, within: Number.NaN };
  const perUnit = covariance / varianceX;
  const rests = xs.map((x, i) => (ys[i] ?? 0) - meanY - perUnit * (x - meanX));
  const squares = rests.reduce((sum, rest) => sum + rest * rest, 0);
  if (squares === 0) return { perUnit, within: 0 };
  let lagged = 0;
  for (let i = 1; i < count; i += 1) lagged += (rests[i] ?? 0) * (rests[i - 1] ?? 0);
  const correlation = Math.min(0.9, Math.max(0, lagged / squares));
  // So many samples would say as much if they were independent.
  const worth = Math.max(3, (count * (1 - correlation)) / (1 + correlation));
  return { perUnit, within: 2 * Math.sqrt(squares / (worth - 2) / varianceX) };
}

/** What a figure has beyond its own dependence on another one, which moves it without being growth (Frisch and Waugh, Econometrica 1, 1933). */
export function without(beside: readonly number[], values: readonly number[]): readonly number[] {
  const { perUnit } = slopeOf(beside, values);
  if (Number.isNaN(perUnit)) return values;
  const middle = mean(beside);
  return values.map((value, i) => value - perUnit * ((beside[i] ?? 0) - middle));
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
