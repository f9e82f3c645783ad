/**
 * The world is a parameter (ARCHITECTURE.md, law 2): which globals and Node modules src/ may not touch, and where it does.
 *
 * Time, chance, network and disk come from the ports in src/world/. Were one call site to read the real clock, the
 * simulation would no longer be the production code, and no test would notice.
 */
import { importsOf } from "./imports.ts";
import type { Source, SyntaxNode } from "./source.ts";
import { field, nodeField, nodesField, place, textField, visit } from "./source.ts";

/** Never named, neither as value nor as type. */
const BANNED_GLOBALS = new Set([
  "Date",
  "Temporal",
  "performance",
  "setTimeout",
  "setInterval",
  "setImmediate",
  "clearTimeout",
  "clearInterval",
  "clearImmediate",
  "scheduler",
  "crypto",
  "fetch",
  "WebSocket",
  "EventSource",
  "XMLHttpRequest",
  "BroadcastChannel",
  "Worker",
  "navigator",
  "require",
]);

/** Members of globals that are otherwise allowed. */
const BANNED_MEMBERS: Readonly<Record<string, readonly string[]>> = {
  Math: ["random"],
  Atomics: ["wait", "waitAsync"],
  AbortSignal: ["timeout"],
  process: [
    "hrtime",
    "uptime",
    "env",
    "argv",
    "cwd",
    "chdir",
    "exit",
    "memoryUsage",
    "cpuUsage",
    "resourceUsage",
    "loadavg",
    "getBuiltinModule",
  ],
};

/** The only Node modules that src/ may import outside src/world/: none of them is world. */
const ALLOWED_MODULES = new Set([
  "node:assert",
  "node:assert/strict",
  "node:async_hooks",
  "node:buffer",
  "node:crypto",
  "node:diagnostics_channel",
  "node:events",
  "node:path/posix",
  "node:url",
  "node:util",
  "node:util/types",
  "node:zlib",
]);

/** node:crypto is fine for hashes and comparisons; these are chance. */
const BANNED_CRYPTO = new Set([
  "default",
  "*",
  "randomBytes",
  "randomFill",
  "randomFillSync",
  "randomInt",
  "randomUUID",
  "webcrypto",
  "getRandomValues",
]);

/** The adapters of the real world. */
export function isWorldAdapter(path: string): boolean {
  return /^src\/world\/node(-[a-z0-9-]+)?\.ts$/.test(path);
}

/** Every place where the file touches the world, as `path:line: what`. `allowed` names what this file may touch. */
export function worldFaults(source: Source, allowed: readonly string[] = []): readonly string[] {
  return touches(source)
    .filter(({ what }) => !allowed.includes(what))
    .map(({ what, at }) => `${at}: ${what}`);
}

/** node:http2 is refused in every file of src/, the adapters included: the wire is our own engine. */
export function http2Faults(source: Source): readonly string[] {
  return importsOf(source)
    .filter(({ specifier }) => specifier === "node:http2" || specifier === "http2")
    .map(({ place: at }) => `${at}: node:http2`);
}

interface Touch {
  readonly what: string;
  readonly at: string;
}

function touches(source: Source): readonly Touch[] {
  const found: Touch[] = [];
  const declared = declaredNames(source);
  const add = (what: string, node: SyntaxNode): void => void found.push({ what, at: place(source, node) });
  visit(source.program, (node, parents) => {
    if (node.type === "Identifier" && isReference(node, parents) && !declared.has(textField(node, "name"))) {
      const name = textField(node, "name");
      if (BANNED_GLOBALS.has(name)) add(name, node);
      else if (name === "globalThis" || name === "global") addGlobalMember(parents.at(-1), add);
    }
    if (node.type === "MemberExpression") {
      const object = nodeField(node, "object");
      const name = object?.type === "Identifier" ? textField(object, "name") : "";
      const member = memberName(node);
      if (BANNED_MEMBERS[name]?.includes(member) === true && !declared.has(name)) add(`${name}.${member}`, node);
    }
    if (node.type === "VariableDeclarator") addDestructured(node, declared, add);
  });
  return [...found, ...moduleTouches(source)];
}

function addGlobalMember(parent: SyntaxNode | undefined, add: (what: string, node: SyntaxNode) => void): void {
  if (parent?.type !== "MemberExpression") return;
  const member = memberName(parent);
  if (BANNED_GLOBALS.has(member) || Object.hasOwn(BANNED_MEMBERS, member)) add(`globalThis.${member}`, parent);
}

/** `const { random } = Math`. */
function addDestructured(
  node: SyntaxNode,
  declared: ReadonlySet<string>,
  add: (what: string, node: SyntaxNode) => void,
): void {
  const from = nodeField(node, "init");
  const name = from?.type === "Identifier" ? textField(from, "name") : "";
  const pattern = nodeField(node, "id");
  if (pattern?.type !== "ObjectPattern" || declared.has(name)) return;
  for (const property of nodesField(pattern, "properties")) {
    const member = textField(nodeField(property, "key"), "name");
    if (BANNED_MEMBERS[name]?.includes(member) === true) add(`${name}.${member}`, property);
    if (name === "globalThis" && BANNED_GLOBALS.has(member)) add(`globalThis.${member}`, property);
  }
}

function moduleTouches(source: Source): readonly Touch[] {
  const found: Touch[] = [];
  for (const { specifier, place: at } of importsOf(source)) {
    if (specifier === undefined || specifier.startsWith(".")) continue;
    const isNodes =
      specifier.startsWith("node:") ||
      /^(net|tls|http2?|https|dgram|dns|fs|timers|child_process|worker_threads|os|crypto)(\/|$)/.test(specifier);
    // Contract suites are tests that users run.
    const isSuite = specifier === "node:test" && source.path.startsWith("src/testing/");
    if (isNodes && !isSuite && !ALLOWED_MODULES.has(specifier)) found.push({ what: specifier, at });
  }
  for (const node of nodesField(source.program, "body")) {
    if (node.type !== "ImportDeclaration" || textField(nodeField(node, "source"), "value") !== "node:crypto") continue;
    for (const specifier of nodesField(node, "specifiers")) {
      const name =
        specifier.type === "ImportSpecifier"
          ? textField(nodeField(specifier, "imported"), "name")
          : specifier.type === "ImportDefaultSpecifier"
            ? "default"
            : "*";
      if (BANNED_CRYPTO.has(name)) found.push({ what: `node:crypto ${name}`, at: place(source, specifier) });
    }
  }
  return found;
}

function memberName(node: SyntaxNode): string {
  const property = nodeField(node, "property");
  return field(node, "computed") === true ? textField(property, "value") : textField(property, "name");
}

/** Whether the identifier names a variable or type, and not a property, a label or what is being declared. */
function isReference(node: SyntaxNode, parents: readonly SyntaxNode[]): boolean {
  const parent = parents.at(-1);
  if (parent === undefined) return false;
  if (parent.type === "MemberExpression")
    return field(parent, "property") !== node || field(parent, "computed") === true;
  if (parent.type === "TSQualifiedName") return field(parent, "left") === node;
  const isKeyed = [
    "Property",
    "PropertyDefinition",
    "MethodDefinition",
    "AccessorProperty",
    "TSPropertySignature",
    "TSMethodSignature",
    "TSEnumMember",
  ].includes(parent.type);
  // In a shorthand `{ Date }` key and value are the same name: the value counts.
  if (isKeyed && field(parent, "key") === node) return field(parent, "computed") === true;
  return !["LabeledStatement", "BreakStatement", "ContinueStatement", "ImportSpecifier", "MetaProperty"].includes(
    parent.type,
  );
}

/** Names that the file itself declares or imports: these are not the globals. Scopes are ignored: shadowing is confusing anyway. */
function declaredNames(source: Source): ReadonlySet<string> {
  const names = new Set<string>();
  const addPattern = (pattern: SyntaxNode | undefined): void => {
    if (pattern === undefined) return;
    if (pattern.type === "Identifier") names.add(textField(pattern, "name"));
    else if (pattern.type === "ObjectPattern")
      nodesField(pattern, "properties").forEach((property) =>
        addPattern(nodeField(property, "value") ?? nodeField(property, "argument")),
      );
    else if (pattern.type === "ArrayPattern") nodesField(pattern, "elements").forEach(addPattern);
    else if (pattern.type === "AssignmentPattern") addPattern(nodeField(pattern, "left"));
    else if (pattern.type === "RestElement") addPattern(nodeField(pattern, "argument"));
    else if (pattern.type === "TSParameterProperty") addPattern(nodeField(pattern, "parameter"));
  };
  visit(source.program, (node) => {
    if (node.type === "VariableDeclarator") addPattern(nodeField(node, "id"));
    else if (node.type.startsWith("Import") && node.type.endsWith("Specifier")) addPattern(nodeField(node, "local"));
    else if (/^(FunctionDeclaration|ClassDeclaration|TSInterfaceDeclaration|TSTypeAliasDeclaration)$/.test(node.type))
      addPattern(nodeField(node, "id"));
    if (/Function|Signature|ConstructorType/.test(node.type)) nodesField(node, "params").forEach(addPattern);
  });
  return names;
}
