/**
 * Waiting for a time or for something earlier.
 */
import type { World } from "../world/world.ts";

/** Resolves after `ms`, or as soon as `earlier` does; the timer is cleaned up then. */
export function wait(world: World, ms: number, earlier?: Promise<void>): Promise<void> {
  return new Promise((resolve) => {
    const timer = world.timers.schedule(Math.max(0, ms), resolve);
    void earlier?.then(() => {
      timer.cancel();
      resolve();
    });
  });
}
