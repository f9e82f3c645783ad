/**
 * What a user can import, a user can read about where it is declared.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { documentationFaults } from "./documented.ts";
import { doors, exportsOf } from "./doors.ts";
import { nodeField, nodesField, parse } from "./source.ts";

test("every name that leaves through a door is documented, options to the field", () => {
  const faults = new Set(
    doors()
      .flatMap(({ path }) => exportsOf(path))
      .flatMap(documentationFaults),
  );
  assert.deepEqual([...faults], []);
});

test("the checker sees what is missing", () => {
  const faultsOf = (text: string, name: string): number => {
    const source = parse("src/call/x.ts", text);
    const [statement] = nodesField(source.program, "body");
    assert.ok(statement !== undefined);
    const node = nodeField(statement, "declaration") ?? statement;
    return documentationFaults({ name, isType: true, declaration: { source, node, start: statement.start } }).length;
  };
  assert.equal(faultsOf("/** A. */\nexport const a = 1;", "a"), 0);
  assert.equal(faultsOf("export const a = 1;", "a"), 1);
  assert.equal(faultsOf("// A.\nexport const a = 1;", "a"), 1);
  assert.equal(
    faultsOf("/** The file. */\nimport a from 'a';\nexport function b(): void {}", "b"),
    0,
    "an import has no doc",
  );
  assert.equal(faultsOf("/** A. */ export interface AOptions { b: string }", "AOptions"), 1);
  assert.equal(faultsOf("/** A. */ export interface AOptions { /** B. */ b?: string }", "AOptions"), 1, "no default");
  assert.equal(
    faultsOf(
      "/** A. */ export interface AOptions { /** B. Default none. */ b?: string; /** C. */ c: string }",
      "AOptions",
    ),
    0,
  );
  assert.equal(
    faultsOf(
      "/** A. */ export class A { b = 1; /** C. */ c(): void {} #d = 1; constructor() { f(); } private e = 1; }",
      "A",
    ),
    1,
  );
});
