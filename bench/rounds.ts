/**
 * The rounds of a run: contender after contender, then all again, each with a fresh pair of processes, so that a slow
 * minute of the machine hits all of them and a lucky process none twice.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { startChild, type ClientCommands, type ServerCommands } from "./commands.ts";
import type { LoadKind, LoadReport, LoadSpec, Sample } from "./commands.ts";
import type { ContenderName, TlsFiles } from "./contender.ts";
import { machineBusyMs } from "./machine-load.ts";
import type { Scenario } from "./scenarios.ts";

/** How long, how often. */
export interface Timing {
  readonly rounds: number;
  readonly seconds: number;
  readonly warmUpSeconds: number;
}

/** What one contender did in one case of one round; or why there is nothing to say. */
export interface Figures {
  readonly name: ContenderName;
  readonly caseKey: string;
  readonly round: number;
  readonly rps: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly clientCpuUsPerCall: number;
  readonly serverCpuUsPerCall: number;
  readonly unfinished: number;
  /** CPUs that others on this machine used meanwhile: 1 is one whole CPU. */
  readonly otherCpus: number;
  readonly error: string | undefined;
}

/** A pair of processes on their CPUs; both end with `work`. */
export async function withPair<T>(
  contender: ContenderName,
  tls: TlsFiles | undefined,
  connections: number,
  work: (server: ServerCommands, client: ClientCommands, port: number) => Promise<T>,
): Promise<T> {
  const server = startChild<ServerCommands>("./server-process.ts", 1);
  const client = startChild<ClientCommands>("./client-process.ts", 0);
  try {
    const { port } = await server.ask.serve({ contender, tls });
    await client.ask.connect({ contender, tls, port, connections });
    return await work(server.ask, client.ask, port);
  } finally {
    client.stop();
    server.stop();
  }
}

/** Runs all rounds; `onFigures` hears of each measurement as it is made. */
export async function runRounds(
  scenario: Scenario,
  tls: TlsFiles | undefined,
  timing: Timing,
  onFigures: (figures: Figures) => void,
): Promise<readonly Figures[]> {
  const all: Figures[] = [];
  for (let round = 0; round < timing.rounds; round += 1) {
    for (const contender of scenario.contenders) {
      for (const figures of await measure(scenario, contender, tls, timing, round)) {
        all.push(figures);
        onFigures(figures);
      }
    }
  }
  return all;
}

/** A contender's turn. What goes wrong is said in the figures of the cases that are missing for it. */
async function measure(
  scenario: Scenario,
  contender: ContenderName,
  tls: TlsFiles | undefined,
  timing: Timing,
  round: number,
): Promise<readonly Figures[]> {
  const made: Figures[] = [];
  try {
    await withPair(contender, tls, scenario.connections, async (server, client) => {
      const warmKinds = new Set<LoadKind>();
      for (const { key, load } of scenario.cases) {
        if (!warmKinds.has(load.kind)) await runFor(client, warmUpLoad(scenario, load.kind), timing.warmUpSeconds);
        warmKinds.add(load.kind);
        await client.start(load);
        await sleep(settleMs);
        const [, before] = await Promise.all([client.begin(), server.sample()]);
        const busyBefore = machineBusyMs();
        await sleep(timing.seconds * 1_000);
        const busyAfter = machineBusyMs();
        const [report, after] = await Promise.all([client.end(), server.sample()]);
        const figures = figuresOf(scenario, load, report, before, after);
        const busyMs = (busyAfter ?? Number.NaN) - (busyBefore ?? Number.NaN);
        const oursMs = report.cpuMs + after.cpuMs - before.cpuMs;
        const otherCpus = Math.max(0, (busyMs - oursMs) / report.elapsedMs);
        made.push({ name: contender, caseKey: key, round, ...figures, otherCpus });
        await client.stop();
      }
    });
  } catch (error) {
    for (const { key } of scenario.cases.slice(made.length)) {
      made.push({ name: contender, caseKey: key, round, ...nothing, error: String(error) });
    }
  }
  return made;
}

/** From the start of a case's load to the start of its window. */
const settleMs = 700;

const nothing = {
  rps: 0,
  p50Ms: 0,
  p99Ms: 0,
  clientCpuUsPerCall: 0,
  serverCpuUsPerCall: 0,
  unfinished: 0,
  otherCpus: 0,
};

/** The case with the most in flight compiles the most code in the least time. An open loop is warmed up by a closed one. */
function warmUpLoad(scenario: Scenario, kind: LoadKind): LoadSpec {
  const inFlight = scenario.cases.map(({ load }) =>
    load.kind !== kind ? 0 : load.perSecond === undefined ? load.concurrency : 64,
  );
  return { kind, concurrency: Math.max(...inFlight) };
}

async function runFor(client: ClientCommands, load: LoadSpec, seconds: number): Promise<void> {
  await client.start(load);
  await sleep(seconds * 1_000);
  await client.stop();
}

function figuresOf(
  scenario: Scenario,
  load: LoadSpec,
  report: LoadReport,
  before: Sample,
  after: Sample,
): Omit<Figures, "name" | "caseKey" | "round" | "otherCpus"> {
  const serverMs = after.atMs - before.atMs;
  const done =
    scenario.unit === "calls"
      ? report.calls
      : load.kind === "up"
        ? ((after.receivedItems - before.receivedItems) * report.elapsedMs) / serverMs
        : report.items;
  const serverCpuMs = ((after.cpuMs - before.cpuMs) * report.elapsedMs) / serverMs;
  return {
    rps: (done * 1_000) / report.elapsedMs,
    p50Ms: report.p50Ms,
    p99Ms: report.p99Ms,
    clientCpuUsPerCall: (report.cpuMs * 1_000) / done,
    serverCpuUsPerCall: (serverCpuMs * 1_000) / done,
    unfinished: report.unfinished,
    error:
      report.failed > 0
        ? `${report.failed} failed: ${report.firstFailure}`
        : done === 0
          ? "nothing was done"
          : undefined,
  };
}
