/**
 * The journal under SIGKILL: a process dies before every one of its writes in turn, and another opens what it left.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { assertAnswer, entryOf, keyOf } from "../testing/dedup-suite.ts";
import { openDatabase } from "../world/node-database.ts";
import { inlineRunner, sqliteStore, TestDirectory } from "./testdata/dedup-rigs.ts";

const ids = ["a", "b", "c", "d"];

test("killed at any write: no effect is repeated, no acknowledged answer is lost", { timeout: 300_000 }, async () => {
  let writes = 0;
  for (let isOver = false; !isOver; ) {
    const batch = [writes + 1, writes + 2, writes + 3, writes + 4];
    const ends = await Promise.all(batch.map((dieAt) => crash(dieAt)));
    isOver = ends.includes(true);
    writes += batch.length;
  }
  assert.ok(writes > 30, `it writes ${writes} times`);
});

/** One run that dies at that write, judged; whether it lived to the end. */
async function crash(dieAt: number): Promise<boolean> {
  using directory = new TestDirectory();
  await child(directory.path, `${dieAt}`, "calls");
  const effects = linesOf(directory, "effects");
  const acks = linesOf(directory, "acks");
  assert.equal(new Set(effects).size, effects.length, "a repeat ran");
  await using store = sqliteStore(directory.file, undefined, inlineRunner());
  await store.open();
  for (const id of ids) {
    const claim = await store.claim(keyOf({ id }));
    const where = `${id}, killed before write ${dieAt}: ${claim.kind}`;
    if (acks.includes(id)) await assertAnswer(claim, `answer ${id}`);
    else if (effects.includes(id)) assert.ok(claim.kind === "unknown" || claim.kind === "answer", where);
    else assert.ok(claim.kind === "unknown" || claim.kind === "run", where);
    // Whoever declares that a second run does no harm gets one, if there is no answer.
    if (claim.kind === "unknown") entryOf(await store.claim(keyOf({ id, rerunUnknown: true })));
  }
  return acks.includes("end");
}

test("killed in a handler's transaction: effect and answer are both there, or neither", {
  timeout: 120_000,
}, async () => {
  for (const moment of ["in the work", "after a wait", "before the commit", "after the commit"]) {
    using directory = new TestDirectory();
    await child(directory.path, "0", moment);
    await using store = sqliteStore(directory.file, undefined, inlineRunner());
    await store.open();
    const claim = await store.claim(keyOf({ id: "a" }));
    const isCommitted = moment === "after the commit";
    if (isCommitted) await assertAnswer(claim, "answer a");
    else assert.equal(claim.kind, "unknown", moment);
    assert.equal(orders(directory.file), isCommitted ? 1 : 0, moment);
  }
});

test("killed again and again while many calls run, with the thread: the same", { timeout: 120_000 }, async () => {
  using directory = new TestDirectory();
  const file = fileURLToPath(new URL("./testdata/load-child.ts", import.meta.url));
  for (let life = 0; life < 4; life += 1) {
    const running = start(file, [directory.path, `${life}`]);
    const { promise: isBusy, resolve } = Promise.withResolvers<void>();
    let seen = 0;
    running.stdout?.on("data", (chunk: Buffer) => (seen += chunk.length) > 2_000 && resolve());
    await Promise.race([isBusy, ended(running)]);
    running.kill("SIGKILL");
    await ended(running);
  }
  const effects = linesOf(directory, "effects");
  assert.equal(new Set(effects).size, effects.length, "a call ran twice");
  await using store = sqliteStore(directory.file);
  await store.open();
  const acks = linesOf(directory, "acks");
  assert.ok(acks.length > 100, `${acks.length} acknowledged`);
  for (const id of acks) await assertAnswer(await store.claim(keyOf({ id })), `answer ${id}`);
});

/** Runs it to its end; whether it lived. */
async function child(directory: string, writes: string, mode: string): Promise<void> {
  const file = fileURLToPath(new URL("./testdata/crash-child.ts", import.meta.url));
  const running = start(file, [directory, writes, mode]);
  const { code, signal } = await ended(running);
  assert.ok(code === 0 || signal === "SIGKILL", `it ended with ${code ?? signal}`);
}

function start(file: string, args: readonly string[]): ReturnType<typeof spawn> {
  const flags = ["--conditions=holdfast-source", file, ...args];
  return spawn(process.execPath, flags, { stdio: ["ignore", "pipe", "inherit"] });
}

async function ended(running: ReturnType<typeof spawn>): Promise<{ code: number | null; signal: string | null }> {
  if (running.exitCode !== null || running.signalCode !== null)
    return { code: running.exitCode, signal: running.signalCode };
  return new Promise((resolve) => running.once("exit", (code, signal) => resolve({ code, signal })));
}

function linesOf(directory: TestDirectory, name: string): readonly string[] {
  const file = join(directory.path, name);
  // A line that was cut is not one that was written.
  return existsSync(file) ? readFileSync(file, "utf8").split("\n").slice(0, -1) : [];
}

function orders(file: string): number {
  const database = openDatabase(file, { busyMs: 0 });
  try {
    const table = database.prepare("SELECT count(*) AS tables FROM sqlite_schema WHERE name = 'orders'").get();
    return table?.tables === 0 ? 0 : Number(database.prepare("SELECT count(*) AS orders FROM orders").get()?.orders);
  } finally {
    database.close();
  }
}
