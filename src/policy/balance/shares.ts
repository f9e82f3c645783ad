/**
 * How calls are shared between groups of peers of falling preference: Envoy's priority formula. A group keeps all of its calls until
 * fewer than 1/1.4 = 72 % of its peers can be used; below that, the rest spills over to the next. Pure.
 */

/** A group can carry so many times what it must: 1.4 is Envoy's overprovisioning factor. */
const OVERPROVISIONING = 1.4;

/** Peers of one group. */
export interface GroupSize {
  /** Those that calls may be sent to. */
  readonly usable: number;
  /** All that belong to it. */
  readonly total: number;
}

/**
 * The share of each group, in 0..1, in the order given, most wanted first. They add up to 1 if any peer is usable, else they are 0.
 * health(G) = min(1, 1.4 x usable / total); share(G) = health(G) / min(1, sum of healths), of what the ones before have left.
 */
export function sharesOf(groups: readonly GroupSize[]): readonly number[] {
  const healths = groups.map(({ usable, total }) =>
    total === 0 ? 0 : Math.min(1, (OVERPROVISIONING * usable) / total),
  );
  const sum = Math.min(
    1,
    healths.reduce((before, health) => before + health, 0),
  );
  let left = 1;
  return healths.map((health) => {
    const share = sum === 0 ? 0 : Math.min(left, health / sum);
    left -= share;
    return share;
  });
}
