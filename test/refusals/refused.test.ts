/**
 * The compiler's reasons: what it prints for each line of refused.ts.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ROOT } from "../house/source.ts";

const DIRECTIVE = /^\/\/ @ts-expect-error (.*)$/;

test("each line of refused.ts fails to compile, for the reason that stands above it, and no other line does", async () => {
  const lines = readFileSync(join(ROOT, "test/refusals/refused.ts"), "utf8").split("\n");
  const wanted = new Map<number, string>();
  const bare = lines.map((line, index) => {
    const reason = DIRECTIVE.exec(line)?.[1];
    // The line after it, counted from one.
    if (reason !== undefined) wanted.set(index + 2, reason);
    return reason === undefined ? line : "";
  });
  assert.ok(wanted.size >= 20, `${wanted.size} refusals were found`);
  const printed = reasonsByLine(await compile(bare.join("\n")));
  for (const [line, reason] of wanted) {
    assert.ok(
      printed.get(line)?.includes(reason),
      `line ${line} must say ${reason}:\n${printed.get(line) ?? "(it compiled)"}`,
    );
  }
  assert.deepEqual([...printed.keys()], [...wanted.keys()]);
});

/** tsc's words about a text in the place of refused.ts, under the project's own settings. */
async function compile(text: string): Promise<string> {
  mkdirSync(join(ROOT, ".cache"), { recursive: true });
  // As deep as test/refusals, so that its imports lead to the same files.
  const directory = mkdtempSync(join(ROOT, ".cache", "refused-"));
  try {
    writeFileSync(join(directory, "refused.ts"), text);
    const config = { extends: "../../tsconfig.json", files: ["refused.ts"], include: [] };
    writeFileSync(join(directory, "tsconfig.json"), JSON.stringify(config));
    const tsc = join(ROOT, "node_modules/typescript/bin/tsc");
    return await new Promise((resolve) => {
      execFile(process.execPath, [tsc, "--pretty", "false", "-p", directory], { cwd: directory }, (_error, stdout) =>
        resolve(stdout),
      );
    });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Line of refused.ts -> all that was said about it: an error and the lines that are indented below it. */
function reasonsByLine(output: string): ReadonlyMap<number, string> {
  const reasons = new Map<number, string>();
  let at = 0;
  for (const line of output.split("\n")) {
    const found = /^refused\.ts\((\d+),\d+\): error TS\d+: /.exec(line);
    if (found !== null) at = Number(found[1]);
    else if (!line.startsWith(" ")) at = 0;
    if (at !== 0) reasons.set(at, `${reasons.get(at) ?? ""}${line}\n`);
  }
  return reasons;
}
