/**
 * `npm run bench -- slow-peer`: one of eleven servers turns from 167 ms to 2 s for half of the run, in real processes on loopback, under an
 * open loop of 1,000 calls a second with a deadline of 1 s each. Published for 60 s ("Beyond Round Robin", Linkerd, 2016): round
 * robin answers 95 % in time, least loaded 99 %, peak EWMA 99.9 %. The same in virtual time: test/scenarios/slow-peer.ts.
 *
 * Four processes hold the eleven servers, whose work is a timer: eleven processes would measure the machine's scheduler.
 */
import { type Child, pinnedCpus, startChild } from "./commands.ts";
import { UsageError } from "./options.ts";
import type { SlowClientCommands, SlowServerCommands } from "./slow-peer-commands.ts";
import { type SlowPeerContender, timeoutMs } from "./slow-peer-contender.ts";
import type { LoadFigures } from "./slow-peer-load.ts";
import { parseSlowPeerOptions, type SlowPeerOptions, slowPeerUsage } from "./slow-peer-options.ts";

export interface SlowPeerResult extends LoadFigures {
  readonly name: SlowPeerContender;
  /** Share of the calls that were answered within the second. */
  readonly inTimeShare: number;
  /** Attempts that arrived at servers, beyond one for each call. */
  readonly extraShare: number;
  /** Attempts that arrived at the slow server while it was slow. */
  readonly handledWhileSlow: number;
}

export interface SlowPeerReport {
  readonly scenario: "slow-peer";
  readonly results: readonly SlowPeerResult[];
  /** For Holdfast's defaults, if they were measured for a minute or more: no call late or failed, at most 0.1 % extra. */
  readonly passed: boolean | undefined;
  readonly method: Readonly<Record<string, unknown>>;
}

export const extraShareMax = 0.001;
/** What is extra is extra once, when the server becomes slow: a share of it needs the length that was published. */
export const secondsMin = 60;
const slowMs = 2_000;
/** Servers by process. */
const serversOf: readonly number[] = [3, 3, 3, 2];
/** The one that becomes slow: the first of the second process. */
const slowProcess = 1;

/** Measures one contender after the other, each with processes of its own. */
export async function runSlowPeer(
  options: Omit<SlowPeerOptions, "isJson">,
  progress: (line: string) => void,
): Promise<SlowPeerReport> {
  const results: SlowPeerResult[] = [];
  for (const name of options.contenders) {
    const result = await measure(name, options);
    results.push(result);
    progress(describe(result));
  }
  const own = results.find(({ name }) => name === "holdfast");
  return {
    scenario: "slow-peer",
    results,
    passed: own === undefined || options.seconds < secondsMin ? undefined : meetsGoal(own),
    method: {
      seconds: options.seconds,
      perSecond: options.perSecond,
      timeoutMs,
      slowFromSeconds: options.seconds / 4,
      slowUntilSeconds: (options.seconds * 3) / 4,
      servers: serversOf.reduce((sum, count) => sum + count, 0),
      serverProcesses: serversOf.length,
      clientCpu: pinnedCpus?.[0] ?? "not pinned",
      serverCpu: pinnedCpus?.[1] ?? "not pinned",
      latencyFrom: "when a call was due",
      node: process.version,
    },
  };
}

export function meetsGoal({
  late,
  failed,
  extraShare,
}: Pick<SlowPeerResult, "late" | "failed" | "extraShare">): boolean {
  return late + failed === 0 && extraShare <= extraShareMax;
}

async function measure(name: SlowPeerContender, options: Omit<SlowPeerOptions, "isJson">): Promise<SlowPeerResult> {
  const servers = serversOf.map(() => startChild<SlowServerCommands>("./slow-peer-server.ts", 1));
  const client = startChild<SlowClientCommands>("./slow-peer-client.ts", 0);
  try {
    const ports = await Promise.all(
      servers.map(({ ask }, index) => ask.listen({ count: serversOf[index] ?? 0, seed: 1 + 10 * index })),
    );
    await client.ask.connect({ contender: name, ports: ports.flat() });
    const before = await handledBy(servers);
    const calls = options.seconds * options.perSecond;
    await client.ask.start({ perSecond: options.perSecond, calls, lateMs: timeoutMs });
    const quarterMs = (options.seconds * 1_000) / 4;
    await sleep(quarterMs);
    await servers[slowProcess]?.ask.slow({ index: 0, slowMs });
    await sleep(2 * quarterMs);
    await servers[slowProcess]?.ask.slow({ index: 0, slowMs: undefined });
    await sleep(quarterMs);
    const figures = await client.ask.figures();
    return resultOf(name, figures, before, await handledBy(servers));
  } finally {
    for (const child of [client, ...servers]) child.stop();
  }
}

interface Handled {
  readonly handled: number;
  readonly handledWhileSlow: number;
}

export function resultOf(
  name: SlowPeerContender,
  figures: LoadFigures,
  before: Handled,
  after: Handled,
): SlowPeerResult {
  return {
    name,
    ...figures,
    inTimeShare: 1 - (figures.late + figures.failed) / figures.calls,
    extraShare: (after.handled - before.handled) / figures.calls - 1,
    handledWhileSlow: after.handledWhileSlow - before.handledWhileSlow,
  };
}

async function handledBy(servers: readonly Child<SlowServerCommands>[]): Promise<Handled> {
  const all = await Promise.all(servers.map(({ ask }) => ask.handled()));
  return {
    handled: all.reduce((sum, { handled }) => sum + handled, 0),
    handledWhileSlow: all.reduce((sum, { handledWhileSlow }) => sum + handledWhileSlow, 0),
  };
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function describe({
  name,
  calls,
  late,
  failed,
  inTimeShare,
  extraShare,
  p99Ms,
  p999Ms,
  maxMs,
}: SlowPeerResult): string {
  const head = `${name.padEnd(13)}  ${calls} calls  ${late} late  ${failed} failed  ${(inTimeShare * 100).toFixed(3)} % in time`;
  const tail = `p99 ${p99Ms.toFixed(0)}  p99.9 ${p999Ms.toFixed(0)}  max ${maxMs.toFixed(0)} ms`;
  return `${head}  ${(extraShare * 100).toFixed(3)} % extra  ${tail}`;
}

/** The verb: gives back the exit code. 0 done and Holdfast's goal met, 1 missed, 2 usage. */
export async function slowPeerMain(args: readonly string[], progress: (line: string) => void): Promise<number> {
  try {
    const options = parseSlowPeerOptions(args);
    const report = await runSlowPeer(options, progress);
    console.log(options.isJson ? JSON.stringify(report, undefined, 2) : report.results.map(describe).join("\n"));
    return report.passed === false ? 1 : 0;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(`${error.message}\n\n${slowPeerUsage}`);
    return 2;
  }
}

if (import.meta.main) process.exitCode = await slowPeerMain(process.argv.slice(2), (line) => console.error(line));
