/** `npm run bench -- SCENARIO`: results on stdout, progress on stderr. Exit 0 done, 1 void, failed or goals missed, 2 usage. */
import { parseOptions, usage, UsageError } from "./options.ts";
import { runScenario } from "./run.ts";
import { formatReport } from "./table.ts";
import { formatVerdict, runVerdict } from "./verdict.ts";

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
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

function progress(line: string): void {
  console.error(line);
}
