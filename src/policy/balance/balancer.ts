/**
 * Hot path: the choice of a peer for an attempt. What is rare (peers come, go, change) costs O(n) and is told by `changed`; what is
 * frequent, `pick`, is one synchronous step on dense arrays that allocates nothing.
 *
 * Peers stand in groups, by tier and, within a tier, those of the own zone before the others; Envoy's formula says what share of
 * the calls each group gets (shares.ts), and a draw says which one is asked first. In a group one kind of balancing chooses.
 *
 * Facts are never forgotten: who is not ready is not picked. Opinions are forgotten when fewer than half of the ready peers are thought
 * well (Envoy's panic threshold): then the opinion is more likely to be wrong than so many peers to be ill at once, and the last
 * ones standing would be overrun.
 */
import type { Random } from "../../world/random.ts";
import { type Candidate, isTier, isWeight } from "./candidate.ts";
import { FleetCost } from "./fleet-cost.ts";
import type { Group, GroupTools, PickGate } from "./group.ts";
import { RandomChoice } from "./random-choice.ts";
import { RoundRobinGroup } from "./round-robin.ts";
import { sharesOf } from "./shares.ts";
import type { GroupSize } from "./shares.ts";
import { TwoChoices } from "./two-choices.ts";
import { Weighted } from "./weighted.ts";

export type { PickGate } from "./group.ts";

/**
 * How one of several peers is chosen. `p2c-ewma`: of two at random, the one that costs less. `least-loaded`: of two at random, the one with
 * fewer calls in flight for its weight. `weighted`: in proportion to the weights, smoothly. `round-robin`: each in turn. `random`: any.
 * Only `p2c-ewma` sees latency and failures: by calls in flight alone, the peer that fails fastest looks best until it is ejected.
 * `round-robin` and `random` do not look at weights.
 */
export type BalanceKind = "p2c-ewma" | "round-robin" | "weighted" | "random" | "least-loaded";

/** What chooses the peer of an attempt. */
export interface Balancer<C extends Candidate> {
  /**
   * Members, readiness, health, weights, tiers or zones changed: all of them are looked at again (O(n), rare). Who has a weight or tier
   * that cannot be is left out: this runs under a call, which must not pay for what its owner should have checked.
   */
  changed(candidates: readonly C[], nowMs: number): void;
  /**
   * One synchronous step, O(1) whatever the number of peers as long as most of them admit the call; then all are asked once. Undefined:
   * nobody admits it, besides those excluded.
   */
  pick(nowMs: number, excluded: readonly C[] | undefined): C | undefined;
  /** Opinions are forgotten, for fewer than half are healthy. */
  readonly isPanicking: boolean;
  /** False: opinions are never forgotten, and a call waits while all are thought ill. Holds from the next `changed` on. */
  mayPanic: boolean;
}

/** What a balancer is made of. */
export interface BalancerOptions<C extends Candidate> {
  /** How a peer is chosen within a group. */
  readonly kind: BalanceKind;
  /** Chance. */
  readonly random: Random;
  /** Asked about a peer before it is picked. */
  readonly gate: PickGate<C>;
  /** The own zone: its peers are preferred and spill over. Default: none is preferred. */
  readonly zone?: string | undefined;
  /** How long a peer that became ready takes less than its share, 0..3,600,000 ms; 0 is off. Default 5,000. */
  readonly slowStartMs?: number | undefined;
}

const SLOW_START_MS = 5_000;
const SLOW_START_MAX_MS = 3_600_000;
/** Opinions are forgotten below this share of the ready peers. */
const PANIC_SHARE = 0.5;

export function createBalancer<C extends Candidate>(options: BalancerOptions<C>): Balancer<C> {
  const { kind, random, gate, zone, slowStartMs = SLOW_START_MS } = options;
  if (!(slowStartMs >= 0 && slowStartMs <= SLOW_START_MAX_MS))
    throw new RangeError(`slowStartMs must be 0..${SLOW_START_MAX_MS}, got ${slowStartMs}`);
  const tools: GroupTools<C> = { random, gate, slowStartMs };
  return new GroupBalancer<C>(random, zone, () => createGroup(kind, tools));
}

function createGroup<C extends Candidate>(kind: BalanceKind, tools: GroupTools<C>): Group<C> {
  switch (kind) {
    case "p2c-ewma":
      return new TwoChoices<C>(tools, "cost");
    case "least-loaded":
      return new TwoChoices<C>(tools, "in-flight");
    case "round-robin":
      return new RoundRobinGroup<C>(tools);
    case "weighted":
      return new Weighted<C>(tools);
    case "random":
      return new RandomChoice<C>(tools);
  }
}

/** Its owner may have changed them since it was made. */
function isSound({ weight, tier }: Candidate): boolean {
  return isWeight(weight) && isTier(tier);
}

/** Peers of one tier, in the own zone or outside. */
interface Part<C extends Candidate> {
  readonly tier: number;
  readonly isOwnZone: boolean;
  readonly group: Group<C>;
  readonly usable: C[];
  total: number;
}

class GroupBalancer<C extends Candidate> implements Balancer<C> {
  isPanicking: boolean;
  mayPanic: boolean;
  private readonly random: Random;
  private readonly zone: string | undefined;
  private readonly createGroup: () => Group<C>;
  private readonly fleet: FleetCost;
  private counted: readonly C[];
  /** Every part that the candidates belong to, so that a group keeps its place while nobody in it is usable. */
  private parts: readonly Part<C>[];
  /** Those of the groups that have members, most wanted first, and the sums of their shares. */
  private groups: readonly Group<C>[];
  private cumulated: readonly number[];

  constructor(random: Random, zone: string | undefined, create: () => Group<C>) {
    this.isPanicking = false;
    this.mayPanic = true;
    this.random = random;
    this.zone = zone;
    this.createGroup = create;
    this.fleet = new FleetCost();
    this.counted = [];
    this.parts = [];
    this.groups = [];
    this.cumulated = [];
  }

  pick(nowMs: number, excluded: readonly C[] | undefined): C | undefined {
    const { groups } = this;
    const chosen = groups.length > 1 ? this.drawGroup() : 0;
    const picked = groups[chosen]?.pick(nowMs, excluded);
    return picked !== undefined || groups.length < 2 ? picked : this.pickElsewhere(chosen, nowMs, excluded);
  }

  changed(members: readonly C[], nowMs: number): void {
    const candidates = members.every(isSound) ? members : members.filter(isSound);
    const ready = candidates.filter(({ isReady }) => isReady);
    const healthy = ready.filter(({ isHealthy }) => isHealthy);
    this.isPanicking = this.mayPanic && healthy.length < ready.length * PANIC_SHARE;
    this.count(candidates, ready, nowMs);
    this.parts = this.partsOf(candidates, this.isPanicking ? ready : healthy);
    const shares = sharesOfParts(this.parts);
    const groups: Group<C>[] = [];
    const cumulated: number[] = [];
    let sum = 0;
    this.parts.forEach(({ group, usable }, index) => {
      group.fill(usable);
      if (usable.length === 0) return;
      sum += shares[index] ?? 0;
      groups.push(group);
      cumulated.push(sum);
    });
    this.groups = groups;
    this.cumulated = cumulated;
  }

  /** A group by its share. The first one takes what rounding left over. */
  private drawGroup(): number {
    const { cumulated } = this;
    if ((cumulated[0] as number) >= 1) return 0;
    const drawn = this.random.float();
    for (let index = 0; index < cumulated.length; index += 1) if (drawn < (cumulated[index] as number)) return index;
    return 0;
  }

  private pickElsewhere(chosen: number, nowMs: number, excluded: readonly C[] | undefined): C | undefined {
    const { groups } = this;
    for (let index = 0; index < groups.length; index += 1) {
      const picked = index === chosen ? undefined : groups[index]?.pick(nowMs, excluded);
      if (picked !== undefined) return picked;
    }
    return undefined;
  }

  /** The mean cost is that of the ready peers; all others may ask for it too. */
  private count(candidates: readonly C[], ready: readonly C[], nowMs: number): void {
    const { fleet } = this;
    for (const candidate of this.counted) candidate.isCounted = false;
    for (const candidate of candidates) candidate.fleet = fleet;
    fleet.reset();
    for (const candidate of ready) {
      fleet.join(candidate.observedMs(nowMs), nowMs);
      candidate.isCounted = true;
    }
    this.counted = ready;
  }

  private partsOf(candidates: readonly C[], usable: readonly C[]): readonly Part<C>[] {
    const parts = new Map<number, Part<C>>();
    const partOf = (candidate: C): Part<C> => {
      const isOwnZone = this.zone !== undefined && candidate.zone === this.zone;
      const rank = candidate.tier * 2 + (isOwnZone ? 0 : 1);
      const known = parts.get(rank);
      if (known !== undefined) return known;
      const made = this.emptyPart(candidate.tier, isOwnZone);
      parts.set(rank, made);
      return made;
    };
    for (const candidate of candidates) partOf(candidate).total += 1;
    for (const candidate of usable) partOf(candidate).usable.push(candidate);
    return [...parts].sort(([rank], [other]) => rank - other).map(([, part]) => part);
  }

  /** With the group that this part had before, if it is not new. */
  private emptyPart(tier: number, isOwnZone: boolean): Part<C> {
    const before = this.parts.find((part) => part.tier === tier && part.isOwnZone === isOwnZone);
    return { tier, isOwnZone, group: before?.group ?? this.createGroup(), usable: [], total: 0 };
  }
}

/** What share of the calls each part gets: tiers against each other, then within a tier the own zone against the others. */
function sharesOfParts(parts: readonly Part<Candidate>[]): readonly number[] {
  const tiers = [...new Set(parts.map(({ tier }) => tier))];
  const sizes = parts.map(({ tier, usable, total }) => ({ tier, usable: usable.length, total }));
  const tierShares = sharesOf(tiers.map((tier) => sumOf(sizes.filter((size) => size.tier === tier))));
  return tiers.flatMap((tier, index) =>
    sharesOf(sizes.filter((size) => size.tier === tier)).map((share) => share * (tierShares[index] ?? 0)),
  );
}

function sumOf(sizes: readonly GroupSize[]): GroupSize {
  return {
    usable: sizes.reduce((sum, { usable }) => sum + usable, 0),
    total: sizes.reduce((sum, { total }) => sum + total, 0),
  };
}
