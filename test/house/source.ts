/**
 * The tree as data: every source file of this repository, parsed once. The house tests read from here.
 */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { parseSync } from "oxc-parser";
import type { Comment } from "oxc-parser";

/** The repository's root directory. */
export const ROOT: string = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** A syntax node, seen without its exact type: the checks look at few node kinds and read their fields through {@link field}. */
export interface SyntaxNode {
  readonly type: string;
  readonly start: number;
  readonly end: number;
}

export interface Source {
  /** From the repository's root, with "/". */
  readonly path: string;
  readonly text: string;
  readonly program: SyntaxNode;
  readonly comments: readonly Comment[];
}

/** Parses; throws where the text is not TypeScript. */
export function parse(path: string, text: string): Source {
  const result = parseSync(path, text, { sourceType: "module" });
  const first = result.errors[0];
  if (first !== undefined) throw new SyntaxError(`${path}: ${first.message}`);
  return { path, text, program: result.program, comments: result.comments };
}

const parsed = new Map<string, Source>();

/** The hand-written TypeScript files under these directories, parsed. Generated code (`gen/`) is nobody's style. */
export function sourcesOf(...directories: readonly string[]): readonly Source[] {
  return filesOf(directories, /\.ts$/).map(sourceAt);
}

/** One file, parsed once per process. */
export function sourceAt(path: string): Source {
  const known = parsed.get(path);
  if (known !== undefined) return known;
  const source = parse(path, readFileSync(join(ROOT, path), "utf8"));
  parsed.set(path, source);
  return source;
}

/** Paths, from the root, of the files under these directories whose name matches. A directory that is not there is empty. */
export function filesOf(directories: readonly string[], name: RegExp): readonly string[] {
  return directories
    .flatMap((directory) => walkFiles(join(ROOT, directory)))
    .map((file) => relative(ROOT, file).replaceAll("\\", "/"))
    .filter((path) => name.test(path))
    .sort();
}

function walkFiles(directory: string): string[] {
  let entries;
  try {
    entries = readdirSync(directory, { withFileTypes: true });
  } catch {
    return [];
  }
  return entries.flatMap((entry) => {
    if (["node_modules", "dist", "gen", ".cache"].includes(entry.name)) return [];
    const path = join(directory, entry.name);
    return entry.isDirectory() ? walkFiles(path) : [path];
  });
}

export function isNode(value: unknown): value is SyntaxNode {
  return typeof value === "object" && value !== null && typeof (value as { type?: unknown }).type === "string";
}

/** A field of a node, whatever it is; undefined where the node has no such field. */
export function field(node: SyntaxNode | undefined, name: string): unknown {
  return node === undefined ? undefined : (node as unknown as Record<string, unknown>)[name];
}

/** A field that holds a node. */
export function nodeField(node: SyntaxNode | undefined, name: string): SyntaxNode | undefined {
  const value = field(node, name);
  return isNode(value) ? value : undefined;
}

/** A field that holds nodes; holes are left out. */
export function nodesField(node: SyntaxNode | undefined, name: string): readonly SyntaxNode[] {
  const value = field(node, name);
  return Array.isArray(value) ? value.filter(isNode) : [];
}

/** A field that holds text, else the empty text. */
export function textField(node: SyntaxNode | undefined, name: string): string {
  const value = field(node, name);
  return typeof value === "string" ? value : "";
}

/** Visits the node and all below it, parents first. `parents` runs from the root to the nearest and is valid during the call. */
export function visit(root: SyntaxNode, see: (node: SyntaxNode, parents: readonly SyntaxNode[]) => void): void {
  const parents: SyntaxNode[] = [];
  const walk = (node: SyntaxNode): void => {
    see(node, parents);
    parents.push(node);
    for (const value of Object.values(node)) {
      if (isNode(value)) walk(value);
      else if (Array.isArray(value)) for (const item of value) if (isNode(item)) walk(item);
    }
    parents.pop();
  };
  walk(root);
}

/** The 1-based line of an offset. */
export function lineAt(source: Source, offset: number): number {
  let line = 1;
  for (let at = source.text.indexOf("\n"); at !== -1 && at < offset; at = source.text.indexOf("\n", at + 1)) line += 1;
  return line;
}

/** `path:line`, as editors open it. */
export function place(source: Source, node: { readonly start: number }): string {
  return `${source.path}:${lineAt(source, node.start)}`;
}

/** The `/** ... *\/` comment that stands right before the offset, if one does. */
export function docBefore(source: Source, offset: number): string | undefined {
  const doc = source.comments.findLast((comment) => comment.end <= offset);
  if (doc === undefined || doc.type !== "Block" || !doc.value.startsWith("*")) return undefined;
  return source.text.slice(doc.end, offset).trim() === "" ? doc.value : undefined;
}

/** The text of the file's first comment, if the file begins with one. */
export function firstComment(source: Source): string {
  const first = source.comments[0];
  return first !== undefined && source.text.slice(0, first.start).replace(/^#!.*/, "").trim() === "" ? first.value : "";
}

export function isTestFile(path: string): boolean {
  return path.endsWith(".test.ts") || path.includes("/testdata/");
}
