/**
 * docs/policies.md says what the code does: each key has a row, each preset its numbers.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { policyKeys } from "./policy-options.ts";
import { presetNames, presetRows } from "./presets.ts";

const text = readFileSync(new URL("../../../docs/policies.md", import.meta.url), "utf8");

/** The cells of the table's rows below a heading. */
function rowsUnder(heading: string): readonly (readonly string[])[] {
  const [, section = ""] = text.split(`\n${heading}\n`);
  const [own = ""] = section.split(/\n##/);
  return [...own.matchAll(/^\| `.*\|$/gm)].map(([row]) =>
    row
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

test("each key of a policy has its row in docs/policies.md, and no other has", () => {
  const named = rowsUnder("## Keys").map(([key = ""]) => key.replaceAll("`", ""));
  assert.deepEqual([...named].sort(), [...policyKeys].sort());
  assert.ok(named.includes("retry.attemptsMax"));
});

test("the presets of docs/policies.md have the numbers of the code", () => {
  const grouped = (value: number): string => String(value).replace(/\B(?=(\d{3})+$)/g, " ");
  const wanted = presetNames.map((name) => {
    const { timeoutMs, attemptsMax, baseMs, maxMs, hedge, priority, throttle } = presetRows[name];
    const backoff = `${grouped(baseMs)}..${grouped(maxMs)} ms`;
    const words = [hedge ? "overdue" : "off", priority ?? "the caller's", throttle ? "on" : "off"];
    return [`\`${name}\``, grouped(timeoutMs), String(attemptsMax), backoff, ...words];
  });
  assert.deepEqual(
    rowsUnder("## Presets").map((row) => row.slice(0, 7)),
    wanted,
  );
});

test("the limits of a backoff are those of docs/policies.md", () => {
  const rows = new Map(rowsUnder("### Backoff").map(([key = "", , , , limit = ""]) => [key, limit]));
  assert.equal(rows.get("`baseMs`"), "1..600 000");
  assert.equal(rows.get("`maxMs`"), "`baseMs`..3 600 000");
  assert.equal(rows.get("`factor`"), "1..10");
});
