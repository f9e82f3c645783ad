/**
 * The doors of the package: package.json's exports, and every name that leaves through them, with where it is declared.
 */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path/posix";
import type { Source, SyntaxNode } from "./source.ts";
import { nodeField, nodesField, parse, ROOT, textField } from "./source.ts";

export interface Door {
  /** `.`, `./call` ... */
  readonly subpath: string;
  /** Its source, from the root. */
  readonly path: string;
}

/** A name that a door exports. */
export interface ExportedName {
  readonly name: string;
  readonly isType: boolean;
  /** Where it is declared: the file, and the statement (with its `export`, if it has one). Undefined if it is another package's. */
  readonly declaration: { readonly source: Source; readonly node: SyntaxNode; readonly start: number } | undefined;
}

/** The doors whose source is there; package.json may name ones that are not built yet. */
export function doors(): readonly Door[] {
  return declaredDoors().filter(({ path }) => existsSync(join(ROOT, path)));
}

/** All doors that package.json names. */
export function declaredDoors(): readonly Door[] {
  const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
    exports: Record<string, string | Record<string, string>>;
  };
  return Object.entries(manifest.exports).flatMap(([subpath, target]) => {
    const path = typeof target === "string" ? undefined : target["holdfast-source"];
    return path === undefined ? [] : [{ subpath, path: path.replace(/^\.\//, "") }];
  });
}

const read = new Map<string, Source>();

/** Like sourceAt, but generated files may be re-exported too. */
function source(path: string): Source {
  const known = read.get(path) ?? parse(path, readFileSync(join(ROOT, path), "utf8"));
  read.set(path, known);
  return known;
}

/** Every name that the module exports, `export *` followed. */
export function exportsOf(path: string): readonly ExportedName[] {
  return nodesField(source(path).program, "body").flatMap((statement) => {
    const from = textField(nodeField(statement, "source"), "value");
    if (statement.type === "ExportAllDeclaration")
      return from.startsWith(".") ? exportsOf(join(dirname(path), from)) : [];
    if (statement.type !== "ExportNamedDeclaration") return [];
    const declaration = nodeField(statement, "declaration");
    if (declaration !== undefined) return declaredIn(path, statement, declaration);
    const isTypeStatement = textField(statement, "exportKind") === "type";
    return nodesField(statement, "specifiers").map((specifier) => {
      const name = textField(nodeField(specifier, "exported"), "name");
      const local = textField(nodeField(specifier, "local"), "name");
      const found =
        from === ""
          ? findDeclaration(path, local)
          : from.startsWith(".")
            ? findExport(join(dirname(path), from), local)
            : undefined;
      const isType = isTypeStatement || textField(specifier, "exportKind") === "type" || found?.isType === true;
      return { name, isType, declaration: found?.declaration };
    });
  });
}

function findExport(path: string, name: string): ExportedName | undefined {
  const found = exportsOf(path).find((exported) => exported.name === name);
  if (found === undefined) throw new Error(`${path} does not export ${name}`);
  return found;
}

/** A name that is declared or imported in the file and exported by a later `export { name }`. */
function findDeclaration(path: string, name: string): ExportedName | undefined {
  for (const statement of nodesField(source(path).program, "body")) {
    const declaration = nodeField(statement, "declaration") ?? statement;
    const own = declaredIn(path, statement, declaration).find((declared) => declared.name === name);
    if (own !== undefined) return own;
    const from = textField(nodeField(statement, "source"), "value");
    if (statement.type !== "ImportDeclaration" || !from.startsWith(".")) continue;
    const specifier = nodesField(statement, "specifiers").find(
      (one) => textField(nodeField(one, "local"), "name") === name,
    );
    if (specifier !== undefined)
      return findExport(join(dirname(path), from), textField(nodeField(specifier, "imported"), "name"));
  }
  return undefined;
}

function declaredIn(path: string, statement: SyntaxNode, declaration: SyntaxNode): readonly ExportedName[] {
  const isType = declaration.type === "TSInterfaceDeclaration" || declaration.type === "TSTypeAliasDeclaration";
  const declarators = nodesField(declaration, "declarations");
  return (declarators.length > 0 ? declarators : [declaration]).flatMap((node) => {
    const name = textField(nodeField(node, "id"), "name");
    return name === ""
      ? []
      : [{ name, isType, declaration: { source: source(path), node: declaration, start: statement.start } }];
  });
}
