/**
 * Effect and kept answer in one transaction.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { assertAnswer, bytesOf, entryOf, keyOf } from "../testing/dedup-suite.ts";
import { type DatabaseSync, openDatabase } from "../world/node-database.ts";
import { nodeWorld } from "../world/node.ts";
import type { World } from "../world/world.ts";
import type { SqliteDedup } from "./sqlite-dedup.ts";
import { sqliteStore, startedAlive, TestDirectory } from "./testdata/dedup-rigs.ts";

async function withStore(
  body: (store: SqliteDedup, orders: () => number, file: string) => Promise<void>,
  world: World = nodeWorld,
): Promise<void> {
  using directory = new TestDirectory();
  const alive = startedAlive();
  const database = openDatabase(directory.file, { busyMs: 0 });
  database.exec("CREATE TABLE orders (id TEXT PRIMARY KEY) STRICT");
  const store = sqliteStore(directory.file, world);
  await store.open();
  try {
    const count = (): number => Number(database.prepare("SELECT count(*) AS orders FROM orders").get()?.orders);
    await body(store, count, directory.file);
  } finally {
    await store.close();
    database.close();
    alive.cancel();
  }
}

function place(tx: DatabaseSync, id: string): string {
  tx.prepare("INSERT INTO orders VALUES (?)").run(id);
  return `placed ${id}`;
}

test("effect and answer commit together, and the answer stands for whatever the handler does then", async () => {
  await withStore(async (store, orders) => {
    const entry = entryOf(await store.claim(keyOf({})));
    const repeat = await store.claim(keyOf({}));
    assert.equal(await store.transact(entry, async (tx) => place(tx, "a"), bytesOf, undefined), "placed a");
    assert.equal(orders(), 1);
    assert.equal(new TextDecoder().decode(entry.answer), "placed a");
    await assertAnswer(repeat, "placed a");
    await store.finish(entry, bytesOf("failed afterwards"));
    await store.forget(entry);
    await assertAnswer(await store.claim(keyOf({})), "placed a");
    await assert.rejects(
      store.transact(entry, () => "again", bytesOf, undefined),
      TypeError,
    );
  });
});

test("work that throws leaves nothing, and what was rolled back may be forgotten and run again", async () => {
  await withStore(async (store, orders) => {
    const entry = entryOf(await store.claim(keyOf({})));
    const failure = new Error("no tea left");
    const fail = (tx: DatabaseSync): string => {
      place(tx, "a");
      throw failure;
    };
    await assert.rejects(store.transact(entry, fail, bytesOf, undefined), failure);
    assert.equal(entry.isRolledBack, true);
    assert.equal(entry.answer, undefined);
    assert.equal(orders(), 0);
    // A second try in the same handler is a second transaction.
    await assert.rejects(
      store.transact(entry, async (tx) => fail(tx), bytesOf, undefined),
      failure,
    );
    await store.forget(entry);
    const again = entryOf(await store.claim(keyOf({})));
    await store.transact(again, (tx) => place(tx, "a"), bytesOf, undefined);
    assert.equal(orders(), 1);
    await assertAnswer(await store.claim(keyOf({})), "placed a");
  });
});

test("an answer that cannot be made rolls the effect back", async () => {
  await withStore(async (store, orders) => {
    const entry = entryOf(await store.claim(keyOf({})));
    const failure = new TypeError("not a message");
    const encode = (): never => {
      throw failure;
    };
    await assert.rejects(
      store.transact(entry, (tx) => place(tx, "a"), encode, undefined),
      failure,
    );
    assert.equal(orders(), 0);
  });
});

test("a constraint that fails at the commit rolls the effect back, and the store goes on", async () => {
  await withStore(async (store, orders) => {
    const entry = entryOf(await store.claim(keyOf({})));
    const orphan = (tx: DatabaseSync): string => {
      tx.exec("CREATE TABLE lines (id TEXT REFERENCES orders DEFERRABLE INITIALLY DEFERRED)");
      tx.exec("INSERT INTO lines VALUES ('none')");
      return place(tx, "a");
    };
    await assert.rejects(store.transact(entry, orphan, bytesOf, undefined), /FOREIGN KEY/);
    assert.deepEqual([orders(), entry.isRolledBack, store.snapshot().failure], [0, true, undefined]);
    assert.equal(await store.transact(entry, (tx) => place(tx, "a"), bytesOf, undefined), "placed a");
  });
});

test("work that is given up writes nothing late: its connection is closed under it", async () => {
  await withStore(async (store, orders) => {
    const entry = entryOf(await store.claim(keyOf({})));
    const deadline = new AbortController();
    const { promise: goOn, resolve } = Promise.withResolvers<void>();
    let late: unknown;
    const transacted = store.transact(
      entry,
      async (tx) => {
        place(tx, "a");
        deadline.abort(new Error("too late"));
        await goOn;
        try {
          place(tx, "b");
        } catch (error) {
          late = error;
        }
        return "placed b";
      },
      bytesOf,
      deadline.signal,
    );
    await assert.rejects(transacted, /too late/);
    assert.equal(entry.isRolledBack, true);
    resolve();
    await Promise.resolve();
    await store.finish(entryOf(await store.claim(keyOf({ id: "other" }))), bytesOf("goes on"));
    assert.match(String(late), /not open|finalized/);
    assert.equal(orders(), 0);
  });
});

test("a branch of failed work that goes on writes nothing, neither by itself nor in the next transaction", async () => {
  await withStore(async (store, orders) => {
    const entry = entryOf(await store.claim(keyOf({})));
    const other = entryOf(await store.claim(keyOf({ id: "other" })));
    const declined = new Error("payment declined");
    const alone = Promise.withResolvers<void>();
    const beside = Promise.withResolvers<void>();
    const branches: Promise<string>[] = [];
    const work = async (tx: DatabaseSync): Promise<string> => {
      const insert = tx.prepare("INSERT INTO orders VALUES ('prepared')");
      branches.push(alone.promise.then(() => place(tx, "alone")));
      branches.push(beside.promise.then(() => `${insert.run().changes}`));
      return (await Promise.all([...branches, Promise.reject(declined)])).join();
    };
    await assert.rejects(store.transact(entry, work, bytesOf, undefined), declined);
    alone.resolve();
    const [first] = await Promise.allSettled(branches.slice(0, 1));
    assert.deepEqual([first?.status, orders(), entry.isRolledBack], ["rejected", 0, true]);
    await store.transact(
      other,
      async (tx) => {
        place(tx, "other");
        beside.resolve();
        await Promise.allSettled(branches);
        return "placed other";
      },
      bytesOf,
      undefined,
    );
    assert.equal((await Promise.allSettled(branches))[1]?.status, "rejected");
    assert.equal(orders(), 1);
  });
});

test("a statement that the work did not wait for fails once it has committed", async () => {
  await withStore(async (store, orders) => {
    const [entry, other] = [entryOf(await store.claim(keyOf({}))), entryOf(await store.claim(keyOf({ id: "other" })))];
    const { promise: goOn, resolve } = Promise.withResolvers<void>();
    let late: Promise<string> | undefined;
    const forgetful = (tx: DatabaseSync): string => {
      late = goOn.then(() => place(tx, "late"));
      return place(tx, "a");
    };
    await store.transact(entry, forgetful, bytesOf, undefined);
    const failing = async (): Promise<string> => {
      resolve();
      await assert.rejects(late as Promise<string>, /not open/);
      throw new Error("no tea left");
    };
    await assert.rejects(store.transact(other, failing, bytesOf, undefined), /no tea left/);
    assert.equal(orders(), 1);
  });
});

test("work that waits for ever is rolled back at the limit, and the calls behind it go on", async () => {
  const limits: (() => void)[] = [];
  let cancelled = 0;
  const { timers } = nodeWorld;
  const world: World = {
    ...nodeWorld,
    timers: {
      schedule: (delayMs, callback) => {
        if (delayMs !== 5_000) return timers.schedule(delayMs, callback);
        limits.push(callback);
        return { cancel: () => void (cancelled += 1) };
      },
      hold: () => timers.hold(),
      afterTurn: (callback) => timers.afterTurn(callback),
    },
  };
  await withStore(async (store, orders) => {
    const [entry, other] = [entryOf(await store.claim(keyOf({}))), entryOf(await store.claim(keyOf({ id: "other" })))];
    const { promise: isWaiting, resolve } = Promise.withResolvers<void>();
    const stuck = async (tx: DatabaseSync): Promise<string> => {
      place(tx, "a");
      resolve();
      return new Promise<string>(() => {});
    };
    const transacted = store.transact(entry, stuck, bytesOf, new AbortController().signal);
    const next = store.transact(other, (tx) => place(tx, "b"), bytesOf, undefined);
    const claimed = store.claim(keyOf({ id: "third" }));
    await Promise.race([isWaiting, transacted]);
    assert.equal(limits.length, 1, "the one in the line has its time before it");
    limits[0]?.();
    await assert.rejects(transacted, /ABORTED: the transaction took more than 5000 ms \(sqlite\.transactMsMax\)/);
    assert.equal(entry.isRolledBack, true);
    assert.equal(await next, "placed b");
    entryOf(await claimed);
    assert.deepEqual([orders(), limits.length, cancelled], [1, 2, 2]);
  }, world);
});

test("they run one at a time and in order, calls without one go on beside them, one given up in the line steps out", async () => {
  await withStore(async (store, orders) => {
    const entries = await Promise.all(
      Array.from({ length: 40 }, async (_, index) => entryOf(await store.claim(keyOf({ id: `${index}` })))),
    );
    const order: number[] = [];
    let open = 0;
    const impatient = new AbortController();
    const all = entries.map((entry, index) =>
      store.transact(
        entry,
        async (tx) => {
          open += 1;
          assert.equal(open, 1);
          if (index === 3) impatient.abort(new Error("impatient"));
          await new Promise<void>((resolve) => queueMicrotask(resolve));
          open -= 1;
          order.push(index);
          return place(tx, `${index}`);
        },
        bytesOf,
        index % 10 === 9 ? impatient.signal : undefined,
      ),
    );
    const beside = Array.from({ length: 40 }, async (_, index) =>
      store.finish(entryOf(await store.claim(keyOf({ id: `beside-${index}` }))), bytesOf("-")),
    );
    const results = await Promise.allSettled(all);
    await Promise.all(beside);
    assert.equal(results.filter(({ status }) => status === "rejected").length, 4);
    assert.deepEqual(
      order,
      Array.from({ length: 40 }, (_, index) => index).filter((index) => index % 10 !== 9),
    );
    assert.equal(orders(), 36);
  });
});

test("work that ends its transaction itself is found out, and its call is not answered", async () => {
  await withStore(async (store) => {
    const entry = entryOf(await store.claim(keyOf({})));
    const commit = (tx: DatabaseSync): string => {
      place(tx, "a");
      tx.exec("COMMIT");
      return "placed a";
    };
    await assert.rejects(store.transact(entry, commit, bytesOf, undefined), /COMMIT and ROLLBACK are transact's/);
    assert.equal(entry.isRolledBack, false, "its effect is there: it must not run again");
    await store.finish(entry, bytesOf("failed"));
    await assertAnswer(await store.claim(keyOf({})), "failed");
  });
});

test("another process that writes is waited for without blocking", async () => {
  await withStore(async (store, orders, file) => {
    const entry = entryOf(await store.claim(keyOf({})));
    const other = openDatabase(file, { busyMs: 0 });
    other.exec("BEGIN IMMEDIATE");
    const transacted = store.transact(entry, (tx) => place(tx, "a"), bytesOf, undefined);
    let turns = 0;
    for (; turns < 100; turns += 1) await new Promise<void>((resolve) => setImmediate(resolve));
    other.exec("COMMIT");
    other.close();
    assert.equal(await transacted, "placed a");
    assert.equal(orders(), 1);
  });
});

test("finish and forget during a transaction wait for its end", async () => {
  await withStore(async (store, orders) => {
    const entry = entryOf(await store.claim(keyOf({})));
    const transacted = store.transact(entry, (tx) => place(tx, "a"), bytesOf, undefined);
    await assert.rejects(
      store.transact(entry, () => "twice", bytesOf, undefined),
      TypeError,
    );
    await store.forget(entry);
    await store.finish(entry, bytesOf("late"));
    assert.equal(await transacted, "placed a");
    assert.equal(orders(), 1);
    await assertAnswer(await store.claim(keyOf({})), "placed a");
  });
});
