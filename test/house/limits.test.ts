/**
 * docs/limits.md names files and tests: they must be there, and the numbers that it takes from the code must be the code's.
 */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { test } from "node:test";
import { DEFAULT_HTTP2_LIMITS } from "../../src/wire/http2/limits.ts";
import { filesOf, ROOT } from "./source.ts";

const text = readFileSync(join(ROOT, "docs/limits.md"), "utf8");
const rows = text.split("\n").filter((line) => line.startsWith("| ") && !line.startsWith("| what"));

test("each file and each test that docs/limits.md names is there", () => {
  const tests = new Set(filesOf(["src", "test"], /\.test\.ts$/).map((path) => basename(path)));
  const named = [...text.matchAll(/`([\w./-]+\.ts)`/g)].map(([, path = ""]) => path);
  assert.ok(named.length > 50);
  assert.deepEqual(
    named.filter((path) => (path.endsWith(".test.ts") ? !tests.has(path) : !existsSync(join(ROOT, path)))),
    [],
  );
});

test("each limit names where it stands and its test, or says that it is not yet or needs none", () => {
  const bare = rows.filter((row) => !/not yet|\| none:/.test(row) && !/test\.ts|the same(, [^|]*)? \|$/.test(row));
  assert.deepEqual(bare, []);
});

test("the numbers of the table are those of the engine", () => {
  const limits = DEFAULT_HTTP2_LIMITS;
  const words: readonly (readonly [row: RegExp, number: string])[] = [
    [/^\| streams at once/, String(limits.streamsMax)],
    [/^\| metadata of a call/, `${limits.listBytesMax / 1_024} KiB`],
    [/^\| one field/, `${limits.fieldBytesMax / 1_024} KiB`],
    [/^\| compressed bytes/, `${limits.blockBytesMax / 1_024} KiB`],
    [/^\| CONTINUATION/, `| ${limits.continuationsMax},`],
    [/^\| streams that the client resets/, `${limits.resetBurst}, then ${limits.resetPerSecond} a second`],
    [/^\| useless frames/, `${limits.glitchBurst.toLocaleString("en")}, then ${limits.glitchPerSecond} a second`],
    [/^\| PINGs closer than 9 s/, `| ${limits.pingStrikesMax} |`],
    [/^\| empty DATA/, `| ${limits.emptyDataMax} |`],
    [/^\| entries of a SETTINGS/, `| ${limits.settingsEntriesMax} |`],
    [
      /^\| frames and header fields/,
      `${limits.framesPerTurnMax.toLocaleString("en")} and ${limits.fieldsPerTurnMax.toLocaleString("en")}`,
    ],
  ];
  for (const [row, number] of words) {
    const line = rows.find((candidate) => row.test(candidate));
    assert.ok(line?.includes(number), `${row} must say ${number}: ${line}`);
  }
});
