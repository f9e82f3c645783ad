/**
 * The house stays tidy: sizes only shrink, names say something, and what the style forbids does not come back.
 */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path/posix";
import { test } from "node:test";
import { ratchetFaults, readHotPath, readRatchet } from "./ratchet.ts";
import { filesOf, isTestFile, parse, ROOT, sourceAt, sourcesOf } from "./source.ts";
import { assertingNames, excesses, nameFaults, saysHotPath, syntaxFaults, testFaults } from "./tidy.ts";

const DIRECTORIES = ["src", "test", "bench", "examples", "scripts"];
const sources = sourcesOf(...DIRECTORIES);

const known = new Map<string, ReadonlySet<string>>();

/** The names of a file that assert something when called. In a circle of imports the file being looked at counts for nothing. */
function assertingIn(path: string): ReadonlySet<string> {
  const names = known.get(path);
  if (names !== undefined) return names;
  known.set(path, new Set());
  const found = assertingNames(sourceAt(path), assertsIn(path));
  known.set(path, found);
  return found;
}

/** Whether the name that a file imports asserts something: node:assert does, and so may a helper of ours. */
function assertsIn(from: string): (specifier: string, name: string) => boolean {
  return (specifier, name) => {
    if (specifier.startsWith("node:assert")) return true;
    const path = specifier.startsWith(".") ? join(dirname(from), specifier) : "";
    return /^(src\/testing|test|bench)\//.test(path) && existsSync(join(ROOT, path)) && assertingIn(path).has(name);
  };
}

test("files and functions over the limit are those of the ratchet, and they only shrink", () => {
  assert.deepEqual(ratchetFaults(sources.flatMap(excesses), readRatchet()), []);
});

test("the ratchet lets nothing grow, and no entry outlive its reason", () => {
  const excess = { key: "src/a.ts", lines: 600, linesMax: 500 };
  assert.equal(ratchetFaults([excess], {}).length, 1, "a new excess");
  assert.equal(ratchetFaults([excess], { "src/a.ts": 599 }).length, 1, "a grown one");
  assert.equal(ratchetFaults([excess], { "src/a.ts": 600 }).length, 0, "the same");
  assert.equal(ratchetFaults([excess], { "src/a.ts": 700 }).length, 1, "a slack entry");
  assert.equal(ratchetFaults([], { "src/a.ts": 700 }).length, 1, "a stale entry");
});

test("the files that call themselves hot path are those of the list", () => {
  const listed = readHotPath();
  const declared = sources.filter(saysHotPath).map(({ path }) => path);
  assert.deepEqual(
    declared.filter((path) => !listed.includes(path)),
    [],
    "say Hot path, but are not in test/house/hot-path.json",
  );
  assert.deepEqual(
    listed.filter((path) => !declared.includes(path)),
    [],
    "are listed, but do not say Hot path in their first line",
  );
  assert.deepEqual(
    listed.filter((path) => !/^src\/(world|wire|client|server|schema|policy|call|observe|durable)\//.test(path)),
    [],
    "only what is on the path of every call is hot",
  );
  assert.deepEqual([...listed].sort(), listed, "the list is sorted");
});

test("names are kebab-case and say something", () => {
  assert.deepEqual(filesOf(DIRECTORIES, /\.(ts|mjs)$/).flatMap(nameFaults), []);
});

test("nothing that the style forbids is in the code", () => {
  assert.deepEqual(sources.flatMap(syntaxFaults), []);
});

test("every test asserts; none is skipped without a reason or run alone", () => {
  assert.deepEqual(
    sources.filter(({ path }) => isTestFile(path)).flatMap((source) => testFaults(source, assertsIn(source.path))),
    [],
  );
});

test("the checkers see what they are for", () => {
  const faults = (text: string): number => syntaxFaults(parse("src/call/x.ts", `/** An idea. */\n${text}`)).length;
  for (const text of [
    "export default 1;",
    "enum A { B }",
    "namespace A { export const b = 1; }",
    "@d class A {}",
    "let a: any;",
    "class A { constructor(readonly b: string) {} }",
    "interface IThing {}",
    "// TODO later",
    "// @ts-ignore",
    "// @ts-expect-error",
    "debugger;",
  ]) {
    assert.equal(faults(text), 1, text);
  }
  assert.equal(faults("// @ts-expect-error the type is wrong on purpose\nexport const a = 1;\ninterface Idle {}"), 0);
  assert.equal(syntaxFaults(parse("src/call/x.ts", "export const a = 1;")).length, 1, "no first comment");
  assert.equal(
    nameFaults("src/call/deadLine.ts").length +
      nameFaults("src/call/utils.ts").length +
      nameFaults("src/helpers/a.ts").length,
    3,
  );
  assert.equal(nameFaults("src/call/dead-line.test.ts").length, 0);
  const long = `/** An idea. */\nfunction a(): void {\n${"f();\n".repeat(80)}}`;
  assert.deepEqual(
    excesses(parse("src/call/x.ts", long)).map(({ key }) => key),
    ["src/call/x.ts#a"],
  );
  assert.deepEqual(excesses(parse("src/call/x.ts", long.replace("An idea", "Hot path: speed"))), []);
});

test("the test checker sees tests that assert nothing, run alone, or skip in silence", () => {
  const faults = (text: string): number =>
    testFaults(parse("src/call/x.test.ts", text), (specifier) => specifier.startsWith("node:assert")).length;
  const uses = 'import assert from "node:assert/strict";';
  for (const text of [
    'test("a", () => {});',
    'test("a", () => { f(); });',
    'test.only("a", () => assert.ok(b));',
    'test.skip("a", () => assert.ok(b));',
    'test("a", { only: true }, () => assert.ok(b));',
    'test("a", { skip: true }, () => assert.ok(b));',
    'test("a", (t) => { t.skip(); assert.ok(b); });',
    'describe.only("a", () => {});',
    'it("a", { todo: true }, () => assert.ok(b));',
  ]) {
    assert.equal(faults(`${uses}${text}`), 1, text);
  }
  for (const text of [
    'test("a", () => assert.ok(b));',
    'test("a", () => { fc.assert(b); });',
    'test("a", { skip: isMissing ? "no tool" : false }, () => assert.ok(b));',
    'function check(): void { assert.ok(b); } const twice = (): void => { check(); check(); }; test("a", () => twice());',
    'test("a", (t) => { t.assert.ok(b); });',
    'test("a", (t) => { t.skip("no tool"); assert.ok(b); });',
    'test("a", async () => { await peer.expectFrame("DATA"); });',
  ]) {
    assert.equal(faults(`${uses}${text}`), 0, text);
  }
});
