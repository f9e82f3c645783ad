/** Plays many universes, and reports what did not hold: seed, smallest plan, story, and how to see it again. */
import { invariants } from "./invariants.ts";
import type { Violation } from "./look.ts";
import { type Played, playUniverse } from "./play-universe.ts";
import { keptFaults, shrink } from "./shrink.ts";
import { planUniverse, reducedPlan, type UniversePlan } from "./universe-plan.ts";

/** Of so many universes one is played twice: the same seed must be the same universe. */
const playedTwice = 10;
const msPerHour = 3_600_000;

export interface SimulateOptions {
  readonly seeds: readonly number[];
  /** Faults to keep, by their places in the plan; undefined: all. */
  readonly keep: readonly number[] | undefined;
  readonly stormMs: number | undefined;
  readonly shrinks: boolean;
  /** Ends with the first universe in which something does not hold. */
  readonly stopsAtFirst: boolean;
  /** Begins no further universe after so much CPU time. */
  readonly cpuSecondsMax: number;
  /** The planted bug that is in the code, for the command. */
  readonly bug: string | undefined;
}

/** One universe in which something did not hold. */
export interface Failure extends Violation {
  readonly seed: number;
  readonly faultsLeft: number;
  readonly plan: UniversePlan;
  readonly command: string;
  readonly logTail: readonly string[];
}

export interface SimulateReport {
  readonly passed: boolean;
  readonly universes: number;
  readonly calls: number;
  readonly attempts: number;
  readonly executions: number;
  readonly recovered: number;
  readonly outcomes: Readonly<Record<string, number>>;
  readonly virtualHours: number;
  readonly cpuSeconds: number;
  /** Simulated hours in an hour of one CPU. */
  readonly hoursPerCpuHour: number;
  readonly invariants: readonly string[];
  /** Invariants that are not judged yet, and what they wait for. */
  readonly awaiting: Readonly<Record<string, string>>;
  readonly failures: readonly Failure[];
}

/** Plays the universes of these seeds, one after the other. */
export async function simulate(options: SimulateOptions, progress: (line: string) => void): Promise<SimulateReport> {
  const startCpu = process.cpuUsage();
  const failures: Failure[] = [];
  const sum = { calls: 0, attempts: 0, executions: 0, recovered: 0, virtualMs: 0, universes: 0 };
  const outcomes: Record<string, number> = {};
  for (const [index, seed] of options.seeds.entries()) {
    if (secondsSince(startCpu) >= options.cpuSecondsMax) break;
    const plan = planOf(seed, options);
    const played = await playUniverse(plan);
    sum.universes += 1;
    for (const key of ["calls", "attempts", "executions", "recovered", "virtualMs"] as const) sum[key] += played[key];
    for (const [code, count] of Object.entries(played.outcomes)) outcomes[code] = (outcomes[code] ?? 0) + count;
    const violation = played.violation ?? (index % playedTwice === 0 ? await differs(plan, played) : undefined);
    if (violation === undefined) continue;
    progress(`seed ${seed}: ${violation.invariant} does not hold at ${violation.atMs} ms`);
    failures.push(await failureOf(plan, violation, played, options, progress));
    if (options.stopsAtFirst) break;
  }
  const cpuSeconds = secondsSince(startCpu);
  const virtualHours = sum.virtualMs / msPerHour;
  const { virtualMs: _, ...counts } = sum;
  return {
    passed: failures.length === 0,
    ...counts,
    outcomes,
    virtualHours,
    cpuSeconds,
    hoursPerCpuHour: virtualHours / (cpuSeconds / 3600),
    invariants: invariants.filter(({ awaits }) => awaits === undefined).map(({ name }) => name),
    awaiting: Object.fromEntries(
      invariants.flatMap(({ name, awaits }) => (awaits === undefined ? [] : [[name, awaits]])),
    ),
    failures,
  };
}

function secondsSince(start: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1e6;
}

/** The command that plays a plan again. */
export function commandOf(whole: UniversePlan, small: UniversePlan, bug: string | undefined): string {
  const parts = ["npm run simulate --"];
  if (bug !== undefined) parts.push(`--bug ${bug}`);
  parts.push(`--seed ${whole.seed}`);
  if (small.faults.length < whole.faults.length) parts.push(`--keep ${keptFaults(whole, small).join(",") || "none"}`);
  if (small.stormMs !== whole.stormMs) parts.push(`--storm-ms ${small.stormMs}`);
  return parts.join(" ");
}

/** A seed's universe, or the part of it that was asked for. */
export function planOf(seed: number, { keep, stormMs }: Pick<SimulateOptions, "keep" | "stormMs">): UniversePlan {
  const whole = planUniverse(seed);
  const faults = keep === undefined ? whole.faults : whole.faults.filter((_, index) => keep.includes(index));
  return reducedPlan(whole, faults, stormMs ?? whole.stormMs);
}

async function differs(plan: UniversePlan, played: Played): Promise<Violation | undefined> {
  const again = await playUniverse(plan);
  if (again.hash === played.hash) return undefined;
  const text = `played twice, it was not the same: ${played.hash} and ${again.hash}`;
  return { invariant: "same-seed-same-universe", atMs: played.virtualMs, text };
}

async function failureOf(
  plan: UniversePlan,
  violation: Violation,
  played: Played,
  options: SimulateOptions,
  progress: (line: string) => void,
): Promise<Failure> {
  let small = plan;
  let last = { violation, logTail: played.logTail };
  if (options.shrinks && violation.invariant !== "same-seed-same-universe") {
    const shrunk = await shrink(plan, async (candidate) => {
      const { violation: met, logTail } = await playUniverse(candidate);
      if (met?.invariant !== violation.invariant) return false;
      last = { violation: met, logTail };
      return true;
    });
    small = shrunk.plan;
    progress(`seed ${plan.seed}: ${plan.faults.length} faults became ${small.faults.length} in ${shrunk.plays} plays`);
  }
  return {
    ...last.violation,
    seed: plan.seed,
    faultsLeft: small.faults.length,
    plan: small,
    command: commandOf(planUniverse(plan.seed), small, options.bug),
    logTail: last.logTail,
  };
}
