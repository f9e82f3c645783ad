/**
 * Hot path: peers that are equally wanted, in a dense array, one of which a kind of balancing chooses. Kinds extend it.
 */
import type { Random } from "../../world/random.ts";
import type { Candidate } from "./candidate.ts";
import { SlowStart } from "./slow-start.ts";

/** What changes with every call: the cap of calls in flight, pushback, a free stream. It is asked about one peer at a time. */
export interface PickGate<C> {
  /** Whether the peer takes one more call now. */
  admits(candidate: C, nowMs: number): boolean;
}

/** What every group of a balancer has in common. */
export interface GroupTools<C> {
  readonly random: Random;
  readonly gate: PickGate<C>;
  readonly slowStartMs: number;
}

/** Choices that are made anew before all peers are looked at one by one. */
export const REDRAWS_MAX = 4;
/** The same while somebody is in slow start, as those that let their turn pass count too. */
export const SLOW_REDRAWS_MAX = 32;

export abstract class Group<C extends Candidate> {
  protected members: readonly C[];
  protected readonly random: Random;
  protected readonly slowStart: SlowStart;
  private readonly gate: PickGate<C>;

  constructor(tools: GroupTools<C>) {
    this.members = [];
    this.random = tools.random;
    this.slowStart = new SlowStart(tools.slowStartMs);
    this.gate = tools.gate;
  }

  /** These are its members from now on, all ready and, unless opinions are forgotten, healthy. */
  fill(members: readonly C[]): void {
    const before = this.members;
    this.members = members;
    this.slowStart.changed(members);
    this.refilled(before);
  }

  /** A member that the gate admits and that is not excluded; undefined only if there is none. */
  abstract pick(nowMs: number, excluded: readonly C[] | undefined): C | undefined;

  /** The members were `before`, and are others now. */
  protected abstract refilled(before: readonly C[]): void;

  /** Readiness is asked for again: a fact counts from the moment on in which it is one, told or not. */
  protected mayTake(candidate: C, nowMs: number, excluded: readonly C[] | undefined): boolean {
    if (!candidate.isReady || (excluded !== undefined && excluded.includes(candidate))) return false;
    return this.gate.admits(candidate, nowMs);
  }

  /** A uniform integer in 0 .. below - 1. */
  protected draw(below: number): number {
    return (this.random.uint32() * below * 2 ** -32) | 0;
  }

  /** Looks at every member, from a random place on: for when choosing has failed again and again. */
  protected scan(nowMs: number, excluded: readonly C[] | undefined): C | undefined {
    const { members } = this;
    const count = members.length;
    let index = count > 1 ? this.draw(count) : 0;
    for (let step = 0; step < count; step += 1) {
      const candidate = members[index] as C;
      if (this.mayTake(candidate, nowMs, excluded)) return candidate;
      index = index + 1 === count ? 0 : index + 1;
    }
    return undefined;
  }
}
