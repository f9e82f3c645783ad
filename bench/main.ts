/** `npm run bench -- SCENARIO`: results on stdout, progress on stderr. Exit 0 done, 1 void, failed or goals missed, 2 usage. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseOptions, programs, usage, UsageError } from "./options.ts";
import { runScenario } from "./run.ts";
import { formatReport } from "./table.ts";
import { formatVerdict, runVerdict } from "./verdict.ts";

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  const program = programs[args[0] ?? ""];
  if (program !== undefined) return runProgram(program.file, args.slice(1));
  try {
    const options = parseOptions(args);
    if (options.scenario === "verdict") {
      const verdict = await runVerdict(options, progress);
      console.log(options.isJson ? JSON.stringify(verdict, undefined, 2) : formatVerdict(verdict));
      return verdict.passed ? 0 : 1;
    }
    const report = await runScenario(options.scenario, options, progress);
    console.log(options.isJson ? JSON.stringify(report, undefined, 2) : formatReport(report));
    return report.void === undefined && report.errors.length === 0 ? 0 : 1;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(`${error.message}\n\n${usage}`);
    return 2;
  }
}

/** A benchmark that is a program of its own. */
function runProgram(file: string, args: readonly string[]): number {
  const path = fileURLToPath(new URL(file, import.meta.url));
  const { status } = spawnSync(process.execPath, [...process.execArgv, path, ...args], { stdio: "inherit" });
  return status ?? 1;
}

function progress(line: string): void {
  console.error(line);
}
