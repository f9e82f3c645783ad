/**
 * Calls of effect once behind interceptors: `next` may be called again, given up, or answered in place of.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Interceptor, RpcError } from "holdfast";
import { sqlite } from "holdfast/durable";
import { TestDirectory } from "../durable/testdata/dedup-rigs.ts";
import { assertFails } from "../../test/calls/failure.ts";
import { gate, turns } from "../../test/calls/gate.ts";
import { seenJournal, startOnce } from "../../test/calls/kept-calls.ts";
import { rawCall } from "../../test/calls/raw-once.ts";

const key = { idempotencyKey: "order-1" };
const plain: Interceptor = (next) => (call) => next(call);
const textOf = ({ body }: { readonly body: Uint8Array }): string => Buffer.from(body).toString();

describe("behind interceptors", () => {
  it("a second next gets the kept answer, of a reply as of a failure, and is no repeat of the caller's", async () => {
    const twice: Interceptor = (next) => async (call) => {
      await next(call).catch(() => {});
      return next(call);
    };
    let runs = 0;
    await using pair = await startOnce(
      {
        unary: ({ body }) => {
          runs += 1;
          if (body.length > 0) throw new RpcError("NOT_FOUND", `run ${runs}`);
          return { body: Buffer.from(`run ${runs}`) };
        },
      },
      { server: { interceptors: [twice] } },
    );
    const first = await rawCall(pair.address, { id: "order-1", payload: Buffer.alloc(0) });
    assert.deepEqual([first.fields["grpc-status"], first.fields["holdfast-deduplicated"]], ["0", undefined]);
    assert.equal(textOf(await pair.client.unary({}, key)), "run 1");
    const failing = { body: Buffer.from("x") };
    assert.equal((await assertFails(pair.client.unary(failing, { idempotencyKey: "b" }), "NOT_FOUND")).text, "run 2");
    assert.equal(runs, 2);
  });

  it("a second next under overload gets the kept answer: a refusal would say that nothing ran", async () => {
    const full = gate();
    const isFull = gate();
    const again: Interceptor = (next) => async (call) => {
      const reply = await next(call);
      if (call.metadata.get("x-again") === undefined) return reply;
      isFull.open();
      await full.opened;
      return next(call);
    };
    const release = gate();
    const began = gate();
    await using pair = await startOnce(
      {
        async unary({ body }) {
          if (body.length > 0) {
            began.open();
            await release.opened;
          }
          return { body };
        },
      },
      { server: { interceptors: [again], admission: { concurrencyMax: 1, queueMax: 0 } } },
    );
    const call = pair.client.unary({}, { ...key, metadata: { "x-again": "1" } });
    await isFull.opened;
    const other = pair.client.unary({ body: Buffer.from("x") }, { idempotencyKey: "other" });
    await began.opened;
    full.open();
    assert.equal(textOf(await call), "");
    release.open();
    assert.equal(textOf(await other), "x");
    assert.equal(pair.server.status().dedup?.counts.entries, 2);
  });

  it("a repeat attaches while the first runs, and its caller's end does not stop the handler", async () => {
    const release = gate();
    const began = gate();
    let runs = 0;
    let isAborted = false;
    await using pair = await startOnce(
      {
        async unary(_, call) {
          runs += 1;
          call.signal.addEventListener("abort", () => {
            isAborted = true;
          });
          began.open();
          await release.opened;
          return { body: Buffer.from("done") };
        },
      },
      { server: { interceptors: [plain] } },
    );
    const leaving = pair.connect();
    const first = assertFails(leaving.unary({}, key), "UNAVAILABLE");
    await began.opened;
    const repeat = pair.client.unary({}, key);
    await turns(10);
    await leaving.$close({ timeoutMs: 0 });
    await first;
    await turns(10);
    assert.equal(isAborted, false);
    release.open();
    assert.equal(textOf(await repeat), "done");
    assert.equal(runs, 1);
  });

  it("a reply that cannot be encoded is a kept failure, and nothing is left running", async () => {
    let runs = 0;
    await using pair = await startOnce(
      { unary: () => ({ body: (runs += 1) }) as never },
      { server: { interceptors: [plain] } },
    );
    for (let i = 0; i < 2; i++) await assertFails(pair.client.unary({}, { ...key, timeoutMs: 2_000 }), "INTERNAL");
    assert.equal(runs, 1);
    assert.deepEqual(pair.server.status().dedup?.counts.running, 0);
  });

  it("an answer that could not be kept is OUTCOME_UNKNOWN", async () => {
    const dedup = seenJournal(() => ({
      finish: () => {
        throw new TypeError("a store with a bug");
      },
    }));
    await using pair = await startOnce({ unary: () => ({}) }, { server: { interceptors: [plain], dedup } });
    assert.equal((await assertFails(pair.client.unary({}, key), "ABORTED")).reason, "OUTCOME_UNKNOWN");
  });

  it("one that answers in the handler's place keeps nothing, and one that fails before it runs nothing", async () => {
    const own: Interceptor = (next) => async (call) => {
      if (call.metadata.get("x-fail") !== undefined) throw new RpcError("PERMISSION_DENIED", "no");
      return call.metadata.get("x-own") === undefined ? next(call) : call.reply([{ body: Buffer.from("own") }]);
    };
    let runs = 0;
    await using pair = await startOnce(
      { unary: () => ({ body: Buffer.from(`run ${(runs += 1)}`) }) },
      { server: { interceptors: [own] } },
    );
    await assertFails(pair.client.unary({}, { ...key, metadata: { "x-fail": "1" } }), "PERMISSION_DENIED");
    assert.equal(textOf(await pair.client.unary({}, { ...key, metadata: { "x-own": "1" } })), "own");
    assert.equal(pair.server.status().dedup?.counts.entries, 0);
    assert.equal(textOf(await pair.client.unary({}, key)), "run 1");
    assert.equal(runs, 1);
  });

  it("one that gives up on the handler before its end leaves the answer to the repeat", async () => {
    const impatient: Interceptor = (next) => async (call) => {
      if (call.metadata.get("x-impatient") === undefined) return next(call);
      void next(call).catch(() => {});
      throw new RpcError("UNAVAILABLE", "too slow");
    };
    const release = gate();
    let runs = 0;
    await using pair = await startOnce(
      {
        async unary() {
          runs += 1;
          await release.opened;
          return { body: Buffer.from("late") };
        },
      },
      { server: { interceptors: [impatient] } },
    );
    await assertFails(pair.client.unary({}, { ...key, metadata: { "x-impatient": "1" } }), "UNAVAILABLE");
    const repeat = pair.client.unary({}, key);
    await turns(10);
    release.open();
    assert.equal(textOf(await repeat), "late");
    assert.ok(runs <= 1, `${runs} runs`);
    assert.equal(pair.server.status().dedup?.counts.running, 0);
  });

  it("what transact has committed is the answer, whatever the handler does after it", async () => {
    using directory = new TestDirectory();
    await using dedup = sqlite(directory.file);
    await using pair = await startOnce(
      {
        async unary({ body }, call) {
          await call.transact(() => ({ body: Buffer.from("committed") }));
          if (body.length > 0) throw new Error("after it");
          return { body: Buffer.from("something else") };
        },
      },
      { server: { interceptors: [plain], dedup } },
    );
    for (const body of ["", "x"]) {
      const reply = await pair.client.unary({ body: Buffer.from(body) }, { idempotencyKey: `k${body}` });
      assert.equal(textOf(reply), "committed");
    }
  });
});
