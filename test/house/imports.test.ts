/**
 * Who may import whom, for every import of src/, types included.
 */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { cyclesOf, importFaults, importsOf } from "./imports.ts";
import { MAY_IMPORT, mayImport, roomOf } from "./rooms.ts";
import { isTestFile, parse, ROOT, sourcesOf } from "./source.ts";

const sources = sourcesOf("src");
const exists = (path: string): boolean => existsSync(join(ROOT, path));
/** Packages a file may use at run time though they are not dependencies of the published package, and why. */
const UNPUBLISHED: Readonly<Record<string, readonly string[]>> = {
  // Makes certificates for tests; no door exports it, so nobody who installs holdfast reaches it (checked below).
  "src/testing/certificates.ts": ["@peculiar/x509"],
};

test("every import of src/ obeys the table", () => {
  assert.deepEqual(
    sources.flatMap((source) => importFaults(source, exists)),
    [],
  );
});

test("the checker sees each way to break the table", () => {
  const faultsOf = (path: string, text: string): number => importFaults(parse(path, text), () => true).length;
  assert.equal(faultsOf("src/call/x.ts", 'import { a } from "../world/a.ts";'), 0);
  assert.equal(faultsOf("src/call/x.ts", 'import type { A } from "../client/a.ts";'), 1);
  assert.equal(faultsOf("src/world/x.ts", 'export { a } from "../call/a.ts";'), 1);
  assert.equal(faultsOf("src/world/x.ts", 'export * from "../call/a.ts";'), 1);
  assert.equal(faultsOf("src/world/x.ts", 'let a: import("../call/a.ts").A;'), 1);
  assert.equal(faultsOf("src/world/x.ts", 'await import("../call/a.ts");'), 1);
  assert.equal(faultsOf("src/world/x.ts", "await import(name);"), 1);
  assert.equal(faultsOf("src/policy/detect/x.ts", 'import "../balance/a.ts";'), 1);
  assert.equal(faultsOf("src/call/x.ts", 'import "../../bench/a.ts";'), 1);
  assert.equal(faultsOf("src/call/x.ts", 'import "./y.js";'), 1);
  assert.equal(faultsOf("src/call/x.ts", 'import "holdfast";'), 1);
  assert.equal(faultsOf("src/testing/x.ts", 'import "../cli/a.ts"; import "../client/a.ts";'), 1);
  assert.equal(faultsOf("src/client/x.ts", 'import "../testing/a.ts";'), 1);
  assert.equal(faultsOf("src/client/x.ts", 'import "../client/y.test.ts";'), 1);
  assert.equal(faultsOf("src/client/x.test.ts", 'import "../testing/a.ts"; import "../../test/peers/a.ts";'), 0);
  assert.equal(faultsOf("src/stray.ts", ""), 1);
  assert.equal(faultsOf("src/wire/stray.ts", ""), 1);
});

test("ARCHITECTURE.md has a row for every room that has files, and says what the table says", () => {
  const text = readFileSync(join(ROOT, "ARCHITECTURE.md"), "utf8");
  const rows = new Map(
    [...text.matchAll(/^\| `([a-z0-9/*]+)` \|.*\| ([^|]*) \|$/gm)].map(([, room = "", last = ""]) => [room, last]),
  );
  const pattern = (room: string): string => (Object.hasOwn(MAY_IMPORT, room) ? room : `${room.split("/")[0] ?? ""}/*`);
  const filled = new Set(sources.flatMap(({ path }) => roomOf(path) ?? []).map(pattern));
  assert.deepEqual(
    [...filled].filter((room) => !rows.has(room)),
    [],
    "rooms without a row",
  );
  for (const [room, last] of rows) {
    if (/^(anything but|nothing)/.test(last)) continue;
    const named = [...last.matchAll(/`([^`]+)`/g)].map(([, name = ""]) => name);
    const allowed = (MAY_IMPORT[room] ?? []).filter((other) => rows.has(other));
    assert.deepEqual(named.sort(), [...allowed].sort(), `the row of ${room}`);
  }
});

test("the table itself has no cycle", () => {
  const rooms = Object.keys(MAY_IMPORT);
  const edges = new Map(rooms.map((room) => [room, new Set(rooms.filter((to) => to !== room && mayImport(room, to)))]));
  assert.deepEqual(cyclesOf(edges), []);
});

test("no files of src/ import each other in a circle at run time", () => {
  const edges = new Map(
    sources.map((source) => [
      source.path,
      new Set(
        importsOf(source).flatMap(({ target, isTypeOnly }) => (isTypeOnly || target === undefined ? [] : [target])),
      ),
    ]),
  );
  assert.deepEqual(cyclesOf(edges), []);
});

test("no rooms import each other in a circle, by types either", () => {
  const edges = new Map<string, Set<string>>();
  for (const source of sources.filter(({ path }) => !isTestFile(path))) {
    const room = roomOf(source.path) ?? source.path;
    for (const { target } of importsOf(source)) {
      const to = target === undefined ? undefined : roomOf(target);
      if (to !== undefined && to !== room) edges.set(room, (edges.get(room) ?? new Set()).add(to));
    }
  }
  assert.deepEqual(cyclesOf(edges), []);
});

test("the search for circles finds them", () => {
  const edges = new Map([
    ["a", new Set(["b"])],
    ["b", new Set(["c", "d"])],
    ["c", new Set(["a"])],
    ["d", new Set(["d"])],
    ["e", new Set(["a"])],
  ]);
  assert.deepEqual(cyclesOf(edges), [["d"], ["a", "b", "c"]]);
});

test("src/ uses at run time only packages that its users get", () => {
  const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
    dependencies: Record<string, string>;
    peerDependencies?: Record<string, string>;
    exports: Record<string, unknown>;
  };
  const published = new Set([...Object.keys(manifest.dependencies), ...Object.keys(manifest.peerDependencies ?? {})]);
  const faults = sources
    .filter(({ path }) => !isTestFile(path))
    .flatMap((source) => importsOf(source))
    .filter(({ from, specifier = "", target }) => {
      const name = specifier
        .split("/")
        .slice(0, specifier.startsWith("@") ? 2 : 1)
        .join("/");
      return (
        target === undefined &&
        !specifier.startsWith("node:") &&
        !published.has(name) &&
        UNPUBLISHED[from]?.includes(name) !== true
      );
    });
  assert.deepEqual(
    faults.map(({ place, specifier }) => `${place}: ${specifier} is not in dependencies`),
    [],
  );
  for (const path of Object.keys(UNPUBLISHED)) {
    const importers = sources.filter(
      (source) => !isTestFile(source.path) && importsOf(source).some(({ target }) => target === path),
    );
    assert.deepEqual(
      importers.map((source) => source.path),
      [],
      `${path} must not be reachable from a door`,
    );
  }
});
