/**
 * What a file imports, and what is wrong with it.
 */
import { dirname, join } from "node:path/posix";
import { ANYTHING_BUT, mayImport, roomOf } from "./rooms.ts";
import type { Source, SyntaxNode } from "./source.ts";
import { isTestFile, nodeField, place, textField, visit } from "./source.ts";

export interface Import {
  readonly from: string;
  /** As written: `../world/clock.ts`, `node:net`, `fast-check`; or undefined for `import(expression)`. */
  readonly specifier: string | undefined;
  /** The file it means, from the root; undefined for packages and Node's modules. */
  readonly target: string | undefined;
  /** Gone at run time. `import { type A }` is not: it still loads the module. */
  readonly isTypeOnly: boolean;
  readonly place: string;
}

const KINDS = new Set([
  "ImportDeclaration",
  "ExportNamedDeclaration",
  "ExportAllDeclaration",
  "ImportExpression",
  "TSImportType",
]);

/** Every import of the file: declarations, re-exports, `import()` and `import("...")` types. */
export function importsOf(source: Source): readonly Import[] {
  const found: Import[] = [];
  visit(source.program, (node) => {
    if (!KINDS.has(node.type)) return;
    const literal = nodeField(node, "source");
    if (literal === undefined && node.type === "ExportNamedDeclaration") return;
    const specifier = literal?.type === "Literal" ? textField(literal, "value") : undefined;
    found.push({
      from: source.path,
      specifier,
      target: specifier?.startsWith(".") === true ? join(dirname(source.path), specifier) : undefined,
      isTypeOnly: isTypeOnly(node),
      place: place(source, node),
    });
  });
  return found;
}

function isTypeOnly(node: SyntaxNode): boolean {
  return (
    node.type === "TSImportType" || textField(node, "importKind") === "type" || textField(node, "exportKind") === "type"
  );
}

/** What breaks the table in one file of src/. `exists` says whether a path from the root is a file. */
export function importFaults(source: Source, exists: (path: string) => boolean): readonly string[] {
  const faults: string[] = [];
  const room = roomOf(source.path);
  if (room === undefined) return [`${source.path}: no room of the table (test/house/rooms.ts) has this file`];
  for (const { specifier, target, place: at } of importsOf(source)) {
    if (specifier === undefined) faults.push(`${at}: import() of an expression cannot be checked; import a literal`);
    else if (target === undefined) faults.push(...packageFaults(source.path, specifier, at));
    else if (!target.endsWith(".ts") || !exists(target))
      faults.push(`${at}: ${specifier} is no file (write the .ts extension)`);
    else faults.push(...roomFaults(source.path, room, target, at));
  }
  return faults;
}

function packageFaults(path: string, specifier: string, at: string): readonly string[] {
  if (specifier === "holdfast" || specifier.startsWith("holdfast/")) {
    return isTestFile(path) ? [] : [`${at}: inside src/ import the file, not "${specifier}"`];
  }
  if (specifier.startsWith("/") || specifier.startsWith("#")) return [`${at}: ${specifier} is not a relative path`];
  return [];
}

function roomFaults(path: string, room: string, target: string, at: string): readonly string[] {
  const to = target.startsWith("src/") ? roomOf(target) : undefined;
  const isFree = isTestFile(path) || room === "testing" || room === "simulate";
  if (target.endsWith(".test.ts")) return [`${at}: a test file is imported`];
  if (to === undefined) return isTestFile(path) ? [] : [`${at}: ${target} is outside the rooms of src/`];
  if (isFree && !ANYTHING_BUT.includes(to)) return [];
  return mayImport(room, to) ? [] : [`${at}: ${room} may not import ${to}`];
}

/** The cycles of a graph, each as its sorted members (strongly connected components of more than one, and self-loops). */
export function cyclesOf(edges: ReadonlyMap<string, ReadonlySet<string>>): readonly (readonly string[])[] {
  const order = new Map<string, number>();
  const low = new Map<string, number>();
  const stack: string[] = [];
  const cycles: string[][] = [];
  const connect = (node: string): number => {
    order.set(node, order.size);
    let lowest = order.get(node) ?? 0;
    stack.push(node);
    for (const next of edges.get(node) ?? []) {
      if (!order.has(next)) lowest = Math.min(lowest, connect(next));
      else if (stack.includes(next)) lowest = Math.min(lowest, order.get(next) ?? lowest);
    }
    low.set(node, lowest);
    if (lowest === order.get(node)) {
      const members = stack.splice(stack.indexOf(node));
      if (members.length > 1 || edges.get(node)?.has(node) === true) cycles.push(members.sort());
    }
    return lowest;
  };
  for (const node of edges.keys()) if (!order.has(node)) connect(node);
  return cycles;
}
