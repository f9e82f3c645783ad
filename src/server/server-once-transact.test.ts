/**
 * `call.transact`, and what a restart leaves: effect and answer in one file, at real servers.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createClient, RpcError } from "holdfast";
import { memory, sqlite } from "holdfast/durable";
import { openDatabase } from "../world/node-database.ts";
import { TestDirectory } from "../durable/testdata/dedup-rigs.ts";
import { assertFails } from "../../test/calls/failure.ts";
import { gate, turns } from "../../test/calls/gate.ts";
import { type OnceHandlers, OnceProbe, onceServer, startOnce } from "../../test/calls/kept-calls.ts";
import { manualWorld } from "../../test/calls/manual-world.ts";
import { probeRequest, rawCall } from "../../test/calls/raw-once.ts";

type Tx = import("../world/node-database.ts").DatabaseSync;
const textOf = ({ body }: { readonly body: Uint8Array }): string => Buffer.from(body).toString();
const reply = (text: string): { body: Uint8Array } => ({ body: Buffer.from(text) });

function buy(tx: Tx, id: string): void {
  tx.exec("CREATE TABLE IF NOT EXISTS orders (id TEXT) STRICT");
  tx.prepare("INSERT INTO orders VALUES (?)").run(id);
}

function orders(file: string): readonly unknown[] {
  const database = openDatabase(file, { busyMs: 1_000 });
  try {
    if (database.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'orders'").get() === undefined) return [];
    return database
      .prepare("SELECT id FROM orders ORDER BY id")
      .all()
      .map(({ id }) => id);
  } finally {
    database.close();
  }
}

describe("call.transact", () => {
  it("commits effect and answer together; its reply is the answer, whatever the handler gives or throws after it", async () => {
    using directory = new TestDirectory();
    await using dedup = sqlite(directory.file);
    const handlers: Partial<OnceHandlers<Tx>> = {
      async unary({ body }, call) {
        const mode = Buffer.from(body).toString();
        const kept = await call.transact((tx) => {
          buy(tx, mode);
          return reply(`bought ${mode}`);
        });
        if (mode === "throws") throw new Error("after the commit");
        return mode === "other" ? reply("something else") : kept;
      },
    };
    await using pair = await startOnce(handlers, { server: { dedup } });
    for (const mode of ["plain", "other", "throws"]) {
      for (let i = 0; i < 2; i++) {
        const answer = await pair.client.unary({ body: Buffer.from(mode) }, { idempotencyKey: mode });
        assert.equal(textOf(answer), `bought ${mode}`);
      }
    }
    assert.deepEqual(orders(directory.file), ["other", "plain", "throws"]);
    assert.equal(pair.server.status().dedup?.counts.running, 0);
  });

  it("that throws is rolled back: the handler's failure is told and not kept, and a repeat runs", async () => {
    using directory = new TestDirectory();
    await using dedup = sqlite(directory.file);
    let runs = 0;
    await using pair = await startOnce<Tx>(
      {
        unary: (_, call) =>
          call.transact((tx) => {
            runs += 1;
            buy(tx, `run ${runs}`);
            if (runs === 1) throw new RpcError("UNAVAILABLE", "no bank");
            return reply(`run ${runs}`);
          }),
      },
      { server: { dedup } },
    );
    const key = { idempotencyKey: "k" };
    assert.equal((await assertFails(pair.client.unary({}, key), "UNAVAILABLE")).text, "no bank");
    assert.equal(pair.server.status().dedup?.counts.running, 0);
    for (let i = 0; i < 2; i++) assert.equal(textOf(await pair.client.unary({}, key)), "run 2");
    assert.deepEqual(orders(directory.file), ["run 2"]);
  });

  it("that throws, in a handler that answers all the same, keeps what the handler answers", async () => {
    using directory = new TestDirectory();
    await using dedup = sqlite(directory.file);
    let runs = 0;
    await using pair = await startOnce<Tx>(
      {
        async unary(_, call) {
          runs += 1;
          await assert.rejects(
            call.transact((tx) => {
              buy(tx, "never");
              throw new Error("changed its mind");
            }),
          );
          return reply("sold out");
        },
      },
      { server: { dedup } },
    );
    for (let i = 0; i < 2; i++) {
      assert.equal(textOf(await pair.client.unary({}, { idempotencyKey: "k" })), "sold out");
    }
    assert.deepEqual([runs, orders(directory.file)], [1, []]);
  });

  it("that the handler did not wait for decides all the same: what it commits is the answer", async () => {
    using directory = new TestDirectory();
    await using dedup = sqlite(directory.file);
    const handlers: Partial<OnceHandlers<Tx>> = {
      async unary({ body }, call) {
        const mode = Buffer.from(body).toString();
        void call.transact(async (tx) => {
          buy(tx, mode);
          await Promise.resolve();
          return reply(`bought ${mode}`);
        });
        if (mode === "throws") throw new Error("at once");
        return reply("at once");
      },
    };
    await using pair = await startOnce(handlers, { server: { dedup } });
    for (const mode of ["answers", "throws"]) {
      for (let i = 0; i < 2; i++) {
        const answer = await pair.client.unary({ body: Buffer.from(mode) }, { idempotencyKey: mode });
        assert.equal(textOf(answer), `bought ${mode}`, `${mode} ${i}`);
      }
    }
    assert.deepEqual(orders(directory.file), ["answers", "throws"]);
  });

  it("is cut by the deadline: nothing of it is in the file, and a repeat runs", async () => {
    using directory = new TestDirectory();
    await using dedup = sqlite(directory.file);
    const world = manualWorld();
    const began = gate();
    let runs = 0;
    await using pair = await startOnce<Tx>(
      {
        unary: (_, call) =>
          call.transact(async (tx) => {
            runs += 1;
            buy(tx, `run ${runs}`);
            began.open();
            if (runs === 1) await new Promise(() => {});
            return reply(`run ${runs}`);
          }),
      },
      { server: { dedup, world }, client: { world } },
    );
    const first = assertFails(pair.client.unary({}, { idempotencyKey: "k", timeoutMs: 100 }), "DEADLINE_EXCEEDED");
    await began.opened;
    world.advance(200);
    await first;
    assert.equal(textOf(await pair.client.unary({}, { idempotencyKey: "k", timeoutMs: 60_000 })), "run 2");
    assert.deepEqual(orders(directory.file), ["run 2"]);
  });

  it("is refused to a call that is not kept, and in a journal without transactions", async () => {
    using directory = new TestDirectory();
    await using dedup = sqlite(directory.file);
    const reasons: string[] = [];
    const handlers: Partial<OnceHandlers<Tx>> = {
      unary: async (_, call) => {
        await call.transact(() => ({})).catch((error: unknown) => reasons.push(String(error)));
        return {};
      },
    };
    await using pair = await startOnce(handlers, { server: { dedup } });
    assert.equal(
      (await rawCall(pair.address, { id: undefined, payload: probeRequest("") })).fields["grpc-status"],
      "0",
    );
    await using withMemory = await startOnce<never>(handlers as never);
    await withMemory.client.unary({});
    assert.match(reasons[0] ?? "", /TypeError: .*the call is not kept/);
    assert.match(reasons[1] ?? "", /TypeError: .*the server's journal has no transactions/);
  });
});

describe("a server that is closed while once calls run, and started again at the same address", () => {
  const unfinished = async (address: string, hasBegun: Promise<void>): Promise<RpcError> => {
    const client = createClient(OnceProbe, address, { policy: { retry: false } });
    const call = assertFails(client.unary({}, { idempotencyKey: "k" }), "UNAVAILABLE");
    await hasBegun;
    await client.$close({ timeoutMs: 0 });
    return call;
  };

  it("with memory knows nothing of them: the client that repeats hears OUTCOME_UNKNOWN, and nothing runs twice", async () => {
    let runs = 0;
    const began = gate();
    const handlers: Partial<OnceHandlers> = {
      unary: () => {
        runs += 1;
        began.open();
        return new Promise(() => {});
      },
    };
    const first = onceServer(handlers, { dedup: memory() });
    const { address } = await first.listen(0);
    await using client = createClient(OnceProbe, address);
    await client.seen({});
    const call = assertFails(client.unary({}, { timeoutMs: 20_000 }), "ABORTED");
    await began.opened;
    await first.close({ timeoutMs: 0 });
    await using second = onceServer(handlers, { dedup: memory() });
    await second.listen(address);
    const error = await call;
    assert.deepEqual([error.reason, error.reached, runs], ["OUTCOME_UNKNOWN", "maybe", 1]);
  });

  it("with a file gives the kept answer, to a client that repeats and to one that comes with the key", async () => {
    using directory = new TestDirectory();
    let runs = 0;
    const handlers: Partial<OnceHandlers<Tx>> = { unary: () => reply(`run ${(runs += 1)}`) };
    const journal = sqlite(directory.file);
    const first = onceServer(handlers, { dedup: journal });
    const { address } = await first.listen(0);
    await using client = createClient(OnceProbe, address);
    assert.equal(textOf(await client.unary({}, { idempotencyKey: "k" })), "run 1");
    await first.close();
    await journal[Symbol.asyncDispose]();
    await using again = sqlite(directory.file);
    await using second = onceServer(handlers, { dedup: again });
    await second.listen(address);
    assert.equal(textOf(await client.unary({}, { idempotencyKey: "k" })), "run 1");
    assert.equal(runs, 1);
  });

  for (const onUnknown of ["refuse", "rerun"] as const) {
    it(`with a file knows that one was left running: onUnknown "${onUnknown}"`, async () => {
      using directory = new TestDirectory();
      let runs = 0;
      const began = gate();
      const handlers: Partial<OnceHandlers<Tx>> = {
        unary: () => {
          runs += 1;
          began.open();
          return runs === 1 ? new Promise<never>(() => {}) : reply(`run ${runs}`);
        },
      };
      const journal = sqlite(directory.file);
      const first = onceServer(handlers, { dedup: journal }, onUnknown);
      const { address } = await first.listen(0);
      await unfinished(address, began.opened);
      await first.close({ timeoutMs: 0 });
      await journal[Symbol.asyncDispose]();
      await using again = sqlite(directory.file);
      await using second = onceServer(handlers, { dedup: again }, onUnknown);
      await second.listen(address);
      await using client = createClient(OnceProbe, address, { policy: { retry: false } });
      const repeat = client.unary({}, { idempotencyKey: "k" });
      if (onUnknown === "rerun") {
        assert.equal(textOf(await repeat), "run 2");
        assert.equal(textOf(await client.unary({}, { idempotencyKey: "k" })), "run 2");
      } else {
        assert.equal((await assertFails(repeat, "ABORTED")).reason, "OUTCOME_UNKNOWN");
        assert.equal(runs, 1);
      }
      await turns(1);
    });
  }
});
