/**
 * An open loop of calls: one each so many milliseconds, whatever becomes of those before. It runs in the caller's own process: while
 * that is frozen no call is made.
 */
import { RpcError } from "holdfast";
import type { World } from "../../src/world/world.ts";

export interface LoadTally {
  begun: number;
  ok: number;
  /** How long the slowest good call took, in milliseconds. */
  slowestMs: number;
  readonly failures: RpcError[];
}

export interface SteadyLoad {
  readonly tally: LoadTally;
  /** Makes no more calls. */
  stop(): void;
  /** Resolves when no call is open. */
  drained(): Promise<void>;
}

/** `perSecond` calls a second, the first after `phaseMs`. */
export function steadyLoad(
  world: World,
  perSecond: number,
  call: (index: number) => Promise<unknown>,
  phaseMs = 0,
): SteadyLoad {
  const tally: LoadTally = { begun: 0, ok: 0, slowestMs: 0, failures: [] };
  const open = new Set<Promise<void>>();
  let isStopped = false;
  const { clock, timers } = world;
  const firstMs = clock.monotonicMs() + phaseMs;
  const one = async (index: number): Promise<void> => {
    const startMs = clock.monotonicMs();
    try {
      await call(index);
      tally.ok += 1;
      tally.slowestMs = Math.max(tally.slowestMs, clock.monotonicMs() - startMs);
    } catch (error) {
      tally.failures.push(RpcError.from(error));
    }
  };
  const next = (): void => {
    if (isStopped) return;
    const made = one(tally.begun);
    open.add(made);
    void made.then(() => open.delete(made));
    tally.begun += 1;
    // From the beginning, so that rounding does not add up; and none at once after a stop of the process.
    const dueMs = firstMs + (tally.begun * 1_000) / perSecond;
    const nowMs = clock.monotonicMs();
    timers.schedule(dueMs > nowMs ? dueMs - nowMs : 1_000 / perSecond, next);
  };
  timers.schedule(phaseMs, next);
  return {
    tally,
    stop: () => {
      isStopped = true;
    },
    drained: async () => {
      while (open.size > 0) await Promise.all(open);
    },
  };
}
