/** What the runs of `overload` come to, and whether that is enough. Pure. */
import type { LaneFigures, PhaseFigures, RunFigures, ServerSample } from "./overload-commands.ts";
import { binMs } from "./overload-load.ts";

/** What has to be reached. Shares of the capacity, of the calls; milliseconds; microseconds. */
export const goals = {
  stepShareMin: 0.95,
  stepMsMax: 100,
  floodShareMin: 0.9,
  floodP99Factor: 3,
  refusalUsMax: 10,
  criticalShareMin: 0.999,
} as const;

/** Bins over which the share is taken: one bin holds a handful of answers. */
const smoothBins = 5;

export interface StepFigures {
  /** Good answers as a share of the capacity in each 10 ms from the step on, the mean over all steps. */
  readonly shares: readonly number[];
  /** From when on the mean of each 50 ms is 95 % of the capacity or more; undefined: never. */
  readonly recoveredMs: number | undefined;
  /** Of the time after the first 100 ms. */
  readonly shareAfter: number;
}

/** Folds the bins of `steps` cycles, each of `lowMs` and then `highMs`. */
export function stepFigures(
  { goodBins }: LaneFigures,
  cycle: { readonly lowMs: number; readonly highMs: number },
  perSecond: number,
): StepFigures {
  const low = cycle.lowMs / binMs;
  const high = cycle.highMs / binMs;
  const steps = Math.floor(goodBins.length / (low + high));
  const perBin = (perSecond * binMs) / 1_000;
  const shares = Array.from({ length: high }, (_, bin) => {
    let sum = 0;
    for (let step = 0; step < steps; step += 1) sum += goodBins[step * (low + high) + low + bin] ?? 0;
    return sum / steps / perBin;
  });
  return { shares, recoveredMs: recoveredMs(shares), shareAfter: mean(shares.slice(goals.stepMsMax / binMs)) };
}

function recoveredMs(shares: readonly number[]): number | undefined {
  let at: number | undefined;
  for (let bin = shares.length - smoothBins; bin >= 0; bin -= 1) {
    if (mean(shares.slice(bin, bin + smoothBins)) < goals.stepShareMin) break;
    at = bin * binMs;
  }
  return at;
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

export interface FloodFigures {
  /** Good answers as a share of the capacity. */
  readonly share: number;
  readonly refused: number;
  readonly failed: number;
  readonly firstFailure: string | undefined;
  readonly p99Ms: number;
  /** The server's CPU for one refusal: what was not spent on handlers, less what answered calls cost beside their handler. */
  readonly refusalUs: number;
  readonly ownDelayP99Ms: number;
}

/** `perCallUs`: what a call costs the server beside its handler when nothing is refused. */
export function floodFigures(
  run: RunFigures,
  phase: PhaseFigures,
  ms: number,
  perSecond: number,
  before: ServerSample,
  after: ServerSample,
  perCallUs: number,
): FloodFigures {
  const spentUs = overheadUs(before, after) - phase.answered * perCallUs;
  return {
    share: (phase.good * 1_000) / ms / perSecond,
    refused: phase.refused,
    failed: phase.failed,
    firstFailure: phase.firstFailure,
    p99Ms: phase.p99Ms,
    refusalUs: phase.refused === 0 ? Number.NaN : spentUs / phase.refused,
    ownDelayP99Ms: run.ownDelayP99Ms,
  };
}

/** CPU of the server's process that no handler took. */
export function overheadUs(before: ServerSample, after: ServerSample): number {
  return (after.cpuMs - before.cpuMs - (after.handlerCpuMs - before.handlerCpuMs)) * 1_000;
}

export interface PriorityFigures {
  /** Critical calls that were answered, of all, while the sheddable ones were twelvefold, and afterwards. */
  readonly criticalDuring: number;
  readonly criticalAfter: number;
  readonly sheddableDuring: number;
  readonly firstFailure: string | undefined;
}

export function priorityFigures([critical, sheddable]: readonly LaneFigures[]): PriorityFigures {
  const during = critical?.phases[1];
  const after = critical?.phases[2];
  return {
    criticalDuring: answeredShare(during),
    criticalAfter: answeredShare(after),
    sheddableDuring: answeredShare(sheddable?.phases[1]),
    firstFailure: during?.firstFailure ?? after?.firstFailure,
  };
}

function answeredShare(phase: PhaseFigures | undefined): number {
  return phase === undefined || phase.offered === 0 ? Number.NaN : phase.answered / phase.offered;
}
