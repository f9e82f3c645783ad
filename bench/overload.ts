/**
 * `npm run bench -- overload`: more calls than a server can do, in real processes, from an open loop. Two kinds of handler: 10 ms behind a pool of ten
 * places, and 1 ms of CPU. What is measured of each, against its capacity as a closed loop finds it in the same run without admission:
 *
 * - a step from 0.7 to 1.4 times the capacity: how soon good answers (in at most ten times the unloaded median) are back at 95 % of it.
 *   Published for 1.4: Breakwater under 20 ms, DAGOR 500 ms, SEDA 1.58 s (Cho et al., OSDI 2020);
 * - ten times the capacity: good answers, what a refusal costs, how late accepted calls are;
 * - sheddable calls twelvefold beside steady critical ones. Published: above 99.4 % (Netflix, prioritized load shedding, 2024).
 */
import { type Child, pinnedCpus, startChild } from "./commands.ts";
import { machineBusyMs } from "./machine-load.ts";
import { UsageError } from "./options.ts";
import type {
  HandlerKind,
  Lane,
  OverloadClientCommands,
  OverloadServerCommands,
  Phase,
  RunFigures,
} from "./overload-commands.ts";
import {
  type FloodFigures,
  floodFigures,
  goals,
  overheadUs,
  type PriorityFigures,
  priorityFigures,
  type StepFigures,
  stepFigures,
} from "./overload-figures.ts";
import {
  type OverloadContender,
  type OverloadOptions,
  overloadUsage,
  parseOverloadOptions,
} from "./overload-options.ts";

/** What the handlers can do, by arithmetic: to warm up with. */
const nominalPerSecond = 1_000;
/** With less than this share of it, or a median above so many times the handler's own time, a run is void. */
const capacityShareMin = 0.85;
const unloadedFactorMax = 1.3;
const handlerMs: Readonly<Record<HandlerKind, number>> = { timer: 10, cpu: 1 };
const inFlight: Readonly<Record<HandlerKind, number>> = { timer: 20, cpu: 4 };
const cycle = { lowMs: 700, highMs: 500 } as const;
const goodFactor = 10;
const sheddableFactor = 12;
const steadyMs = 2_000;
const capacityMs = 2_000;

export interface Baseline {
  readonly capacityPerSecond: number;
  readonly unloadedP50Ms: number;
  readonly unloadedP99Ms: number;
  /** The server's CPU for a call, beside its handler. */
  readonly perCallUs: number;
}

export interface OverloadResult {
  readonly handler: HandlerKind;
  readonly contender: OverloadContender;
  readonly baseline: Baseline;
  readonly step: StepFigures;
  readonly flood: FloodFigures;
  readonly priorities: PriorityFigures;
  /** The handlers had not the CPU that they are made for: the machine was busy with other things, and the rest says nothing. */
  readonly isVoid: boolean;
  /** What was missed; of `holdfast` nothing may be. */
  readonly missed: readonly string[];
}

export interface OverloadReport {
  readonly scenario: "overload";
  readonly results: readonly OverloadResult[];
  /** CPUs that the whole machine used: the two that are measured, and what disturbed them. NaN: unknown. */
  readonly busyCpus: number;
  readonly passed: boolean;
  readonly method: Readonly<Record<string, unknown>>;
}

interface Pair {
  readonly client: Child<OverloadClientCommands>;
  readonly server: Child<OverloadServerCommands>;
}

export async function runOverload(options: OverloadOptions, progress: (line: string) => void): Promise<OverloadReport> {
  const results: OverloadResult[] = [];
  const startMs = performance.now();
  const startBusyMs = machineBusyMs() ?? Number.NaN;
  for (const kind of options.kinds) {
    for (const contender of options.contenders) {
      const result = await measure(kind, contender, options);
      results.push(result);
      progress(describe(result));
    }
  }
  return {
    scenario: "overload",
    results,
    busyCpus: ((machineBusyMs() ?? Number.NaN) - startBusyMs) / (performance.now() - startMs),
    passed:
      results.every(({ contender, missed }) => contender !== "holdfast" || missed.length === 0) &&
      results.every(({ isVoid }) => !isVoid),
    method: {
      ...options,
      cycle,
      goals,
      arrivals: "exponential distances from a seed, paced by a spinning loop",
      latencyFrom: "when a call was due",
      timeoutMs: 1_000,
      clientCpu: pinnedCpus?.[0] ?? "not pinned",
      serverCpu: pinnedCpus?.[1] ?? "not pinned",
      node: process.version,
    },
  };
}

async function measure(
  kind: HandlerKind,
  contender: OverloadContender,
  options: OverloadOptions,
): Promise<OverloadResult> {
  // One question is answered when a whole part has run: steps take little more than a second.
  const askTimeoutMs = 60_000 + 2_000 * (options.seconds + options.steps);
  const pair: Pair = {
    server: startChild<OverloadServerCommands>("./overload-server.ts", 1),
    client: startChild<OverloadClientCommands>("./overload-client.ts", 0, { askTimeoutMs }),
  };
  try {
    const { connections } = options;
    const bare = await pair.server.ask.listen({ kind, hasAdmission: false });
    const port = contender === "no-admission" ? bare : await pair.server.ask.listen({ kind, hasAdmission: true });
    await pair.client.ask.connect({ port: bare, connections, isPlain: true });
    const baseline = await measureBaseline(pair, kind);
    const isPlain = contender !== "default-policy";
    await pair.client.ask.connect({ port, connections: isPlain ? connections : 1, isPlain });
    return await measureOverload(pair, kind, contender, baseline, options);
  } finally {
    pair.client.stop();
    pair.server.stop();
  }
}

async function measureBaseline({ client, server }: Pair, kind: HandlerKind): Promise<Baseline> {
  await client.ask.closed({ inFlight: inFlight[kind], ms: 1_500 });
  const quiet = await run(client, [{ ms: steadyMs, perSecond: nominalPerSecond / 10 }], Infinity, 1);
  const before = await server.ask.sample();
  const closed = await client.ask.closed({ inFlight: inFlight[kind], ms: capacityMs });
  const after = await server.ask.sample();
  const phase = quiet.lanes[0]?.phases[0];
  return {
    capacityPerSecond: closed.perSecond,
    unloadedP50Ms: phase?.p50Ms ?? Number.NaN,
    unloadedP99Ms: phase?.p99Ms ?? Number.NaN,
    perCallUs: overheadUs(before, after) / closed.calls,
  };
}

async function measureOverload(
  { client, server }: Pair,
  kind: HandlerKind,
  contender: OverloadContender,
  baseline: Baseline,
  { steps, seconds }: OverloadOptions,
): Promise<OverloadResult> {
  const { capacityPerSecond: capacity } = baseline;
  const goodMs = goodFactor * baseline.unloadedP50Ms;
  // What is compiled late is not what is measured.
  await run(
    client,
    [
      { ms: 1_000, perSecond: 0.5 * capacity },
      { ms: 2_000, perSecond: 10 * capacity },
    ],
    goodMs,
    2,
  );
  const rest: Phase = { ms: 1_000, perSecond: 0.5 * capacity };
  await run(client, [rest], goodMs, 3);
  const low: Phase = { ms: cycle.lowMs, perSecond: 0.7 * capacity };
  const high: Phase = { ms: cycle.highMs, perSecond: 1.4 * capacity };
  const stepped = await run(client, Array.from({ length: steps }, () => [low, high]).flat(), goodMs, 4);
  await run(client, [rest], goodMs, 5);
  const floodMs = seconds * 1_000;
  const before = await server.ask.sample();
  const flooded = await run(client, [{ ms: floodMs, perSecond: 10 * capacity }], goodMs, 6);
  const after = await server.ask.sample();
  await run(client, [rest], goodMs, 7);
  const mixed = await client.ask.run({ goodMs, lanes: priorityLanes(capacity, floodMs) });
  const stepLane = stepped.lanes[0];
  const floodPhase = flooded.lanes[0]?.phases[0];
  if (stepLane === undefined || floodPhase === undefined) throw new Error("a run gave no figures");
  const figures = {
    step: stepFigures(stepLane, cycle, capacity),
    flood: floodFigures(flooded, floodPhase, floodMs, capacity, before, after, baseline.perCallUs),
    priorities: priorityFigures(mixed.lanes),
  };
  const isVoid = !isSound(kind, baseline);
  return { handler: kind, contender, baseline, ...figures, isVoid, missed: missedOf(kind, baseline, figures) };
}

function priorityLanes(capacity: number, floodMs: number): readonly Lane[] {
  const half = 0.5 * capacity;
  const steady: Phase = { ms: steadyMs, perSecond: half };
  const many: Phase = { ms: floodMs, perSecond: sheddableFactor * half };
  return [
    { priority: "critical", seed: 8, phases: [steady, { ...steady, ms: floodMs }, steady] },
    {
      priority: "sheddable",
      seed: 9,
      phases: [{ ...steady, perSecond: half / 2 }, many, { ...steady, perSecond: half / 2 }],
    },
  ];
}

function run(
  client: Child<OverloadClientCommands>,
  phases: readonly Phase[],
  goodMs: number,
  seed: number,
): Promise<RunFigures> {
  return client.ask.run({ goodMs, lanes: [{ priority: "normal", phases, seed }] });
}

export function isSound(kind: HandlerKind, { capacityPerSecond, unloadedP50Ms }: Baseline): boolean {
  return (
    capacityPerSecond >= capacityShareMin * nominalPerSecond && unloadedP50Ms <= unloadedFactorMax * handlerMs[kind]
  );
}

/** What is below its goal, in words. */
export function missedOf(
  kind: HandlerKind,
  baseline: Baseline,
  { step, flood, priorities }: Pick<OverloadResult, "step" | "flood" | "priorities">,
): readonly string[] {
  const missed: string[] = [];
  const { recoveredMs } = step;
  if (recoveredMs === undefined || recoveredMs > goals.stepMsMax) missed.push("step");
  if (kind === "cpu") {
    if (flood.share < goals.floodShareMin) missed.push("flood: goodput");
    if (!(flood.refusalUs <= goals.refusalUsMax)) missed.push("flood: cost of a refusal");
    if (flood.p99Ms > goals.floodP99Factor * baseline.unloadedP99Ms) missed.push("flood: p99");
  }
  if (!(priorities.criticalDuring >= goals.criticalShareMin)) missed.push("critical calls during");
  if (!(priorities.criticalAfter >= goals.criticalShareMin)) missed.push("critical calls after");
  return missed;
}

function describe({ handler, contender, baseline, step, flood, priorities, isVoid, missed }: OverloadResult): string {
  const share = (value: number): string => `${(value * 100).toFixed(1)} %`;
  return [
    `${handler} ${contender}: capacity ${baseline.capacityPerSecond.toFixed(0)}/s, unloaded p50 ${baseline.unloadedP50Ms.toFixed(2)} p99 ${baseline.unloadedP99Ms.toFixed(2)} ms, ${baseline.perCallUs.toFixed(0)} us a call beside its handler`,
    `  step: 95 % after ${step.recoveredMs ?? "never"} ms, ${share(step.shareAfter)} after 100 ms; ${step.shares
      .slice(0, 15)
      .map((value) => (value * 100).toFixed(0))
      .join(" ")}`,
    `  x10: ${share(flood.share)} of the capacity, p99 ${flood.p99Ms.toFixed(2)} ms, a refusal ${flood.refusalUs.toFixed(1)} us, ${flood.refused} refused, ${flood.failed} failed ${flood.firstFailure ?? ""} (client late by ${flood.ownDelayP99Ms.toFixed(2)} ms)`,
    `  sheddable x12: critical ${share(priorities.criticalDuring)} during, ${share(priorities.criticalAfter)} after, sheddable ${share(priorities.sheddableDuring)} ${priorities.firstFailure ?? ""}`,
    `  ${isVoid ? "void; " : ""}${missed.length === 0 ? "passed" : `missed: ${missed.join(", ")}`}`,
  ].join("\n");
}

/** The verb: gives back the exit code. 0 all reached, 1 something missed or void, 2 usage. */
export async function overloadMain(args: readonly string[], progress: (line: string) => void): Promise<number> {
  try {
    const options = parseOverloadOptions(args);
    const report = await runOverload(options, progress);
    console.log(options.isJson ? JSON.stringify(report, undefined, 2) : report.results.map(describe).join("\n"));
    return report.passed ? 0 : 1;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(`${error.message}\n\n${overloadUsage}`);
    return 2;
  }
}

if (import.meta.main) process.exitCode = await overloadMain(process.argv.slice(2), (line) => console.error(line));
