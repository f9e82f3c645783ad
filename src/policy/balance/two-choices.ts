/**
 * Hot path: power of two choices (Finagle `P2CPick`): of two members drawn at random the one with the smaller load. As good as looking at
 * all of them, at the cost of two, and many clients do not fall upon the same one (Mitzenmacher).
 */
import type { Candidate } from "./candidate.ts";
import { Group, REDRAWS_MAX } from "./group.ts";
import type { GroupTools } from "./group.ts";

/** What is compared: cost times calls in flight, or the calls in flight alone (Envoy's least request, bias 1). */
export type Load = "cost" | "in-flight";

export class TwoChoices<C extends Candidate> extends Group<C> {
  private readonly isByCost: boolean;
  /** Which of two members goes first when they are equal: it alternates, so that chance is not needed for two. */
  private isSecondFirst: boolean;

  constructor(tools: GroupTools<C>, load: Load) {
    super(tools);
    this.isByCost = load === "cost";
    this.isSecondFirst = false;
  }

  pick(nowMs: number, excluded: readonly C[] | undefined): C | undefined {
    const count = this.members.length;
    if (count <= 2) return this.pickOfFew(nowMs, excluded);
    for (let draw = 0; draw <= REDRAWS_MAX; draw += 1) {
      const first = this.draw(count);
      const other = this.draw(count - 1);
      const picked = this.better(first, other >= first ? other + 1 : other, nowMs, excluded);
      if (picked !== undefined) return picked;
    }
    return this.scan(nowMs, excluded);
  }

  protected override refilled(before: readonly C[]): void {
    if (before.length === 0) this.isSecondFirst = this.draw(2) === 1;
  }

  private pickOfFew(nowMs: number, excluded: readonly C[] | undefined): C | undefined {
    if (this.members.length < 2) return this.scan(nowMs, excluded);
    this.isSecondFirst = !this.isSecondFirst;
    return this.isSecondFirst ? this.better(1, 0, nowMs, excluded) : this.better(0, 1, nowMs, excluded);
  }

  /** Of two members the one with the smaller load, the first if equal; the other one if it may not take the call. */
  private better(first: number, second: number, nowMs: number, excluded: readonly C[] | undefined): C | undefined {
    const { members } = this;
    const one = members[first] as C;
    const other = members[second] as C;
    const isOther = this.loadOf(other, nowMs) < this.loadOf(one, nowMs);
    const preferred = isOther ? other : one;
    if (this.mayTake(preferred, nowMs, excluded)) return preferred;
    const left = isOther ? one : other;
    return this.mayTake(left, nowMs, excluded) ? left : undefined;
  }

  private loadOf(candidate: C, nowMs: number): number {
    const load = this.isByCost ? candidate.load(nowMs) : (candidate.inFlight + 1) / candidate.weight;
    return this.slowStart.isOn(nowMs) ? load / this.slowStart.factor(candidate, nowMs) : load;
  }
}
