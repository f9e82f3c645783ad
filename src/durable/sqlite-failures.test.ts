/**
 * A file that fails, is locked, is shared, or is not what it should be.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { RpcError } from "../call/error.ts";
import { assertAnswer, bytesOf, entryOf, keyOf } from "../testing/dedup-suite.ts";
import { openDatabase } from "../world/node-database.ts";
import type { Runner } from "./sqlite-runner.ts";
import { startThread } from "./sqlite-runner.ts";
import { sqlite } from "./sqlite.ts";
import { inlineRunner, sqliteStore, TestDirectory } from "./testdata/dedup-rigs.ts";
import { FailingDatabase } from "./testdata/failing-database.ts";

const SQLITE_BUSY = 5;
const SQLITE_FULL = 13;
/** SQLITE_IOERR | (4 << 8). */
const SQLITE_IOERR_FSYNC = 1_034;

const isUnavailable = (error: unknown): boolean => error instanceof RpcError && error.code === "UNAVAILABLE";
const isDataLoss = (error: unknown): boolean => error instanceof RpcError && error.code === "DATA_LOSS";

test("an answer that could not be synced is not acknowledged, nothing is tried again, and the call stays undecided", async () => {
  for (let write = 1; write <= 3; write += 1) {
    using directory = new TestDirectory();
    const disk = new FailingDatabase();
    await using store = sqliteStore(
      directory.file,
      undefined,
      inlineRunner((database) => disk.wrap(database)),
    );
    await store.open();
    const entry = entryOf(await store.claim(keyOf({})));
    const repeat = await store.claim(keyOf({}));
    disk.arm(write, SQLITE_IOERR_FSYNC);
    await assert.rejects(store.finish(entry, bytesOf("one")), isUnavailable);
    assert.ok(repeat.kind === "running");
    assert.equal(await repeat.answer, undefined);
    await assert.rejects(
      store.claim(keyOf({})),
      /UNAVAILABLE: the dedup store .*journal\.db failed and takes nothing more: injected 1034/,
    );
    await assert.rejects(store.claim(keyOf({ id: "other" })), isUnavailable);
    await assert.rejects(store.finish(entry, bytesOf("one")), isUnavailable);
    assert.equal(disk.writesAfter, 0);
    assert.match(store.snapshot().failure ?? "", /injected 1034/);
    await store.close();
    await using again = sqliteStore(directory.file, undefined, inlineRunner());
    await again.open();
    assert.equal((await again.claim(keyOf({}))).kind, "unknown");
  }
});

test("a claim that could not be written is not run, whatever fails and wherever", async () => {
  for (const code of [SQLITE_FULL, SQLITE_BUSY, SQLITE_IOERR_FSYNC])
    for (let write = 1; write <= 4; write += 1) {
      using directory = new TestDirectory();
      const disk = new FailingDatabase();
      await using store = sqliteStore(
        directory.file,
        undefined,
        inlineRunner((database) => disk.wrap(database)),
      );
      await store.open();
      disk.arm(write, code);
      await assert.rejects(store.claim(keyOf({})), isUnavailable);
      assert.equal(store.snapshot().running, 0);
      // A full disk or a busy file may have room and time again; after a failed sync nothing is believed.
      if (code === SQLITE_IOERR_FSYNC) await assert.rejects(store.claim(keyOf({})), isUnavailable);
      else await store.finish(entryOf(await store.claim(keyOf({}))), bytesOf("one"));
    }
});

test("a full disk refuses call by call, and a call whose answer found no room is undecided", async () => {
  using directory = new TestDirectory();
  const disk = new FailingDatabase();
  await using store = sqliteStore(
    directory.file,
    undefined,
    inlineRunner((database) => disk.wrap(database)),
  );
  await store.open();
  const entry = entryOf(await store.claim(keyOf({})));
  disk.arm(1, SQLITE_FULL, true);
  await assert.rejects(store.finish(entry, bytesOf("one")), /could not write: injected 13/);
  await assert.rejects(store.claim(keyOf({ id: "other" })), isUnavailable);
  await assert.rejects(store.finish(entry, bytesOf("one")), /its outcome is unknown/);
  disk.disarm();
  assert.equal((await store.claim(keyOf({}))).kind, "unknown");
  entryOf(await store.claim(keyOf({ rerunUnknown: true })));
  entryOf(await store.claim(keyOf({ id: "other" })));
});

test("opening says which file it is that cannot be used, and why", async () => {
  using directory = new TestDirectory();
  const noFolder = sqliteStore(join(directory.path, "none", "journal.db"));
  await assert.rejects(noFolder.open(), /UNAVAILABLE: the dedup store .*none\/journal\.db failed .*unable to open/);
  await noFolder.close();
  writeFileSync(directory.file, "this is a text about tea, and no database at all".repeat(100));
  const text = sqliteStore(directory.file);
  await assert.rejects(text.open(), isDataLoss);
  await assert.rejects(text.claim(keyOf({})), isDataLoss);
  await text.close();
  const folder = join(directory.path, "folder");
  mkdirSync(folder);
  const isFolder = sqliteStore(folder);
  await assert.rejects(isFolder.open(), isUnavailable);
  await isFolder.close();
});

test("a thread that cannot be started is an opening that failed", async () => {
  const store = sqliteStore("no.db", undefined, () => {
    throw new Error("no threads here");
  });
  await assert.rejects(store.open(), /UNAVAILABLE: .*no\.db failed .*no threads here/);
  await store.close();
});

test("a file of another version is refused and left as it is", async () => {
  using directory = new TestDirectory();
  const store = sqliteStore(directory.file, undefined, inlineRunner());
  await store.open();
  await store.close();
  const database = openDatabase(directory.file, { busyMs: 0 });
  database.exec("UPDATE holdfast_facts SET value = '9' WHERE name = 'version'");
  database.close();
  const later = sqliteStore(directory.file, undefined, inlineRunner());
  await assert.rejects(later.open(), /its dedup tables are of version 9, this is version 1/);
  await later.close();
});

test("before it is open and after it is closed nothing is claimed; closing twice is closing once", async () => {
  using directory = new TestDirectory();
  const store = sqliteStore(directory.file);
  await assert.rejects(store.claim(keyOf({})), /is not open yet/);
  await Promise.all([store.open(), store.open()]);
  const entry = entryOf(await store.claim(keyOf({})));
  const finished = store.finish(entry, bytesOf("one"));
  await Promise.all([store.close(), store.close()]);
  await finished;
  await store.close();
  await assert.rejects(store.claim(keyOf({})), /is closed/);
  assert.deepEqual(readdirSync(directory.path), ["journal.db"]);
  const unopened = sqliteStore(directory.file);
  await unopened.close();
  await assert.rejects(unopened.open(), /is closed/);
});

test("closing during the opening waits for it, and leaves nothing behind", async () => {
  using directory = new TestDirectory();
  const store = sqliteStore(directory.file);
  const opened = store.open();
  await store.close();
  await opened;
  assert.deepEqual(readdirSync(directory.path), ["journal.db"]);
});

test("a restart keeps answers and the store's id; what ran when it closed is undecided, and runs again for whom that is no harm", async () => {
  using directory = new TestDirectory();
  const first = sqliteStore(directory.file);
  await first.open();
  await first.finish(entryOf(await first.claim(keyOf({ id: "a" }))), bytesOf("one"));
  entryOf(await first.claim(keyOf({ id: "b" })));
  await first.close();
  await using second = sqliteStore(directory.file);
  await second.open();
  assert.equal(second.storeId, first.storeId);
  await assertAnswer(await second.claim(keyOf({ id: "a" })), "one");
  assert.equal((await second.claim(keyOf({ id: "b" }))).kind, "unknown");
  assert.equal((await second.claim(keyOf({ id: "b", payload: "coffee", rerunUnknown: true }))).kind, "conflict");
  const entry = entryOf(await second.claim(keyOf({ id: "b", rerunUnknown: true })));
  assert.equal((await second.claim(keyOf({ id: "b", rerunUnknown: true }))).kind, "running");
  await second.finish(entry, bytesOf("two"));
  await assertAnswer(await second.claim(keyOf({ id: "b" })), "two");
});

test("a thread that dies fails what waits and what comes; nothing hangs", async () => {
  using directory = new TestDirectory();
  let runner: Runner | undefined;
  const store = sqliteStore(directory.file, undefined, (data, events) => (runner = startThread(data, events)));
  await store.open();
  const entry = entryOf(await store.claim(keyOf({})));
  const finished = store.finish(entry, bytesOf("one"));
  void runner?.stop();
  await assert.rejects(finished, /UNAVAILABLE: .*journal\.db failed .*the thread ended/);
  await assert.rejects(store.claim(keyOf({})), isUnavailable);
  await store.close();
});

test("two stores share a file: the answers of one are the other's, what one runs is unknown to the other", async () => {
  using directory = new TestDirectory();
  await using one = sqliteStore(directory.file);
  await using two = sqliteStore(directory.file);
  await Promise.all([one.open(), two.open()]);
  assert.equal(one.storeId, two.storeId);
  const entry = entryOf(await one.claim(keyOf({})));
  assert.equal((await two.claim(keyOf({}))).kind, "unknown");
  assert.equal((await two.claim(keyOf({ rerunUnknown: true }))).kind, "unknown", "its owner lives");
  assert.equal((await two.claim(keyOf({ payload: "coffee" }))).kind, "conflict");
  await one.finish(entry, bytesOf("one"));
  await assertAnswer(await two.claim(keyOf({})), "one");
  const ids = Array.from({ length: 200 }, (_, index) => `both-${index}`);
  const claims = await Promise.all(ids.flatMap((id) => [one.claim(keyOf({ id })), two.claim(keyOf({ id }))]));
  assert.equal(claims.filter(({ kind }) => kind === "run").length, ids.length);
  assert.equal(claims.filter(({ kind }) => kind === "unknown").length, ids.length);
});

test("an owner that is stopped is alive, and one that was killed is not", { timeout: 60_000 }, async () => {
  using directory = new TestDirectory();
  const file = fileURLToPath(new URL("./testdata/owner-child.ts", import.meta.url));
  const owner = spawn(process.execPath, ["--conditions=holdfast-source", file, directory.file], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await new Promise((resolve) => owner.stdout.once("data", resolve));
  await using store = sqliteStore(directory.file);
  await store.open();
  owner.kill("SIGSTOP");
  assert.equal((await store.claim(keyOf({ rerunUnknown: true }))).kind, "unknown");
  owner.kill("SIGKILL");
  await new Promise((resolve) => owner.once("exit", resolve));
  assert.equal((await store.claim(keyOf({}))).kind, "unknown");
  const entry = entryOf(await store.claim(keyOf({ rerunUnknown: true })));
  await store.finish(entry, bytesOf("two"));
  await assertAnswer(await store.claim(keyOf({})), "two");
  assert.equal(readdirSync(directory.path).filter((name) => name.includes("-owner-")).length, 1);
});

test("the user's own tables in the file are left alone", async () => {
  using directory = new TestDirectory();
  const database = openDatabase(directory.file, { busyMs: 0 });
  database.exec("PRAGMA user_version = 7; CREATE TABLE orders (id TEXT); INSERT INTO orders VALUES ('a')");
  await using store = sqliteStore(directory.file);
  await store.open();
  await store.finish(entryOf(await store.claim(keyOf({}))), bytesOf("one"));
  assert.equal(database.prepare("PRAGMA user_version").get()?.user_version, 7);
  assert.equal(database.prepare("SELECT count(*) AS orders FROM orders").get()?.orders, 1);
  database.close();
});

test("a journal says what it cannot be made of, and opens nothing when it is made", async () => {
  assert.throws(() => sqlite(""), RangeError);
  assert.throws(() => sqlite(":memory:"), /for memory there is memory\(\)/);
  assert.throws(() => sqlite("file:a?mode=memory"), RangeError);
  assert.throws(() => sqlite(undefined as never), /got undefined/);
  assert.throws(() => sqlite("a.db", { sync: "off" as never }), /sqlite\.sync/);
  using directory = new TestDirectory();
  await using journal = sqlite(directory.file, { sync: "normal" });
  assert.equal(journal.scope, "machine");
  assert.ok(!existsSync(directory.file));
});
