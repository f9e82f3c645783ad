/** `npm run h2spec`: every case of h2spec against the HTTP/2 engine; exit code 0 when all pass and none is skipped. */
import { goProgram, hasProgram } from "../peers/tools.ts";
import { CASES_MIN, runH2spec } from "./run.ts";

if (!hasProgram(goProgram("h2spec"))) {
  process.stderr.write("h2spec is not there: test/peers/build.sh go builds it (it needs Go)\n");
  process.exitCode = 2;
} else {
  const { run, failed, skipped, output } = await runH2spec();
  if (failed.length > 0 || run < CASES_MIN) process.stderr.write(output);
  for (const name of failed) process.stdout.write(`failed: ${name}\n`);
  for (const name of skipped) process.stdout.write(`skipped: ${name}\n`);
  process.stdout.write(
    `h2spec: ${run} run, ${run - failed.length - skipped.length} passed, ${failed.length} failed, ${skipped.length} skipped\n`,
  );
  process.exitCode = failed.length === 0 && skipped.length === 0 && run >= CASES_MIN ? 0 : 1;
}
