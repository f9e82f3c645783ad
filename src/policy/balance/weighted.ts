/**
 * Hot path: smooth weighted round robin by gRPC's static stride scheduler (gRFC A58): members are gone through in order, and each lets
 * its turn pass or takes it, so that of any g of its turns it takes g x weight / greatest weight, give or take less than one. No heap
 * and no chance. (gRPC lets neighbours begin half a stride apart; here it is a golden section.)
 *
 * A choice goes through as many turns as the greatest weight has means, so gRPC caps weights at ten times the mean. Here nothing is
 * capped: a member that weighs more than eight means stands in the ring several times, with a part of its weight each. These
 * parts begin evenly apart, so that together they take as even turns as one would (Hermite's identity), and a choice goes through
 * nine turns on average at most, however unequal the weights are.
 */
import type { Candidate } from "./candidate.ts";
import { Group, REDRAWS_MAX, SLOW_REDRAWS_MAX } from "./group.ts";

/** The greatest part is scaled to this; one of less than 1/65,535 of it counts as that much. */
const SCALE = 65_535;
/** Neighbours begin a golden section of a stride apart: a hundred light ones take their turns one by one, not fifty by fifty. */
const PHASE = 40_503;
/** A part weighs at most so many times the mean weight of a member. */
const PART_MAX = 8;

/** A member's place in the ring. */
interface Slot<C> {
  readonly member: C;
  /** Which of the members. */
  readonly order: number;
  readonly weight: number;
  /** Which of how many parts of the member. */
  readonly part: number;
  readonly parts: number;
  /** Slots stand in the ring in this order. */
  readonly place: number;
}

export class Weighted<C extends Candidate> extends Group<C> {
  private ring: readonly C[] = [];
  private strides = new Uint16Array(0);
  /** How far each slot is on its way to its next turn, in 0 .. SCALE - 1. */
  private progress = new Uint16Array(0);
  private index = 0;

  pick(nowMs: number, excluded: readonly C[] | undefined): C | undefined {
    const { ring, slowStart } = this;
    if (ring.length < 2) return this.scan(nowMs, excluded);
    const isSlow = slowStart.isOn(nowMs);
    const refusalsMax = isSlow ? SLOW_REDRAWS_MAX : REDRAWS_MAX;
    for (let refusals = 0; refusals <= refusalsMax; refusals += 1) {
      const candidate = ring[this.turn()] as C;
      if (isSlow && slowStart.passes(candidate, nowMs, this.random)) continue;
      if (this.mayTake(candidate, nowMs, excluded)) return candidate;
    }
    return this.scan(nowMs, excluded);
  }

  /** Whose turn it is. One slot has the stride SCALE and takes every turn, so this ends within one round. */
  private turn(): number {
    const { strides, progress } = this;
    for (;;) {
      const { index } = this;
      this.index = index + 1 === strides.length ? 0 : index + 1;
      const reached = (progress[index] as number) + (strides[index] as number);
      if (reached >= SCALE) {
        progress[index] = reached - SCALE;
        return index;
      }
      progress[index] = reached;
    }
  }

  /** Members that stay keep their progress, so that frequent changes favour nobody; for the others the sequence begins anywhere. */
  protected override refilled(): void {
    const known = new Map<C, number>();
    this.ring.forEach((member, index) => {
      if (!known.has(member)) known.set(member, this.progress[index] ?? 0);
    });
    const next = this.ring[this.index];
    const slots = slotsOf(this.members);
    const greatest = slots.reduce((before, { weight }) => Math.max(before, weight), 0);
    const strides = Uint16Array.from(slots, ({ weight }) => Math.max(1, Math.round((weight / greatest) * SCALE)));
    const generation = this.draw(SCALE);
    this.progress = Uint16Array.from(slots, ({ member, order, part, parts }, index) => {
      const begin = known.get(member) ?? (strides[index] ?? 0) * generation + order * PHASE;
      return (begin + Math.floor((part * SCALE) / parts)) % SCALE;
    });
    this.strides = strides;
    this.ring = slots.map(({ member }) => member);
    const place = next === undefined ? -1 : this.ring.indexOf(next);
    this.index = place >= 0 ? place : this.draw(Math.max(1, slots.length));
  }
}

/** One slot a member, in their order; more for those that weigh much, spread over the ring. */
function slotsOf<C extends Candidate>(members: readonly C[]): readonly Slot<C>[] {
  const sum = members.reduce((before, { weight }) => before + weight, 0);
  const partMax = (PART_MAX * sum) / members.length;
  const slots = members.flatMap((member, order) => {
    const parts = Math.max(1, Math.ceil(member.weight / partMax));
    return Array.from({ length: parts }, (_, part) => ({
      member,
      order,
      weight: member.weight / parts,
      part,
      parts,
      place: parts === 1 ? order : ((part + 0.5) * members.length) / parts,
    }));
  });
  return slots.sort((one, other) => one.place - other.place);
}
