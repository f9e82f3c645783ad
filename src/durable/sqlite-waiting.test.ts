/**
 * A file whose thread does not answer.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { RpcError } from "../call/error.ts";
import { bytesOf, entryOf, keyOf } from "../testing/dedup-suite.ts";
import { createSimulation } from "../testing/simulation.ts";
import { SqliteDedup, type StartRunner } from "./sqlite-dedup.ts";
import type { Batch } from "./sqlite-batch.ts";
import { packOutcomes } from "./sqlite-batch.ts";
import type { RunnerEvents } from "./sqlite-runner.ts";
import { startedAlive } from "./testdata/dedup-rigs.ts";

/** A thread that opens, and answers when it is told to: each claim runs, each finish is done. */
class SlowThread {
  readonly batches: Batch[] = [];
  isStopped = false;
  events: RunnerEvents | undefined = undefined;
  readonly start: StartRunner = (_data, events) => {
    this.events = events;
    queueMicrotask(() => events.message({ kind: "opened", storeId: "0".repeat(32), owner: 1 }));
    return {
      send: (batch) => void this.batches.push(batch),
      close: () => {},
      stop: async () => {
        this.isStopped = true;
        events.ended(new Error("stopped"));
      },
      keepAlive: () => {},
    };
  };

  answer(outcomes: Parameters<typeof packOutcomes>[0]): void {
    this.batches.shift();
    this.events?.message({ kind: "done", replies: [packOutcomes(outcomes, { entries: 0, forgottenMs: -Infinity })] });
  }
}

const kept = { entriesMax: 10, retentionMs: 1e6, retentionMsMin: 1e3 };
const settings = { file: "slow.db", sync: "full", transactMsMax: 5e3, ...kept } as const;

test("beyond 65,536 operations on their way, new calls are refused; answers are still taken", async () => {
  const simulation = createSimulation();
  const thread = new SlowThread();
  const store = new SqliteDedup(simulation.host("server"), settings, thread.start);
  await store.open();
  const first = store.claim(keyOf({ id: "first" }));
  await simulation.advance(1);
  thread.answer([{ kind: "run", seq: 1 }]);
  const entry = entryOf(await first);
  const claims = Array.from({ length: 65_536 }, (_, index) => store.claim(keyOf({ id: `${index}` })));
  for (const claim of claims) claim.catch(() => {});
  assert.equal((await store.claim(keyOf({ id: "one more" }))).kind, "full");
  await simulation.advance(1);
  assert.equal((await store.claim(keyOf({ id: "one more" }))).kind, "full", "sent is not yet written");
  const finished = store.finish(entry, bytesOf("one"));
  await simulation.advance(1);
  thread.answer(claims.map((_, index) => ({ kind: "run", seq: index + 2 })));
  thread.answer([{ kind: "done" }]);
  await finished;
  const more = store.claim(keyOf({ id: "one more" }));
  await simulation.advance(1);
  thread.answer([{ kind: "run", seq: 70_000 }]);
  entryOf(await more);
});

test("all of a turn leaves in one message, and what comes meanwhile in the next", async () => {
  const simulation = createSimulation();
  const thread = new SlowThread();
  const store = new SqliteDedup(simulation.host("server"), settings, thread.start);
  await store.open();
  const claims = ["a", "b", "c"].map((id) => store.claim(keyOf({ id })));
  for (const claim of claims) claim.catch(() => {});
  await simulation.advance(1);
  assert.equal(thread.batches.length, 1);
  const later = store.claim(keyOf({ id: "d" }));
  later.catch(() => {});
  await simulation.advance(1);
  assert.equal(thread.batches.length, 2);
});

test("a thread that does not end is cut after 10 s, and what waited for it fails", async () => {
  const simulation = createSimulation();
  const alive = startedAlive();
  const thread = new SlowThread();
  const store = new SqliteDedup(simulation.host("server"), settings, thread.start);
  await store.open();
  const claim = store.claim(keyOf({}));
  claim.catch(() => {});
  await simulation.advance(1);
  const closed = store.close();
  await simulation.advance(9_990);
  assert.equal(thread.isStopped, false);
  await simulation.advance(20);
  assert.equal(thread.isStopped, true);
  await closed;
  await assert.rejects(claim, (error: unknown) => error instanceof RpcError && error.code === "UNAVAILABLE");
  alive.cancel();
});
