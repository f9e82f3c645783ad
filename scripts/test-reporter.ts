/**
 * How `npm test` reports: node:test's own "spec" report, then what was skipped and why, then one last line
 * "N passed, N failed". With CI=true a skipped test is a failure: there every tool is installed, so that a skip means
 * that something was not tested.
 *
 * The default export is what node:test asks of a reporter module.
 */
import { Readable } from "node:stream";
import { spec } from "node:test/reporters";
import type { TestEvent } from "node:test/reporters";

interface Tally {
  passed: number;
  failed: number;
  readonly skipped: string[];
}

export default async function* report(source: AsyncIterable<TestEvent>): AsyncGenerator<string | Buffer> {
  const tally: Tally = { passed: 0, failed: 0, skipped: [] };
  yield* Readable.from(counted(source, tally)).pipe(new spec());
  const isCi = process.env["CI"] === "true";
  if (tally.skipped.length > 0) yield `\nskipped:\n${tally.skipped.map((line) => `  ${line}\n`).join("")}`;
  if (isCi && tally.skipped.length > 0) process.exitCode = 1;
  const failed = tally.failed + (isCi ? tally.skipped.length : 0);
  yield `\n${tally.passed} passed, ${failed} failed\n`;
}

async function* counted(source: AsyncIterable<TestEvent>, tally: Tally): AsyncGenerator<TestEvent> {
  for await (const event of source) {
    if (event.type === "test:pass" || event.type === "test:fail") count(event, tally);
    yield event;
  }
}

/** Leaves only: a suite, or a file, passes or fails with its tests. A file that could not be run at all is a failure. */
function count(event: Extract<TestEvent, { type: "test:pass" | "test:fail" }>, tally: Tally): void {
  const { name, file, skip, todo, details } = event.data;
  if (details.type === "suite") return;
  if (skip !== undefined && skip !== false) {
    tally.skipped.push(
      `${name}${file === undefined ? "" : ` (${file.slice(process.cwd().length + 1)})`}: ${skip === true ? "no reason given" : skip}`,
    );
  } else if (event.type === "test:pass") {
    tally.passed += 1;
  } else if (todo === undefined || todo === false) {
    tally.failed += 1;
  }
}
