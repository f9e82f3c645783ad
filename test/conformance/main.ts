/**
 * `npm run conformance`: connectrpc/conformance against Holdfast's client and server; exit code 0 when every case passes.
 * `npm run conformance -- client --run 'Timeouts/**' --trace` runs a part and shows what went over the wire.
 */
import { goProgram, hasProgram } from "../peers/tools.ts";
import { CASES_MIN, type Mode, runConformance } from "./run.ts";

const [first, ...rest] = process.argv.slice(2);
const isOneMode = first === "client" || first === "server";
const modes: readonly Mode[] = isOneMode ? [first] : ["client", "server"];
const flags = isOneMode || first === undefined ? rest : [first, ...rest];

if (!hasProgram(goProgram("connectconformance"))) {
  process.stderr.write("connectconformance is not there: test/peers/build.sh go builds it (it needs Go)\n");
  process.exitCode = 2;
} else {
  for (const mode of modes) {
    const { run, passed, failed, output } = await runConformance(mode, flags);
    const isComplete = flags.length > 0 || run >= CASES_MIN[mode];
    if (failed.length > 0 || passed < run || !isComplete) {
      process.stderr.write(output);
      process.exitCode = 1;
    }
    process.stdout.write(`conformance, ${mode}: ${run} run, ${passed} passed, ${run - passed} failed\n`);
  }
}
