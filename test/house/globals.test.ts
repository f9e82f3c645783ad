/**
 * Time, chance, network and disk come from src/world/ and from nowhere else.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { http2Faults, isWorldAdapter, worldFaults } from "./globals.ts";
import { firstComment, isTestFile, parse, sourcesOf } from "./source.ts";

interface Exception {
  readonly touches: readonly string[];
  /** The words by which the file's first comment owns up to it. */
  readonly says: string;
}

/** Files outside src/world/ that touch the world. */
const EXCEPTIONS: Readonly<Record<string, Exception>> = {
  "src/cli/main.ts": { touches: ["process.argv"], says: "touches the real process" },
  "src/testing/drain.ts": { touches: ["setImmediate"], says: "touches the real event loop" },
};

const sources = sourcesOf("src");

test("no file of src/ touches the world but the adapters", () => {
  const faults = sources
    .filter(({ path }) => !isTestFile(path) && !isWorldAdapter(path))
    .flatMap((source) => worldFaults(source, EXCEPTIONS[source.path]?.touches));
  assert.deepEqual(faults, []);
});

test("each exception still touches what it is excused for, and its first comment says so", () => {
  for (const [path, { touches, says }] of Object.entries(EXCEPTIONS)) {
    const source = sources.find((candidate) => candidate.path === path);
    assert.ok(source !== undefined, `${path} is gone: take it off the list`);
    const touched = worldFaults(source).map((fault) => fault.slice(fault.lastIndexOf(": ") + 2));
    assert.deepEqual(
      touches.filter((what) => !touched.includes(what)),
      [],
      `${path} no longer touches these`,
    );
    assert.ok(firstComment(source).includes(says), `${path}: the first comment does not say "${says}"`);
  }
});

test("src/ never uses node:http2, in tests neither", () => {
  assert.deepEqual(sources.flatMap(http2Faults), []);
});

test("tests beside the code never sleep: only those of the real adapters use real timers", () => {
  const timers = ["setTimeout", "setInterval", "node:timers", "node:timers/promises"];
  const faults = sources
    .filter(({ path }) => isTestFile(path) && !path.startsWith("src/world/node"))
    .flatMap((source) => worldFaults(source).filter((fault) => timers.some((timer) => fault.endsWith(`: ${timer}`))));
  assert.deepEqual(faults, []);
});

test("the checker sees each way to touch the world", () => {
  const touched = (text: string): number => worldFaults(parse("src/call/x.ts", text)).length;
  for (const text of [
    "Date.now();",
    "new Date();",
    "let a: Date;",
    "function f(at: Date): void {}",
    "performance.now();",
    "Math.random();",
    'Math["random"]();',
    "const { random } = Math;",
    "setTimeout(f, 1);",
    "globalThis.setTimeout(f, 1);",
    "const { setTimeout } = globalThis;",
    "process.hrtime.bigint();",
    "AbortSignal.timeout(1);",
    'fetch("http://x");',
    "new WebSocket(url);",
    'import net from "node:net";',
    'import * as fs from "fs/promises";',
    'import type { Socket } from "node:net";',
    'await import("node:dns");',
    'import { randomUUID } from "node:crypto";',
    'import crypto from "node:crypto";',
    "crypto.randomUUID();",
    "const later = setImmediate;",
    "const o = { Date };",
    'import { setTimeout } from "node:timers/promises";',
  ]) {
    assert.ok(touched(text) >= 1, text);
  }
});

test("the checker leaves alone what only looks like the world", () => {
  const faultsOf = (text: string): readonly string[] => worldFaults(parse("src/call/x.ts", text));
  for (const text of [
    "clock.performance;",
    "const o = { setTimeout: 1, Date: 2 };",
    "interface A { fetch(): void; readonly Date: number }",
    "Math.max(1, 2);",
    "class A { fetch(): void {} setTimeout = 1; }",
    'import { createHash } from "node:crypto";',
    "function f(fetch: () => void): void { fetch(); }",
    "timers.setTimeout();",
    "queueMicrotask(f);",
    'process.on("SIGTERM", f);',
    "AbortSignal.any([a]);",
    "type A = { Date: 1 };",
  ]) {
    assert.deepEqual(faultsOf(text), [], text);
  }
});
