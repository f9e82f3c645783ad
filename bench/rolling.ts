/**
 * `npm run bench -- rolling`: five server processes under 1,000 calls a second that may not be repeated, with a deadline of 1 s each, and
 * eight streams that last for ever. Each server in turn gets SIGTERM, drains, ends, and is started again on its own port; ten times. The goal
 * is that nothing fails, no call runs twice and no stream loses or repeats a message.
 */
import { type Child, startChild } from "./commands.ts";
import { machineBusyMs } from "./machine-load.ts";
import { UsageError } from "./options.ts";
import type { RollingClientCommands, RollingFigures, RollingLife, RollingServerCommands } from "./rolling-commands.ts";
import { parseRollingOptions, type RollingOptions, rollingUsage } from "./rolling-options.ts";

export interface RollingReport {
  readonly scenario: "rolling";
  readonly restarts: number;
  readonly figures: RollingFigures;
  /** Handlers that began; as many as calls, or one ran twice or never. */
  readonly handled: number;
  /** Calls that drains cut, and the longest drain. */
  readonly cut: number;
  readonly drainMsMax: number;
  /** CPUs that the whole machine used meanwhile: near all there are, deadlines pass for want of them. NaN: unknown. */
  readonly busyCpus: number;
  readonly passed: boolean;
  readonly method: Readonly<Record<string, unknown>>;
}

type Server = Child<RollingServerCommands>;

export async function runRolling(options: RollingOptions, progress: (line: string) => void): Promise<RollingReport> {
  const lives: RollingLife[] = [];
  const servers: Server[] = Array.from({ length: options.servers }, startServer);
  const client = startChild<RollingClientCommands>("./rolling-client.ts", "any");
  try {
    const { propagationMs } = options;
    const ports = await Promise.all(servers.map(({ ask }) => ask.serve({ port: 0, propagationMs })));
    await client.ask.connect({ ports, timeoutMs: options.timeoutMs });
    await client.ask.start(options);
    const startMs = performance.now();
    const startBusyMs = machineBusyMs() ?? Number.NaN;
    for (let round = 1; round <= options.rounds; round += 1) {
      for (const [index, port] of ports.entries()) {
        await sleep(options.settleMs);
        lives.push(await restart(servers, index, port, propagationMs));
      }
      progress(`round ${round}: ${lives.length} restarts, ${cutIn(lives)} calls cut`);
    }
    await sleep(options.settleMs);
    const figures = await client.ask.stop();
    const busyCpus = ((machineBusyMs() ?? Number.NaN) - startBusyMs) / (performance.now() - startMs);
    const rest = await Promise.all(servers.map(({ ask }) => ask.life()));
    return reportOf(options, figures, [...lives, ...rest], { restarts: lives.length, busyCpus });
  } finally {
    for (const child of [client, ...servers]) child.stop();
  }
}

function startServer(): Server {
  return startChild<RollingServerCommands>("./rolling-server.ts", "any");
}

async function restart(servers: Server[], index: number, port: number, propagationMs: number): Promise<RollingLife> {
  const old = servers[index];
  if (old === undefined) throw new RangeError(`there is no server ${index}`);
  const drained = old.ask.drained();
  await old.end("SIGTERM");
  const life = await drained;
  const next = startServer();
  servers[index] = next;
  await next.ask.serve({ port, propagationMs });
  return life;
}

export function reportOf(
  options: RollingOptions,
  figures: RollingFigures,
  lives: readonly RollingLife[],
  { restarts, busyCpus }: { readonly restarts: number; readonly busyCpus: number },
): RollingReport {
  const handled = lives.reduce((sum, life) => sum + life.handled, 0);
  const cut = cutIn(lives);
  return {
    scenario: "rolling",
    restarts,
    figures,
    handled,
    cut,
    drainMsMax: Math.max(...lives.map(({ tookMs }) => tookMs)),
    busyCpus,
    passed: figures.failed === 0 && figures.streamFaults.length === 0 && cut === 0 && handled === figures.calls,
    method: {
      ...options,
      policy: "retry false, hedge false, effect unknown",
      cpus: "not pinned: what is measured is what fails, and processes that start need the room",
      latencyFrom: "when a call was due",
      node: process.version,
    },
  };
}

function cutIn(lives: readonly RollingLife[]): number {
  return lives.reduce((sum, { cut }) => sum + cut, 0);
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

export function describeRolling({
  figures,
  restarts,
  handled,
  cut,
  drainMsMax,
  busyCpus,
  passed,
}: RollingReport): string {
  const calls = `${restarts} restarts  ${figures.calls} calls  ${figures.failed} failed  ${handled} handled  ${cut} cut`;
  const streams = `${figures.messages} messages  ${figures.resumed} streams resumed  ${figures.streamFaults.length} stream faults`;
  const times = `p50 ${figures.p50Ms.toFixed(0)}  p99 ${figures.p99Ms.toFixed(0)}  max ${figures.maxMs.toFixed(0)} ms`;
  const first = [figures.firstFailure, ...figures.streamFaults].filter((text) => text !== undefined);
  const kinds = Object.entries(figures.failures).map(([kind, count]) => `${count} x ${kind}`);
  const tail = `longest drain ${drainMsMax.toFixed(0)} ms  ${busyCpus.toFixed(2)} CPUs busy  ${passed ? "passed" : "missed"}`;
  return [calls, streams, `${times}  ${tail}`, ...kinds, ...first].join("\n");
}

/** The verb: gives back the exit code. 0 nothing failed, 1 something did, 2 usage. */
export async function rollingMain(args: readonly string[], progress: (line: string) => void): Promise<number> {
  try {
    const options = parseRollingOptions(args);
    const report = await runRolling(options, progress);
    console.log(options.isJson ? JSON.stringify(report, undefined, 2) : describeRolling(report));
    return report.passed ? 0 : 1;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(`${error.message}\n\n${rollingUsage}`);
    return 2;
  }
}

if (import.meta.main) process.exitCode = await rollingMain(process.argv.slice(2), (line) => console.error(line));
