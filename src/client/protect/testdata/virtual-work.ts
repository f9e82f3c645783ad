/**
 * A virtual world for protected functions, and work that takes the time, and ends in the way, that a test says.
 */
import { RpcError } from "../../../call/error.ts";
import type { Code } from "../../../call/code.ts";
import { createSimulation, type Simulation } from "../../../testing/simulation.ts";
import type { World } from "../../../world/world.ts";
import type { Attempt } from "../protected-attempt.ts";

/** What one attempt comes to: a value or an error, after so many milliseconds of virtual time; it may ignore its signal. */
export interface Step {
  readonly afterMs?: number;
  readonly value?: unknown;
  readonly error?: unknown;
  readonly isDeaf?: boolean;
}

export interface Rig {
  readonly sim: Simulation;
  readonly world: World;
  readonly nowMs: () => number;
  /** Attempts in the order in which they began, and when. */
  readonly begun: { readonly attempt: Attempt; readonly atMs: number; readonly args: readonly unknown[] }[];
  /** Reasons of the signals that aborted while their attempt was at work. */
  readonly aborted: unknown[];
  /** Work whose attempts go by the script, the last step for all that follow. */
  script(...steps: readonly Step[]): (attempt: Attempt, ...args: readonly unknown[]) => Promise<unknown>;
  /** Settles in virtual time. */
  settle<T>(promise: Promise<T>): Promise<T>;
  /** The error that it rejects with. */
  fails(promise: Promise<unknown>): Promise<RpcError>;
}

export function virtualRig(seed = 1): Rig {
  const sim = createSimulation({ seed });
  const world = sim.host("here");
  const startMs = world.clock.monotonicMs();
  const begun: Rig["begun"] = [];
  const aborted: unknown[] = [];
  const nowMs = (): number => world.clock.monotonicMs() - startMs;
  const settle = <T>(promise: Promise<T>): Promise<T> => sim.settle(promise, { limitMs: 3_600_000 });
  return {
    sim,
    world,
    nowMs,
    begun,
    aborted,
    settle,
    script:
      (...steps) =>
      (attempt, ...args) => {
        const step = steps[Math.min(begun.length, steps.length - 1)] ?? {};
        begun.push({ attempt, atMs: nowMs(), args });
        return perform(world, attempt, step, aborted);
      },
    fails: async (promise) => {
      const outcome = await settle(
        promise.then(
          (value: unknown) => ({ value }),
          (error: unknown) => ({ error }),
        ),
      );
      if ("error" in outcome && outcome.error instanceof RpcError) return outcome.error;
      throw new Error("no RpcError", { cause: outcome });
    },
  };
}

async function perform(world: World, attempt: Attempt, step: Step, aborted: unknown[]): Promise<unknown> {
  const { afterMs = 0, value, error, isDeaf = false } = step;
  if (afterMs > 0) await passed(world, afterMs, isDeaf ? undefined : attempt.signal, aborted);
  return error === undefined ? value : failed(error);
}

/** Work may throw anything. */
function failed(thrown: unknown): Promise<never> {
  return Promise.reject(thrown as Error);
}

function passed(world: World, ms: number, signal: AbortSignal | undefined, aborted: unknown[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = world.timers.schedule(ms, resolve);
    signal?.addEventListener("abort", () => {
      aborted.push(signal.reason);
      timer.cancel();
      reject(signal.reason as Error);
    });
  });
}

export function rpcError(code: Code, retryAfterMs?: number): RpcError {
  return new RpcError(code, "as scripted", { retryAfterMs });
}
