/**
 * What the documents show is true today: every TypeScript block compiles and runs.
 */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { snippetsIn, snippetsOf, trySnippets } from "./snippets.ts";
import { filesOf, ROOT } from "./source.ts";

const documents = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", ...filesOf(["docs"], /\.md$/)];

test("every TypeScript block of the documents compiles and runs", async () => {
  const snippets = documents.flatMap(snippetsIn);
  assert.ok(
    snippets.some(({ place, isRun }) => place.startsWith("README.md") && isRun),
    "README.md shows no code that runs",
  );
  assert.deepEqual(await trySnippets(snippets), []);
});

test("a block that does not compile, and one that fails, are told apart from one that works", async () => {
  const text =
    "```ts\nexport const a: number = 1;\n```\n\n```ts check\nawait new Promise(() => undefined);\n```\n```text\nno code\n```\n";
  const [works, checked, ...others] = snippetsOf("X.md", text);
  assert.ok(works !== undefined && checked !== undefined && others.length === 0);
  assert.equal(checked.place, "X.md:6");
  const failing = { place: "X.md:9", isRun: true, code: 'throw new Error("on purpose");' };
  assert.match((await trySnippets([works, checked, failing])).join(), /^X\.md:9: [^]*on purpose/);
  const wrong = { place: "X.md:9", isRun: true, code: "const a: number = 'text';" };
  assert.match((await trySnippets([wrong])).join(), /snippet-0\.ts is X\.md:9[^]*TS2322/);
});

test("the first screen of README.md is one sentence, at most 15 lines of code, and a transcript", () => {
  const text = readFileSync(join(ROOT, "README.md"), "utf8");
  const [title = "", sentence = "", ...rest] = text.split(/\n\n+/);
  assert.match(title, /^# Holdfast$/);
  assert.equal(sentence.match(/[.!?](\s|$)/g)?.length, 1, "one sentence");
  const code = snippetsOf("README.md", text)[0]?.code.trimEnd().split("\n") ?? [];
  assert.ok(code.length > 0 && code.length <= 15, `${code.length} lines of code`);
  assert.ok(
    rest.slice(0, 4).some((block) => block.startsWith("```text\n$ npm run demo")),
    "the transcript of the demo follows the code",
  );
});

test("nothing in the documents waits to be filled in", () => {
  const waiting = documents.filter((path) => readFileSync(join(ROOT, path), "utf8").includes("PLACEHOLDER"));
  assert.deepEqual(waiting, []);
});

test("links between the documents lead somewhere", () => {
  const broken = documents.flatMap((path) => {
    const text = readFileSync(join(ROOT, path), "utf8").replaceAll(/^```[\s\S]*?^```$/gm, "");
    const targets = [...text.matchAll(/\]\(([^)#\s]+)(#[^)]*)?\)/g)]
      .map((match) => match[1] ?? "")
      .filter((target) => !/^https?:/.test(target));
    return targets
      .filter((target) => !existsSync(join(ROOT, path, "..", target)))
      .map((target) => `${path}: ${target}`);
  });
  assert.deepEqual(broken, []);
});
