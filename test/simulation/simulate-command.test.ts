import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { commitSeed, seedOfCommit } from "./commit-seed.ts";

const program = fileURLToPath(new URL("./main.ts", import.meta.url));

function run(
  ...args: readonly string[]
): Promise<{ readonly code: unknown; readonly out: string; readonly errors: string }> {
  return new Promise((resolve) => {
    const env = {
      ...process.env,
      CI: undefined,
      HOLDFAST_COMMIT: undefined,
      GITHUB_SHA: undefined,
      CI_COMMIT_SHA: undefined,
    };
    execFile(process.execPath, ["--conditions=holdfast-source", program, ...args], { env }, (error, out, errors) => {
      resolve({ code: error === null ? 0 : error.code, out, errors });
    });
  });
}

test("plays the part of a universe that it is asked for, and says how it can be played again", async () => {
  const { code, out } = await run("--seed", "5", "--keep", "0,1", "--storm-ms", "400", "--json");
  assert.equal(code, 0, out);
  const report = JSON.parse(out);
  assert.deepEqual([report.passed, report.universes, report.failures], [true, 1, []]);
  assert.ok(report.calls > 0 && report.virtualHours > 0 && report.hoursPerCpuHour > 0);
});

test("refuses what it does not know, with exit 2 and its usage", async () => {
  const refusals = [
    [["--seeds", "0"], /--seeds must be a whole number from 1 on, got "0"/],
    [["--seed", "x"], /--seed must be a whole number/],
    [["--keep", "1,b"], /--keep must be a whole number/],
    [["--bug", "none-such"], /--bug must be one of exclude-list-ignored, .*, got "none-such"/],
    [["--sede", "1"], /--sede/],
  ] as const;
  for (const [args, expected] of refusals) {
    const { code, errors, out } = await run(...args);
    assert.equal(code, 2, args.join(" "));
    assert.match(errors, expected);
    assert.match(errors, /usage: npm run simulate/);
    assert.equal(out, "");
  }
});

test("a commit is a seed, in a CI or when one is named", () => {
  const hash = "c1f8137aaaaabbbbbcccccdddddeeeeefffff000";
  assert.equal(seedOfCommit(hash), 0xc1f8137aaaaa);
  assert.equal(seedOfCommit("c1f8137"), undefined);
  assert.equal(seedOfCommit("not a commit at all"), undefined);
  assert.equal(commitSeed({ HOLDFAST_COMMIT: hash }), 0xc1f8137aaaaa);
  assert.equal(commitSeed({ GITHUB_SHA: hash.toUpperCase() }), 0xc1f8137aaaaa);
  assert.equal(commitSeed({}), undefined);
  assert.ok(Number.isSafeInteger(seedOfCommit("f".repeat(40))));
});
