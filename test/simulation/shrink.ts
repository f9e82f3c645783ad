/**
 * Makes a failing universe small: faults are taken out and the storm is halved as long as the same invariant still does not hold. The
 * seed stays, so that everything else is drawn alike.
 */
import { reducedPlan, type UniversePlan } from "./universe-plan.ts";

/** Plays that a shrinking may cost. */
const playsMax = 80;
const stormMsMin = 100;

export interface Shrunk {
  readonly plan: UniversePlan;
  /** Universes that were played for it. */
  readonly plays: number;
}

/** The smallest universe that was found for which `fails` is still true. `plan` itself must fail. */
export async function shrink(
  plan: UniversePlan,
  fails: (candidate: UniversePlan) => Promise<boolean>,
  limit: number = playsMax,
): Promise<Shrunk> {
  let smallest = plan;
  let plays = 0;
  const tries = async (candidate: UniversePlan): Promise<boolean> => {
    if (plays >= limit) return false;
    plays += 1;
    if (!(await fails(candidate))) return false;
    smallest = candidate;
    return true;
  };
  const halve = async (): Promise<boolean> => {
    let isSmaller = false;
    while (smallest.stormMs / 2 >= stormMsMin) {
      if (!(await tries(reducedPlan(smallest, smallest.faults, Math.ceil(smallest.stormMs / 2))))) break;
      isSmaller = true;
    }
    return isSmaller;
  };
  do await removeFaults(() => smallest, tries);
  while ((await halve()) && smallest.faults.length > 0);
  return { plan: smallest, plays };
}

/** Takes out halves of what is left, then quarters, at last single faults. */
async function removeFaults(
  current: () => UniversePlan,
  tries: (candidate: UniversePlan) => Promise<boolean>,
): Promise<void> {
  for (let size = current().faults.length; size >= 1; size = Math.floor(size / 2)) {
    for (let at = 0; at < current().faults.length; ) {
      const { faults, stormMs } = current();
      const left = faults.filter((_, index) => index < at || index >= at + size);
      if (!(await tries(reducedPlan(current(), left, stormMs)))) at += size;
    }
  }
}

/** Which of a universe's faults are left, by their places in its plan. They are compared by what they say: each plan is drawn anew. */
export function keptFaults(whole: UniversePlan, small: UniversePlan): readonly number[] {
  const left = small.faults.map((fault) => JSON.stringify(fault));
  return whole.faults.flatMap((fault, index) => {
    const at = left.indexOf(JSON.stringify(fault));
    if (at >= 0) left.splice(at, 1);
    return at >= 0 ? [index] : [];
  });
}
