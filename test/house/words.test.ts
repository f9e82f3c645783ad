/**
 * Words that the documents do without, and things that no file of this repository may name.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { filesOf, ROOT } from "./source.ts";

/** They tell the reader what to feel instead of what is so. */
const UNWANTED = /\b(just|simply|easy|easily|obvious|obviously|blazing|trivial|trivially|seamless|seamlessly)\b/gi;

/** A machine's own paths, and where one machine gets its packages: of no use to anybody else. */
const LOCAL =
  /(?<![\w.])\/(home|Users|root|work)\/[\w.-]+|\bregistry\.[a-z-]+\.[a-z]+\b|\bfile:\/\/\/(home|Users|root|work)\b/g;

const DOCUMENTS = [
  "README.md",
  "ARCHITECTURE.md",
  "CONTRIBUTING.md",
  "CHANGELOG.md",
  ...filesOf(["docs", "bench", "examples"], /\.md$/),
];
const CODE = [
  ...filesOf(
    ["src", "test", "bench", "examples", "scripts", ".ci"],
    /\.(ts|mjs|json|sh|py|go|mod|proto|yaml|md)$|(^|\/)run$/,
  ),
  ...["package.json", "package-lock.json", "tsconfig.json", "biome.json", ".oxlintrc.json", "buf.yaml", "buf.gen.yaml"],
];

test("the documents do without words that sell", () => {
  assert.deepEqual(
    DOCUMENTS.flatMap((path) => hits(path, withoutCode(read(path)), UNWANTED)),
    [],
  );
});

test("no file names a machine's own paths or where its packages come from", () => {
  const own = "test/house/words.test.ts";
  assert.deepEqual(
    [...DOCUMENTS, ...CODE].filter((path) => path !== own).flatMap((path) => hits(path, read(path), LOCAL)),
    [],
  );
});

test("no document promises work that is not done", () => {
  assert.deepEqual(
    DOCUMENTS.flatMap((path) => hits(path, withoutCode(read(path)), /\b(TODO|FIXME|TBD|coming soon)\b/g)),
    [],
  );
});

test("the search finds what it is for", () => {
  assert.equal(hits("x", "It is just so easy.", UNWANTED).length, 2);
  assert.equal(hits("x", "justice, uneasy", UNWANTED).length, 0);
  assert.equal(hits("x", '"/home/me/a" and https://registry.example.org/b', LOCAL).length, 2);
  assert.equal(hits("x", "src/work/a ../root/b https://a.test/work", LOCAL).length, 0);
});

function read(path: string): string {
  return readFileSync(join(ROOT, path), "utf8");
}

/** Code in a document may use any name. */
function withoutCode(text: string): string {
  return text.replaceAll(/^```[\s\S]*?^```$/gm, (block) => block.replaceAll(/[^\n]/g, "")).replaceAll(/`[^`\n]*`/g, "");
}

function hits(path: string, text: string, words: RegExp): readonly string[] {
  return text
    .split("\n")
    .flatMap((line, index) => [...line.matchAll(words)].map(([word]) => `${path}:${index + 1}: ${word}`));
}
