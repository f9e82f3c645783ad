/**
 * `npm run demo`: three servers, many calls in flight, one server killed after the other, and no call that fails.
 * Exit code 0 if that is so, 1 if not, 2 for wrong flags.
 */
import { createClient } from "holdfast";
import { Calculator } from "../gen/calc/v1/calc_pb.ts";
import { LiveTable } from "./live-table.ts";
import { runLoad } from "./load.ts";
import { type DemoOptions, parseOptions, usage, UsageError } from "./options.ts";
import { runOutages } from "./outages.ts";
import { pause } from "./pause.ts";
import { isGood, makeReport, type Report, reportText } from "./report.ts";
import { startServers } from "./server-process.ts";
import { Tally } from "./tally.ts";

const SERVER_NAMES = ["A", "B", "C"];

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

async function run({ seconds, isJson }: DemoOptions): Promise<Report> {
  const stop = new AbortController();
  const interrupted = stopOnSignals(stop);
  const servers = await startServers(SERVER_NAMES);
  const endServers = (): void => servers.forEach((server) => server.end());
  process.on("exit", endServers);
  // Whoever read our lines has left (`| head`): nobody is there to tell.
  process.stdout.on("error", () => process.exit(1));
  try {
    const addresses = servers.map(({ address }) => address);
    const tally = new Tally(addresses);
    await using client = createClient(Calculator, addresses);
    const startedMs = performance.now();
    const endMs = startedMs + seconds * 1_000;
    const table = isJson ? undefined : new LiveTable(servers, tally, startedMs);
    if (table !== undefined) console.log(table.heading(seconds));
    const whole = Promise.all([
      runLoad(client, tally, stop.signal),
      runOutages(servers, tally, endMs, stop.signal),
      printLines(table, startedMs, stop.signal),
    ]);
    // A server that cannot be started again ends the run too.
    await Promise.race([whole, pause(endMs - startedMs, stop.signal)]);
    const tookMs = performance.now() - startedMs;
    stop.abort();
    await whole;
    return makeReport(tally, servers, { tookMs, isInterrupted: interrupted.isSo });
  } finally {
    stop.abort();
    endServers();
    process.off("exit", endServers);
  }
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
