/**
 * Round robin: each usable peer in turn. Pure; the same cost whatever the number of peers, as long as most are usable.
 */

/** Which of `count` peers is next, given where the last choice was; -1 if none is usable. */
export interface RoundRobin {
  pick(count: number, isUsable: (index: number) => boolean): number;
}

/** @param start where to begin, any integer >= 0: clients that begin at different places do not march in step. */
export function roundRobin(start: number): RoundRobin {
  let last = start;
  return {
    pick(count, isUsable) {
      for (let i = 1; i <= count; i++) {
        const index = (last + i) % count;
        if (isUsable(index)) {
          last = index;
          return index;
        }
      }
      return -1;
    },
  };
}
