/**
 * `npm run demo`: five servers, many calls in flight, one fault after the other, and no call that fails.
 * Exit code 0 if that is so, 1 if not, 2 for wrong flags.
 */
import { createClient } from "holdfast";
import { Calculator } from "../gen/calc/v1/calc_pb.ts";
import { planChapters, SERVER_NAMES } from "./chapters.ts";
import type { Stage } from "./faults.ts";
import { LiveTable } from "./live-table.ts";
import { runLoad } from "./load.ts";
import { NetworkProcess } from "./network-process.ts";
import { type DemoOptions, parseOptions, usage, UsageError } from "./options.ts";
import { pause } from "./pause.ts";
import { isGood, makeReport, type Report, reportText, savedBy } from "./report.ts";
import { type ServerState, startServers } from "./server-process.ts";
import { type Stall, watchStalls } from "./stalls.ts";
import { Story } from "./story.ts";
import { Tally } from "./tally.ts";

/** A run lasts longer than it was to where faults take their time to heal, and the last calls end after its end. */
const AFTER_MS = 60_000;

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  try {
    const options = parseOptions(args);
    if (options.isHelp) {
      console.log(usage);
      return 0;
    }
    const report = await run(options);
    console.log(options.isJson ? JSON.stringify(report) : reportText(report));
    return isGood(report) ? 0 : 1;
  } catch (error) {
    if (error instanceof UsageError) console.error(`demo: ${error.message}\n${usage}`);
    else console.error("demo:", error instanceof Error ? error.message : error);
    return error instanceof UsageError ? 2 : 1;
  }
}

/** Sets the stage, and leaves nothing of it behind. */
async function run(options: DemoOptions): Promise<Report> {
  const stop = new AbortController();
  const interrupted = stopOnSignals(stop);
  const servers = await startServers(SERVER_NAMES);
  let network: NetworkProcess | undefined;
  const endStage = (): void => {
    for (const server of servers) server.end();
    network?.end();
  };
  process.on("exit", endStage);
  // Whoever read our lines has left (`| head`): nobody is there to tell.
  process.stdout.on("error", () => process.exit(1));
  try {
    network = await NetworkProcess.start(servers.map(({ port }) => port));
    return await play({ servers, network }, options, stop, interrupted);
  } finally {
    stop.abort();
    endStage();
    process.off("exit", endStage);
  }
}

async function play(
  stage: Stage,
  { seconds, isJson }: DemoOptions,
  stop: AbortController,
  interrupted: { readonly isSo: boolean },
): Promise<Report> {
  const { servers, network } = stage;
  await using client = createClient(Calculator, network.addresses);
  const stalls: Stall[] = [];
  using _watch = watchStalls((stall) => stalls.push(stall));
  const startedMs = performance.now();
  const endMs = startedMs + seconds * 1_000;
  const tally = new Tally(network.addresses, startedMs, seconds * 1_000 + AFTER_MS);
  const say = (text: string): void => {
    if (table !== undefined) console.log(table.turn(text));
  };
  const story = new Story(stage, client, tally, { startedMs, say });
  const live = {
    lookOf: (server: number) => ({
      isDown: isDown(servers[server]?.state),
      isIll: story.faultOf(server) !== undefined,
    }),
    saved: () => savedBy(client),
  };
  const table = isJson ? undefined : new LiveTable(tally, live, startedMs);
  const ports = servers.map(({ port }) => port);
  if (table !== undefined) console.log(table.heading(seconds, ports, network.addresses));
  const mayBeGarbled = (address: string): boolean => story.mayBeGarbled(address);
  const told = story.tell(planChapters(seconds), stop.signal);
  const whole = Promise.all([
    runLoad({ client, tally, stop: stop.signal, mayBeGarbled }),
    told,
    printLines(table, startedMs, stop.signal),
  ]);
  // A server that cannot be started again ends the run too.
  await Promise.race([whole, Promise.all([told, pause(endMs - performance.now(), stop.signal)])]);
  const tookMs = performance.now() - startedMs;
  stop.abort();
  await whole;
  const serversKilled = servers.reduce((sum, { kills }) => sum + kills, 0);
  const faults = story.reports(performance.now());
  const stallsOf = [
    { process: "client", stalls },
    { process: "proxies", stalls: network.stalls },
    ...servers.map(({ name, stalls: own }) => ({ process: name, stalls: own })),
  ];
  const ending = {
    addresses: network.addresses,
    startedMs,
    tookMs,
    isInterrupted: interrupted.isSo,
    serversKilled,
    faults,
    stallsOf,
  };
  return makeReport(tally, client, ending);
}

function isDown(state: ServerState | undefined): boolean {
  return state === "killed" || state === "ended" || state === "starting";
}

/** Ends the run at the first signal, with its report; at the second one at once. */
function stopOnSignals(stop: AbortController): { readonly isSo: boolean } {
  const interrupted = { isSo: false };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      if (interrupted.isSo) process.exit(130);
      interrupted.isSo = true;
      stop.abort();
    });
  }
  return interrupted;
}

/** A line at each whole second, the last one at the end of the run. */
async function printLines(table: LiveTable | undefined, startedMs: number, stop: AbortSignal): Promise<void> {
  if (table === undefined) return;
  for (let second = 1; ; second += 1) {
    await pause(startedMs + second * 1_000 - performance.now(), stop);
    const nowMs = performance.now();
    // The last second may be cut short by a hair, or by Ctrl-C.
    if (stop.aborted && nowMs < startedMs + second * 1_000 - 500) return;
    console.log(table.line(second, nowMs));
    if (stop.aborted) return;
  }
}
