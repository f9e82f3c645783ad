/**
 * A process that dies by SIGKILL before its n-th write to the journal (n = 0: never), or within a transaction. Arguments: directory, n, and
 * "calls" or the moment in a handler's transaction at which it dies. What it did stands in `effects`, what it acknowledged in `acks`.
 */
import assert from "node:assert/strict";
import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { bytesOf, entryOf, keyOf } from "../../testing/dedup-suite.ts";
import type { Database, Statement } from "../../world/database.ts";
import { inlineRunner, sqliteStore, startedAlive } from "./dedup-rigs.ts";

const [, , directory = "", writes = "0", mode = "calls"] = process.argv;
let left = Number(writes);

const alive = startedAlive();
const store = sqliteStore(join(directory, "journal.db"), undefined, inlineRunner(dying));
await store.open();
if (mode === "calls") await calls();
else await transaction(mode);
await store.close();
appendFileSync(join(directory, "acks"), "end\n");
alive.cancel();

/** Two calls one after the other, two at once, and repeats. */
async function calls(): Promise<void> {
  await call("a");
  await call("b");
  await Promise.all([call("c"), call("d"), call("a")]);
}

async function call(id: string): Promise<void> {
  const claim = await store.claim(keyOf({ id }));
  if (claim.kind !== "run") return;
  appendFileSync(join(directory, "effects"), `${id}\n`);
  await store.finish(claim.entry, bytesOf(`answer ${id}`));
  appendFileSync(join(directory, "acks"), `${id}\n`);
}

async function transaction(moment: string): Promise<void> {
  const entry = entryOf(await store.claim(keyOf({ id: "a" })));
  const die = (now: string): void => void (now === moment && process.kill(process.pid, "SIGKILL"));
  await store.transact(
    entry,
    async (tx) => {
      tx.exec("CREATE TABLE orders (id TEXT) STRICT");
      tx.exec("INSERT INTO orders VALUES ('a')");
      die("in the work");
      await Promise.resolve();
      die("after a wait");
    },
    () => {
      die("before the commit");
      return bytesOf("answer a");
    },
    undefined,
  );
  die("after the commit");
  assert.equal(moment, "never");
}

/** Counts what is written, and dies before the n-th of it. A commit that has returned counts too. */
function dying(database: Database): Database {
  const step = (): void => {
    left -= 1;
    if (left === 0) process.kill(process.pid, "SIGKILL");
  };
  return {
    get isTransaction() {
      return database.isTransaction;
    },
    exec(sql) {
      step();
      database.exec(sql);
      if (sql === "COMMIT") step();
    },
    prepare: (sql) => dyingStatement(database.prepare(sql), step),
    close: () => database.close(),
  };
}

function dyingStatement(statement: Statement, step: () => void): Statement {
  return {
    run(...values) {
      step();
      return statement.run(...values);
    },
    get: (...values) => statement.get(...values),
    all: (...values) => statement.all(...values),
  };
}
