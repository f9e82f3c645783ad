/** One run of one scenario, from options to the object that `--json` prints. */
import { cpus } from "node:os";
import { makeTlsFiles } from "./certificates.ts";
import { pinnedCpus } from "./commands.ts";
import { contenderNames, contenders, type ContenderName } from "./contender.ts";
import { connectionsAllowed, runIdleRounds, type IdleFigures } from "./idle.ts";
import type { BenchOptions } from "./options.ts";
import { runRounds, type Figures, type Timing } from "./rounds.ts";
import { closedLoops, scenarios, type Case, type Scenario, type ScenarioName } from "./scenarios.ts";
import { idleRatios, loadRatios, ratiosOf, summarise, type CaseRatios, type Row } from "./summary.ts";

/** What a contender did in one case: medians over the rounds, and the spread of `rps`. */
export interface LoadResult {
  readonly name: ContenderName;
  readonly concurrency: number;
  /** Streams only: who sends. */
  readonly stream?: string | undefined;
  /** Calls a second; in `stream` messages a second (bidi: in each direction). */
  readonly rps: number;
  readonly rpsMin: number;
  readonly rpsMax: number;
  /** Of a call; in `stream` of a stream of 2,000 messages. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly clientCpuUsPerCall: number;
  readonly serverCpuUsPerCall: number;
  /** `large` only: payload in each direction. */
  readonly mibPerSecond?: number | undefined;
  /** CPUs that others on this machine used meanwhile, the worst round; null where the system does not say. */
  readonly otherCpusMax: number | null;
  /** Rounds with figures; those that failed are in `errors`. */
  readonly rounds: number;
}
export interface IdleResult {
  readonly name: ContenderName;
  readonly concurrency: 0;
  readonly connections: number;
  readonly clientRssKibPerConnection: number;
  readonly serverRssKibPerConnection: number;
  /** Of 500 calls a second on one of the connections, while the others stand. */
  readonly p99Ms: number;
  readonly rounds: number;
}
export interface Report {
  readonly scenario: ScenarioName;
  readonly results: readonly (LoadResult | IdleResult)[];
  /** By case: the number in flight, the kind of stream, or the number of idle connections. */
  readonly ratios: Readonly<Record<string, CaseRatios>>;
  readonly rounds: number;
  /** Why the run says nothing. */
  readonly void?: string | undefined;
  readonly errors: readonly string[];
  readonly method: Readonly<Record<string, unknown>>;
}

/** The run is void if the floor itself is not this many times faster than grpc-js at 64 in flight. */
export const floorOverGrpcJsMin = 15;

/** Below it, what others used is the kernel's own and the main process. */
const otherCpusWorthSaying = 0.1;

/** Runs a scenario; `progress` hears a line for each measurement. */
export function runScenario(
  name: ScenarioName,
  options: Omit<BenchOptions, "scenario">,
  progress: (line: string) => void,
): Promise<Report> {
  return name === "idle"
    ? runIdle(options, progress)
    : runLoad(name, adjust(scenarios[name], options), options, progress);
}

async function runLoad(
  name: Exclude<ScenarioName, "idle">,
  scenario: Scenario,
  timing: Timing,
  progress: (line: string) => void,
): Promise<Report> {
  const tls = scenario.isTls ? await makeTlsFiles() : undefined;
  try {
    const figures = await runRounds(scenario, tls?.files, timing, (each) => progress(describe(each, scenario)));
    const good = figures.filter(({ error }) => error === undefined);
    const rows = good.map(
      ({ name: contender, caseKey, round, error: _error, ...metrics }): Row => ({
        name: contender,
        caseKey,
        round,
        metrics,
      }),
    );
    const ratios = Object.fromEntries(scenario.cases.map(({ key }) => [key, ratiosOf(rows, key, loadRatios)]));
    const floor = name === "unary" && scenario.connections === 1 ? ratios["64"]?.["floorRpsOverGrpcJs"] : undefined;
    return {
      scenario: name,
      results: scenario.cases.flatMap((each) =>
        scenario.contenders.flatMap((of) => resultOf(rows, of, each, scenario)),
      ),
      ratios,
      rounds: timing.rounds,
      ...(typeof floor === "number" && floor < floorOverGrpcJsMin
        ? { void: `socket-floor is ${floor.toFixed(1)}x grpc-js at 64 in flight, not ${floorOverGrpcJsMin}x` }
        : undefined),
      errors: errorsOf(figures),
      method: {
        ...methodOf(scenario.contenders, timing),
        summary: scenario.summary,
        connections: scenario.connections,
      },
    };
  } finally {
    await tls?.remove();
  }
}

async function runIdle(options: Omit<BenchOptions, "scenario">, progress: (line: string) => void): Promise<Report> {
  const connections = connectionsAllowed(options.connections ?? 1_000);
  const chosen = options.contenders ?? contenderNames;
  const figures = await runIdleRounds(chosen, connections, options.rounds, (each) => progress(describeIdle(each)));
  const caseKey = String(connections);
  const rows = figures
    .filter(({ error }) => error === undefined)
    .map(
      ({ name, round, clientRssKibPerConnection, serverRssKibPerConnection, p99Ms }): Row => ({
        name,
        caseKey,
        round,
        metrics: { clientRssKibPerConnection, serverRssKibPerConnection, p99Ms },
      }),
    );
  const results = chosen.flatMap((name): readonly IdleResult[] => {
    const spread = summarise(rows, name, caseKey);
    if (spread === undefined) return [];
    return [
      {
        name,
        concurrency: 0,
        connections,
        clientRssKibPerConnection: spread["clientRssKibPerConnection"]?.median ?? Number.NaN,
        serverRssKibPerConnection: spread["serverRssKibPerConnection"]?.median ?? Number.NaN,
        p99Ms: spread["p99Ms"]?.median ?? Number.NaN,
        rounds: rows.filter((row) => row.name === name).length,
      },
    ];
  });
  return {
    scenario: "idle",
    results,
    ratios: { [caseKey]: ratiosOf(rows, caseKey, idleRatios) },
    rounds: options.rounds,
    errors: errorsOf(figures),
    method: {
      ...methodOf(chosen, options),
      summary: "resident memory a connection after a full collection; each made one call and has nothing to do",
    },
  };
}

/** The scenario with what the command line says. */
function adjust(scenario: Scenario, options: Omit<BenchOptions, "scenario">): Scenario {
  const connections = options.connections ?? scenario.connections;
  return {
    ...scenario,
    connections,
    cases: casesOf(scenario.cases, options.concurrencies, connections),
    contenders: options.contenders ?? scenario.contenders,
  };
}

function casesOf(cases: readonly Case[], asked: readonly number[] | undefined, connections: number): readonly Case[] {
  const kinds = new Set(cases.map(({ load }) => load.kind));
  const [first] = cases;
  if (first === undefined || first.load.perSecond !== undefined) return cases;
  // Streams: their kinds are the cases, and stay so.
  if (kinds.size > 1) {
    if (asked === undefined) return cases;
    const [concurrency = 1] = asked;
    return cases.map(({ key, load }) => ({ key, load: { ...load, concurrency } }));
  }
  if (asked !== undefined) return closedLoops(first.load.kind, asked);
  const busy = cases.filter(({ load }) => load.concurrency >= connections);
  return connections === 1 ? cases : busy.filter(({ load }) => load.concurrency === 64 || busy.length === 1);
}

function resultOf(rows: readonly Row[], name: ContenderName, each: Case, scenario: Scenario): readonly LoadResult[] {
  const spread = summarise(rows, name, each.key);
  if (spread === undefined) return [];
  const median = (metric: string): number => spread[metric]?.median ?? Number.NaN;
  const { payloadBytes } = scenario;
  return [
    {
      name,
      concurrency: each.load.concurrency,
      ...(scenario.unit === "messages" ? { stream: each.key } : undefined),
      rps: median("rps"),
      rpsMin: spread["rps"]?.min ?? Number.NaN,
      rpsMax: spread["rps"]?.max ?? Number.NaN,
      p50Ms: median("p50Ms"),
      p99Ms: median("p99Ms"),
      clientCpuUsPerCall: median("clientCpuUsPerCall"),
      serverCpuUsPerCall: median("serverCpuUsPerCall"),
      ...(payloadBytes === undefined ? undefined : { mibPerSecond: (median("rps") * payloadBytes) / 2 ** 20 }),
      otherCpusMax: Number.isNaN(median("otherCpus")) ? null : (spread["otherCpus"]?.max ?? null),
      rounds: rows.filter((row) => row.name === name && row.caseKey === each.key).length,
    },
  ];
}

function errorsOf(figures: readonly (Figures | IdleFigures)[]): readonly string[] {
  return figures.flatMap(({ name, round, error }) =>
    error === undefined ? [] : [`${name}, round ${round + 1}: ${error}`],
  );
}

function methodOf(chosen: readonly ContenderName[], timing: Timing): Readonly<Record<string, unknown>> {
  return {
    rounds: timing.rounds,
    isVerdict: timing.rounds >= 3,
    seconds: timing.seconds,
    warmUpSeconds: timing.warmUpSeconds,
    interleaving: "contender after contender, then all again; a fresh pair of processes each time",
    ratios: "median of the rounds' ratios; spread: their least and greatest",
    clientCpu: pinnedCpus?.[0] ?? "not pinned",
    serverCpu: pinnedCpus?.[1] ?? "not pinned",
    node: process.version,
    machine: `${cpus().length} x ${cpus()[0]?.model.trim() ?? "unknown"}`,
    contenders: Object.fromEntries(chosen.map((name) => [name, contenders[name].notes])),
    notMeasured: [
      "a network: client and server talk over loopback, which has no loss, no delay and 64 KiB packets",
      "handlers that do work, and payloads that differ from call to call",
      "the kernel's time outside of the two processes",
      "more CPUs: each process has one",
      "grpc-js, connect-node and node-http2 with a deadline on each call, which Holdfast has",
    ],
  };
}

function describe(figures: Figures, scenario: Scenario): string {
  const { name, caseKey, round, rps, p50Ms, p99Ms, otherCpus, error } = figures;
  const head = `round ${round + 1}  ${name.padEnd(12)}  ${caseKey.padEnd(6)}`;
  if (error !== undefined) return `${head}  ${error}`;
  const disturbed = otherCpus > otherCpusWorthSaying ? `  (others used ${otherCpus.toFixed(1)} CPUs)` : "";
  return `${head}  ${Math.round(rps)} ${scenario.unit}/s  p50 ${p50Ms.toFixed(3)} ms  p99 ${p99Ms.toFixed(3)} ms${disturbed}`;
}

function describeIdle(figures: IdleFigures): string {
  const { name, round, clientRssKibPerConnection, serverRssKibPerConnection, p99Ms, error } = figures;
  const head = `round ${round + 1}  ${name.padEnd(12)}`;
  if (error !== undefined) return `${head}  ${error}`;
  return `${head}  client ${clientRssKibPerConnection.toFixed(1)} KiB  server ${serverRssKibPerConnection.toFixed(1)} KiB  calls p99 ${p99Ms.toFixed(2)} ms`;
}
