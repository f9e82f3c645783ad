/**
 * Hot path: round robin: each usable peer in turn. The same cost whatever the number of peers, as long as most are usable.
 */
import type { Candidate } from "./candidate.ts";
import { Group } from "./group.ts";

export class RoundRobinGroup<C extends Candidate> extends Group<C> {
  /** Whose turn is next. Its first value is random: clients that begin at different places do not march in step. */
  private next = 0;

  pick(nowMs: number, excluded: readonly C[] | undefined): C | undefined {
    const { members, slowStart } = this;
    const count = members.length;
    const isSlow = slowStart.isOn(nowMs);
    let spared: C | undefined;
    for (let step = 0; step < count; step += 1) {
      const candidate = members[this.next] as C;
      this.next = this.next + 1 === count ? 0 : this.next + 1;
      if (!this.mayTake(candidate, nowMs, excluded)) continue;
      if (!isSlow || !slowStart.passes(candidate, nowMs, this.random)) return candidate;
      spared ??= candidate;
    }
    return spared;
  }

  /** Its place is kept: next is whoever was, or the first one after it that is still there. */
  protected override refilled(before: readonly C[]): void {
    const places = new Map(this.members.map((member, index) => [member, index]));
    for (let step = 0; step < before.length; step += 1) {
      const place = places.get(before[(this.next + step) % before.length] as C);
      if (place === undefined) continue;
      this.next = place;
      return;
    }
    this.next = this.members.length > 1 ? this.draw(this.members.length) : 0;
  }
}
