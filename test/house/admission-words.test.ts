/**
 * docs/admission.md has a row for each word that an event or a status may say of a refused call, and no other.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Admission } from "../../src/policy/protect/admission.ts";
import { nodeWorld } from "../../src/world/node.ts";
import { ROOT } from "./source.ts";

test("docs/admission.md tells of each reason for which a call is refused", () => {
  const [, after = ""] = readFileSync(join(ROOT, "docs/admission.md"), "utf8").split("| why | when |");
  const [table = ""] = after.split("\n\n");
  const told = [...table.matchAll(/^\| `([\w-]+)` \|/gm)].map(([, word = ""]) => word);
  const words = Object.keys(new Admission(undefined, nodeWorld.random).snapshot(0).refused);
  assert.ok(words.length > 0);
  assert.deepEqual(told.toSorted(), words.toSorted());
});
