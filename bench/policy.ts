/**
 * `npm run bench -- policy`: `protect` with retry, timeout and breaker around a promise that is resolved already, against cockatiel and opossum with the
 * same three: what the protection itself costs. Rounds alternate between the contenders, each measurement in a process of its own.
 *
 * Not measured: work that takes time, failures, timeouts that pass, many functions at once. `protect-default` has all that is on by default
 * (copies, throttle, inherited deadlines and cancellation), which the others do not have.
 */
import { pinnedCpus, startChild } from "./commands.ts";
import { UsageError } from "./options.ts";
import { type PolicyContender, policyContenders } from "./policy-contenders.ts";
import { type PolicyLoad, policyLoads } from "./policy-load.ts";
import { parsePolicyOptions, type PolicyOptions, policyUsage } from "./policy-options.ts";
import type { PolicyCommands } from "./policy-process.ts";
import { formatPolicyReport, type PolicyReport, type PolicyRow, reportOf } from "./policy-report.ts";

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  try {
    const options = parsePolicyOptions(args);
    const report = await runPolicy(options, (line) => console.error(line));
    console.log(options.isJson ? JSON.stringify(report, undefined, 2) : formatPolicyReport(report));
    return report.passed === false ? 1 : 0;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(`${error.message}\n\n${policyUsage}`);
    return 2;
  }
}

/** Measures all contenders in all rounds. */
export async function runPolicy(
  options: Omit<PolicyOptions, "isJson">,
  progress: (line: string) => void,
): Promise<PolicyReport> {
  const rows: PolicyRow[] = [];
  for (let round = 0; round < options.rounds; round += 1) {
    for (const load of policyLoads) {
      for (const name of policyContenders) {
        const row = await measure(name, load, round, options);
        rows.push(row);
        const perSecond = Math.round((row.calls * 1_000) / row.elapsedMs);
        progress(`round ${round + 1}  ${load.padEnd(12)}${name.padEnd(16)}${perSecond} calls/s`);
      }
    }
  }
  const { rounds, seconds, warmUpSeconds } = options;
  return reportOf(rows, {
    summary:
      "work is a promise that is resolved already; medians of interleaved rounds, a fresh process for each measurement",
    rounds,
    seconds,
    warmUpSeconds,
    cpu: pinnedCpus?.[0] ?? "not pinned",
    node: process.version,
  });
}

async function measure(
  contender: PolicyContender,
  load: PolicyLoad,
  round: number,
  { seconds, warmUpSeconds }: Omit<PolicyOptions, "isJson">,
): Promise<PolicyRow> {
  const child = startChild<PolicyCommands>("./policy-process.ts", 0);
  try {
    return { name: contender, load, round, ...(await child.ask.measure({ contender, load, seconds, warmUpSeconds })) };
  } finally {
    child.stop();
  }
}
