/**
 * The simulator finds what was planted. Where a CI runs this, all bugs; elsewhere some of them, another choice with each commit.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { headSeed } from "../commit-seed.ts";
import { invariants } from "../invariants.ts";
import { type PlantedBug, plantedBugs } from "./bugs.ts";
import { findPlanted, formatPlanted } from "./find-planted.ts";

const chosenCount = process.env["CI"] === undefined ? 3 : plantedBugs.length;
const first = (headSeed() ?? 0) % plantedBugs.length;
const chosen = Array.from(
  { length: chosenCount },
  (_, index) => plantedBugs[(first + index) % plantedBugs.length] as PlantedBug,
);

test("each planted bug is one text that stands once in its file, and breaks invariants that there are", () => {
  assert.ok(plantedBugs.length >= 10);
  const known = new Set(invariants.map(({ name }) => name));
  for (const { name, file, find, replace, expects } of plantedBugs) {
    const text = readFileSync(new URL(`../../../${file}`, import.meta.url), "utf8");
    assert.equal(text.split(find).length - 1, 1, `${name}: how often its text stands in ${file}`);
    assert.notEqual(find, replace, name);
    assert.ok(
      expects.length > 0 && expects.every((invariant) => known.has(invariant)),
      `${name}: ${expects.join(", ")}`,
    );
  }
});

test(`the simulator finds planted bugs in under a minute of CPU: ${chosen.map(({ name }) => name).join(", ")}`, async () => {
  const results = await findPlanted(chosen, ["--no-shrink"], () => {});
  assert.ok(
    results.every(({ isFound }) => isFound),
    [formatPlanted(results), ...results.filter(({ isFound }) => !isFound).map(({ text }) => text)].join("\n"),
  );
});

test("a bug whose text is not there is not taken for one that was not found", async () => {
  const gone: PlantedBug = { ...(plantedBugs[0] as PlantedBug), name: "no-such-bug" };
  const [result] = await findPlanted([gone], ["--no-shrink", "--seeds", "1"], () => {});
  assert.equal(result?.isFound, false);
  assert.match(result?.text ?? "", /^no report, exit 1: .*must name a planted bug/s);
});
