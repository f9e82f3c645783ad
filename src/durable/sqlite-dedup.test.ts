import assert from "node:assert/strict";
import { test } from "node:test";
import { bytesOf, dedupSuite, entryOf, keyOf } from "../testing/dedup-suite.ts";
import type { Database, Statement } from "../world/database.ts";
import { startThread } from "./sqlite-runner.ts";
import { inlineRunner, sqliteRig, sqliteStore, TestDirectory, TestWorld } from "./testdata/dedup-rigs.ts";

dedupSuite("sqlite() with its thread", sqliteRig(startThread));
dedupSuite("sqlite() without one", sqliteRig(inlineRunner()));

test("a full file of young records is searched for room once a transaction, however many calls it refuses", async () => {
  let looks = 0;
  const counting = (statement: Statement): Statement => ({
    run: (...values) => statement.run(...values),
    get: (...values) => statement.get(...values),
    all: (...values) => {
      looks += 1;
      return statement.all(...values);
    },
  });
  const wrap = (database: Database): Database => ({
    get isTransaction() {
      return database.isTransaction;
    },
    exec: (sql) => database.exec(sql),
    prepare: (sql) => {
      const statement = database.prepare(sql);
      return sql.includes("WHERE seq > ? ORDER BY seq LIMIT ?") ? counting(statement) : statement;
    },
    close: () => database.close(),
  });
  using directory = new TestDirectory();
  const clocks = new TestWorld();
  const limits = { entriesMax: 10, retentionMs: 3_600_000, retentionMsMin: 60_000 };
  await using store = sqliteStore(directory.file, clocks.world, inlineRunner(wrap), limits);
  await store.open();
  const claims = (name: string, count: number) =>
    Promise.all(
      Array.from({ length: count }, async (_, index) =>
        store.claim(keyOf({ id: `${name}-${index}`, mintedMs: clocks.wallMs })),
      ),
    );
  for (const claim of await claims("young", 10)) await store.finish(entryOf(claim), bytesOf("-"));
  looks = 0;
  const refused = await claims("refused", 500);
  assert.deepEqual(new Set(refused.map(({ kind }) => kind)), new Set(["full"]));
  assert.equal(looks, 1);
  clocks.wallMs += 60_000;
  const later = await claims("later", 10);
  assert.equal(later.filter(({ kind }) => kind === "run").length, 10);
});
