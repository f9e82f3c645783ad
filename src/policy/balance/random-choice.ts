/**
 * Hot path: any member, each as likely as the others.
 */
import type { Candidate } from "./candidate.ts";
import { Group, REDRAWS_MAX, SLOW_REDRAWS_MAX } from "./group.ts";

export class RandomChoice<C extends Candidate> extends Group<C> {
  pick(nowMs: number, excluded: readonly C[] | undefined): C | undefined {
    const { members, slowStart } = this;
    const count = members.length;
    if (count < 2) return this.scan(nowMs, excluded);
    const isSlow = slowStart.isOn(nowMs);
    const redraws = isSlow ? SLOW_REDRAWS_MAX : REDRAWS_MAX;
    for (let draw = 0; draw <= redraws; draw += 1) {
      const candidate = members[this.draw(count)] as C;
      if (isSlow && slowStart.passes(candidate, nowMs, this.random)) continue;
      if (this.mayTake(candidate, nowMs, excluded)) return candidate;
    }
    return this.scan(nowMs, excluded);
  }

  protected override refilled(): void {
    // Chance remembers nothing.
  }
}
