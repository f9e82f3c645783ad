/**
 * What the house's style forbids in a source file, as far as syntax shows it. CONTRIBUTING.md gives the reasons.
 */
import { basename } from "node:path/posix";
import type { Source, SyntaxNode } from "./source.ts";
import { field, firstComment, isTestFile, lineAt, nodeField, nodesField, place, textField, visit } from "./source.ts";

export const FILE_LINES_MAX = 500;
/** Hot-path files may be longer (and their functions as long as speed wants), but not without end. */
export const HOT_FILE_LINES_MAX = 1_200;
export const FUNCTION_LINES_MAX = 70;

/** Names that say nothing about what is in the file. */
const EMPTY_NAMES = new Set([
  "utils",
  "util",
  "common",
  "helpers",
  "helper",
  "types",
  "misc",
  "shared",
  "lib",
  "stuff",
]);

/** Files whose default export somebody else asks for, and who. */
const DEFAULT_EXPORTS: Readonly<Record<string, string>> = {
  "scripts/test-reporter.ts": "node:test takes a reporter so",
};

/** A size over its limit. `key` is what ratchet.json calls it: the path, or path#function. */
export interface Excess {
  readonly key: string;
  readonly lines: number;
  readonly linesMax: number;
}

/** Whether the file declares itself hot: its first comment's first line says so. */
export function saysHotPath(source: Source): boolean {
  const firstLine =
    firstComment(source)
      .split("\n")
      .find((line) => /[a-z]/i.test(line)) ?? "";
  return /\bhot path\b/i.test(firstLine);
}

/** What is longer than allowed. */
export function excesses(source: Source): readonly Excess[] {
  const isHot = saysHotPath(source);
  const found: Excess[] = [];
  const lines = source.text.trimEnd().split("\n").length;
  const linesMax = isHot ? HOT_FILE_LINES_MAX : FILE_LINES_MAX;
  if (lines > linesMax) found.push({ key: source.path, lines, linesMax });
  if (isHot) return found;
  visit(source.program, (node, parents) => {
    if (!["FunctionDeclaration", "FunctionExpression", "ArrowFunctionExpression"].includes(node.type)) return;
    const length = lineAt(source, node.end) - lineAt(source, node.start) + 1;
    if (length > FUNCTION_LINES_MAX && !isChapter(node))
      found.push({ key: `${source.path}#${functionName(node, parents)}`, lines: length, linesMax: FUNCTION_LINES_MAX });
  });
  return found;
}

/** A function that registers tests (`describe("...", () => { ... })`, a contract suite) is a chapter; its tests are measured. */
function isChapter(node: SyntaxNode): boolean {
  let hasTests = false;
  visit(node, (inner) => {
    if (inner.type === "CallExpression" && testBody(inner) !== undefined) hasTests = true;
  });
  return hasTests;
}

function functionName(node: SyntaxNode, parents: readonly SyntaxNode[]): string {
  const own = textField(nodeField(node, "id"), "name");
  if (own !== "") return own;
  const parent = parents.at(-1);
  const owner = nodeField(parent, "key") ?? nodeField(parent, "id");
  const title = nodesField(parent, "arguments").find((argument) => argument.type === "Literal");
  return textField(owner, "name") || textField(title, "value") || "anonymous";
}

/** What is wrong with the file's name. */
export function nameFaults(path: string): readonly string[] {
  const faults: string[] = [];
  const stem = basename(path).replace(/(\.test)?\.(ts|mjs)$/, "");
  const folders = path.split("/").slice(0, -1);
  if (!/^[a-z0-9]+(-[a-z0-9]+)*$/.test(stem)) faults.push(`${path}: not kebab-case`);
  if (folders.some((folder) => !/^[a-z0-9]+(-[a-z0-9]+)*$/.test(folder)))
    faults.push(`${path}: a folder is not kebab-case`);
  if ([stem, ...folders].some((name) => EMPTY_NAMES.has(name))) faults.push(`${path}: name it for its idea`);
  return faults;
}

/** Forbidden syntax and words. */
export function syntaxFaults(source: Source): readonly string[] {
  const faults: string[] = [];
  visit(source.program, (node) => {
    const what = forbidden(node, source.path);
    if (what !== undefined) faults.push(`${place(source, node)}: ${what}`);
  });
  for (const comment of source.comments) {
    const at = place(source, comment);
    if (/\b(TODO|FIXME|XXX|HACK)\b/.test(comment.value)) faults.push(`${at}: do it, or open an issue`);
    if (/@ts-(ignore|nocheck)\b/.test(comment.value)) faults.push(`${at}: use @ts-expect-error with its reason`);
    if (/@ts-expect-error\s*(\*|$)/.test(comment.value)) faults.push(`${at}: @ts-expect-error needs its reason`);
  }
  if (firstComment(source) === "" && !isTestFile(source.path))
    faults.push(`${source.path}: begin with a comment that says what the file's idea is`);
  return faults;
}

function forbidden(node: SyntaxNode, path: string): string | undefined {
  switch (node.type) {
    case "ExportDefaultDeclaration":
      return DEFAULT_EXPORTS[path] === undefined ? "default export" : undefined;
    case "TSEnumDeclaration":
      return "enum: use a union of words";
    case "TSModuleDeclaration":
      return "namespace";
    case "Decorator":
      return "decorator";
    case "TSAnyKeyword":
      return "any: use unknown and narrow it";
    case "TSParameterProperty":
      return "parameter property";
    case "TSInterfaceDeclaration":
      return /^I[A-Z][a-z]/.test(textField(nodeField(node, "id"), "name"))
        ? "an interface is not named I..."
        : undefined;
    case "DebuggerStatement":
      return "debugger";
    default:
      return undefined;
  }
}

/** What is wrong with the tests of a test file. `asserts` says whether a name imported from that file asserts something. */
export function testFaults(source: Source, asserts: (specifier: string, name: string) => boolean): readonly string[] {
  const faults: string[] = [];
  const asserting = assertingNames(source, asserts);
  visit(source.program, (node) => {
    if (node.type !== "CallExpression") return;
    const at = place(source, node);
    const modifier = testModifier(node);
    if (modifier === "only") faults.push(`${at}: only`);
    if (modifier === "todo") faults.push(`${at}: todo`);
    if (modifier === "skip") faults.push(`${at}: skip without a reason: use { skip: "why" }`);
    for (const property of testOptions(node)) {
      const name = textField(nodeField(property, "key"), "name");
      const value = field(nodeField(property, "value"), "value");
      if (name === "only" || name === "todo") faults.push(`${at}: ${name}`);
      if (name === "skip" && value === true) faults.push(`${at}: skip without a reason: use { skip: "why" }`);
    }
    const body = testBody(node);
    if (body !== undefined && !containsAssertion(body, asserting)) faults.push(`${at}: a test that asserts nothing`);
  });
  return faults;
}

const TEST_CALLS = new Set(["test", "it"]);

/** The modifier of `test.only(...)`, `describe.skip(...)`, `t.skip()`: a skip inside a test is fine when it is given a reason. */
function testModifier(call: SyntaxNode): string | undefined {
  const callee = nodeField(call, "callee");
  const object = textField(nodeField(callee, "object"), "name");
  const name = textField(nodeField(callee, "property"), "name");
  if (["test", "it", "describe", "suite"].includes(object)) return name;
  const hasReason = nodesField(call, "arguments").length > 0;
  return ["t", "context"].includes(object) && (name === "skip" || name === "todo") && !hasReason ? name : undefined;
}

function testOptions(call: SyntaxNode): readonly SyntaxNode[] {
  if (!/^(test|it|describe|suite)$/.test(textField(nodeField(call, "callee"), "name"))) return [];
  return nodesField(call, "arguments")
    .filter(({ type }) => type === "ObjectExpression")
    .flatMap((object) => nodesField(object, "properties"));
}

/** The function of `test("...", () => ...)`, `it(...)` or `t.test(...)`. */
function testBody(call: SyntaxNode): SyntaxNode | undefined {
  const callee = nodeField(call, "callee");
  const isTest =
    TEST_CALLS.has(textField(callee, "name")) ||
    (textField(nodeField(callee, "property"), "name") === "test" && nodesField(call, "arguments").length > 1);
  const body = isTest ? nodesField(call, "arguments").at(-1) : undefined;
  return body !== undefined && /Function/.test(body.type) ? body : undefined;
}

/** Names that count as an assertion when called: of the file itself (transitively) and imported ones that assert. */
export function assertingNames(
  source: Source,
  asserts: (specifier: string, name: string) => boolean,
): ReadonlySet<string> {
  const names = new Set<string>();
  const functions = new Map<string, SyntaxNode>();
  visit(source.program, (node) => {
    if (node.type === "ImportSpecifier") return;
    const name = textField(nodeField(node, "id") ?? nodeField(node, "key"), "name");
    const isFunction =
      node.type === "FunctionDeclaration" || node.type === "MethodDefinition" || node.type === "ClassDeclaration";
    if (isFunction) functions.set(name, node);
    if (node.type === "VariableDeclarator" && /Function/.test(nodeField(node, "init")?.type ?? ""))
      functions.set(name, node);
  });
  for (const node of nodesField(source.program, "body")) {
    if (node.type !== "ImportDeclaration") continue;
    const specifier = textField(nodeField(node, "source"), "value");
    for (const { local, imported } of importedNames(node)) if (asserts(specifier, imported)) names.add(local);
  }
  for (let before = -1; before !== names.size; ) {
    before = names.size;
    for (const [name, node] of functions) if (containsAssertion(node, names)) names.add(name);
  }
  return names;
}

function importedNames(node: SyntaxNode): readonly { readonly local: string; readonly imported: string }[] {
  return nodesField(node, "specifiers")
    .filter(({ type }) => type === "ImportSpecifier")
    .map((specifier) => ({
      local: textField(nodeField(specifier, "local"), "name"),
      imported: textField(nodeField(specifier, "imported"), "name"),
    }));
}

/** `assert(...)`, `assert.equal(...)`, `fc.assert(...)`, `t.assert.ok(...)`, `peer.expectFrame(...)`, or a name known to assert. */
function containsAssertion(body: SyntaxNode, asserting: ReadonlySet<string>): boolean {
  let hasAssertion = false;
  visit(body, (node) => {
    if (node.type !== "CallExpression" && node.type !== "NewExpression") return;
    const path: string[] = [];
    for (let callee = nodeField(node, "callee"); callee !== undefined; callee = nodeField(callee, "object")) {
      path.push(
        callee.type === "MemberExpression"
          ? textField(nodeField(callee, "property"), "name")
          : textField(callee, "name"),
      );
    }
    const [last = ""] = path;
    if (path.some((name) => /^(assert|expect)/.test(name)) || asserting.has(last)) hasAssertion = true;
  });
  return hasAssertion;
}
