/**
 * A file that was cut or altered: what comes back is what was kept or an error, and never something else.
 */
import assert from "node:assert/strict";
import { copyFileSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { RpcError } from "../call/error.ts";
import { bytesOf, entryOf, keyOf } from "../testing/dedup-suite.ts";
import { seededRandom } from "../world/seeded-random.ts";
import { inlineRunner, sqliteStore, TestDirectory } from "./testdata/dedup-rigs.ts";

const ids = Array.from({ length: 30 }, (_, index) => `order-${index}`);

/** The files of a store, before and after it was closed. */
interface Kept {
  readonly storeId: string;
  readonly closed: Buffer;
  readonly open: Buffer;
  readonly wal: Buffer;
}

/** Makes a store in the directory that has kept an answer for each id. */
async function kept(directory: TestDirectory): Promise<Kept> {
  const store = sqliteStore(directory.file, undefined, inlineRunner());
  await store.open();
  for (const id of ids) await store.finish(entryOf(await store.claim(keyOf({ id }))), bytesOf(`answer ${id}`));
  const [open, wal] = [readFileSync(directory.file), readFileSync(`${directory.file}-wal`)];
  await store.close();
  return { storeId: store.storeId, closed: readFileSync(directory.file), open, wal };
}

interface Seen {
  answers: number;
  errors: number;
  refused: number;
  runs: number;
}

/** What a store on this file says of all ids; gives the store's id. AssertionError for an answer that was never kept. */
async function look(file: string, seen: Seen): Promise<string> {
  const store = sqliteStore(file, undefined, inlineRunner());
  try {
    await store.open();
    for (const id of ids) {
      try {
        const claim = await store.claim(keyOf({ id }));
        if (claim.kind === "answer") {
          assert.equal(new TextDecoder().decode(claim.answer), `answer ${id}`);
          seen.answers += 1;
        } else if (claim.kind === "run") seen.runs += 1;
        else seen.refused += 1;
      } catch (error) {
        if (!(error instanceof RpcError)) throw error;
        seen.errors += 1;
      }
    }
  } catch (error) {
    if (!(error instanceof RpcError)) throw error;
    assert.match(error.message, /the dedup store .*copy\.db failed/);
    seen.errors += ids.length;
  } finally {
    await store.close();
  }
  return store.storeId;
}

test("a byte altered anywhere in the file never makes a call run again, and never alters an answer", {
  timeout: 180_000,
}, async () => {
  using directory = new TestDirectory();
  const { closed } = await kept(directory);
  const random = seededRandom(7);
  const copy = join(directory.path, "copy.db");
  const seen: Seen = { answers: 0, errors: 0, refused: 0, runs: 0 };
  for (let round = 0; round < 100; round += 1) {
    const bytes = Buffer.from(closed);
    const at = random.uint32() % bytes.length;
    bytes[at] = (bytes[at] as number) ^ (1 << (random.uint32() % 8));
    writeFileSync(copy, bytes);
    const runsBefore = seen.runs;
    await look(copy, seen);
    assert.equal(seen.runs, runsBefore, `a bit of byte ${at} altered`);
  }
  assert.ok(seen.errors > 0 && seen.answers > 0);
});

test("a log cut anywhere gives what was committed before the cut, and nothing else", { timeout: 120_000 }, async () => {
  using directory = new TestDirectory();
  const { open, wal } = await kept(directory);
  const copy = join(directory.path, "copy.db");
  for (let step = 0; step <= 60; step += 1) {
    const length = Math.floor((wal.length * step) / 60);
    writeFileSync(copy, open);
    writeFileSync(`${copy}-wal`, wal.subarray(0, length));
    const seen: Seen = { answers: 0, errors: 0, refused: 0, runs: 0 };
    await look(copy, seen);
    assert.ok(seen.errors === 0 || seen.errors === ids.length);
    // The calls were made one after the other: at most the last one is undecided.
    assert.ok(seen.refused <= 1);
    if (length === wal.length) assert.equal(seen.answers, ids.length);
  }
});

test("a file cut short is reported; one of which nothing is left is another store, by its id", async () => {
  using directory = new TestDirectory();
  const { storeId } = await kept(directory);
  const copy = join(directory.path, "copy.db");
  for (const length of [0, 1, 99, 600, 4_096, 6_000, 12_288]) {
    copyFileSync(directory.file, copy);
    truncateSync(copy, length);
    const seen: Seen = { answers: 0, errors: 0, refused: 0, runs: 0 };
    const found = await look(copy, seen);
    if (length < 512) assert.notEqual(found, storeId);
    else assert.equal(seen.errors, ids.length, `cut at ${length}`);
    for (const suffix of ["-wal", "-shm"]) rmSync(copy + suffix, { force: true });
  }
});
