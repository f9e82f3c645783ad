/**
 * The one file of the simulated world that touches the real event loop. Node runs all promise reactions and ticks
 * between two immediates, however long their chains are; nothing else that a program can ask for is as sure
 * (`await` waits for one link of a chain) and as cheap (immediates queued together share one turn of the loop).
 * No real time passes here that anything could observe.
 */

/** Immediates queued together. More save little; fewer pay the event loop's poll more often. */
const roundMax = 64;

/**
 * Calls `step` again and again, each time with no promise reaction left to run, until it gives back false. `step` must
 * not throw. The first call comes after the reactions of the caller.
 */
export function relay(step: () => boolean): void {
  let isOver = false;
  const once = (): void => {
    if (!isOver && !step()) isOver = true;
  };
  const round = (size: number): void => {
    for (let count = 1; count < size; count++) setImmediate(once);
    setImmediate(() => {
      once();
      if (!isOver) round(Math.min(size * 2, roundMax));
    });
  };
  round(1);
}
