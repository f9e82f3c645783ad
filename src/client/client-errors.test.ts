import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { AddReplySchema, ItemSchema } from "../../bench/gen/bench/v1/bench_pb.ts";
import { all, type BenchHandlers, startPair } from "../../test/calls/bench-service.ts";
import { assertFails } from "../../test/calls/failure.ts";
import { type Code, codesByNumber } from "../call/code.ts";
import { RpcError } from "../call/error.ts";
import { defineError } from "../schema/define-error.ts";
import { createChannel } from "./channel.ts";
import { within } from "./context.ts";

const SECRET = "password=hunter2";
const OutOfStock = defineError("bench.v1.Item", "FAILED_PRECONDITION", ItemSchema);

/** Handlers that all throw the same, each in the way of its kind. */
function throwing(make: () => unknown): Partial<BenchHandlers> {
  return {
    add: () => {
      throw make();
    },
    placeOrder: () => Promise.reject(make()),
    down: () => {
      throw make();
    },
    async up() {
      throw make();
    },
    // oxlint-disable-next-line require-yield
    async *both() {
      throw make();
    },
  };
}

function* callsOf(client: Awaited<ReturnType<typeof startPair>>["client"]): Generator<Promise<unknown>> {
  yield client.add({});
  yield client.placeOrder({});
  yield all(client.down({}));
  yield client.up([{}]);
  yield all(client.both([{}]));
}

describe("what a handler throws", () => {
  it("as an RpcError arrives whole: code, text in any script, details, metadata, retryAfterMs; in all kinds", async () => {
    const value = new Uint8Array([8, 7]);
    const text = "naïve 100 % ☂ \n text";
    await using pair = await startPair(
      throwing(
        () =>
          new RpcError("ALREADY_EXISTS", text, {
            details: [
              { type: "bench.v1.AddReply", value },
              { type: "unknown.Type", value: new Uint8Array(3_000) },
            ],
            metadata: { "x-a": "1" },
            retryAfterMs: 1_500,
            cause: new Error(SECRET),
          }),
      ),
    );
    let count = 0;
    for (const call of callsOf(pair.client)) {
      const error = await assertFails(call, "ALREADY_EXISTS");
      assert.equal(error.text, text);
      assert.equal(error.message, `ALREADY_EXISTS: ${text}`);
      assert.equal(error.reason, undefined, "a server ended it, not Holdfast");
      assert.equal(error.detail(AddReplySchema)?.result, 7);
      assert.deepEqual(
        error.details.map(({ type, value: bytes }) => [type, bytes.length]),
        [
          ["bench.v1.AddReply", 2],
          ["unknown.Type", 3_000],
        ],
      );
      assert.equal(error.metadata.get("x-a"), "1");
      assert.equal(error.retryAfterMs, 1_500);
      assert.equal(error.reached, "yes");
      assert.equal(error.cause, undefined);
      assert.match(error.callId ?? "", /^[0-9a-f]{32}$/);
      count += 1;
    }
    assert.equal(count, 5);
  });

  it("with each of the sixteen codes arrives with that code", async () => {
    const codes = codesByNumber.filter((code): code is Code => code !== "OK");
    await using pair = await startPair(
      {
        add({ a }) {
          throw new RpcError(codes[a] as Code, `number ${a}`);
        },
      },
      { client: { policy: { retry: false } } },
    );
    assert.equal(codes.length, 16);
    for (const [index, code] of codes.entries()) {
      const error = await assertFails(pair.client.add({ a: index }), code);
      assert.equal(error.text, `number ${index}`);
      assert.equal(error.faults.length, 1);
    }
  });

  it("as a defined error is read as its data, and by no other kind", async () => {
    const Other = defineError("bench.v1.Item", "ABORTED", ItemSchema);
    await using pair = await startPair(throwing(() => OutOfStock({ index: 9, text: "tea" }, "sold out")));
    for (const call of callsOf(pair.client)) {
      const error = await assertFails(call, "FAILED_PRECONDITION");
      assert.equal(error.text, "sold out");
      assert.deepEqual([OutOfStock.read(error)?.index, OutOfStock.read(error)?.text], [9, "tea"]);
      assert.equal(Other.read(error), undefined);
    }
  });

  it("as anything else becomes UNKNOWN with the call's id, and not a word of it leaves", async () => {
    const ids: string[] = [];
    for (const thrown of [new TypeError(SECRET), SECRET, { message: SECRET }, null, undefined, 0]) {
      await using pair = await startPair({
        ...throwing(() => thrown),
        add(_, call) {
          ids.push(call.id);
          throw thrown;
        },
      });
      for (const call of callsOf(pair.client)) {
        const error = await assertFails(call, "UNKNOWN");
        assert.ok(!JSON.stringify(error).includes("hunter2") && !error.message.includes("hunter2"));
        assert.equal(error.details.length, 0);
        assert.ok(error.text.includes(error.callId ?? "none"), error.text);
      }
      const error = await assertFails(pair.client.add({}), "UNKNOWN");
      assert.equal(error.callId, ids.at(-1), "the id is the same on both sides");
    }
  });

  it("cannot bring the server down with an error that defends itself", async () => {
    const hostile = new Proxy(
      {},
      {
        get: () => {
          throw new Error(SECRET);
        },
        has: () => {
          throw new Error(SECRET);
        },
      },
    );
    await using pair = await startPair({ ...throwing(() => hostile), echo: (blob) => blob });
    for (const call of callsOf(pair.client)) await assertFails(call, "UNKNOWN");
    assert.equal((await pair.client.echo({})).data.length, 0);
  });
});

describe("a nested call's failure that a handler lets through", () => {
  const KEPT: readonly Code[] = ["DEADLINE_EXCEEDED", "CANCELLED", "UNAVAILABLE", "RESOURCE_EXHAUSTED"];

  for (const code of codesByNumber.filter((each): each is Code => each !== "OK")) {
    const expected = KEPT.includes(code) ? code : "UNKNOWN";
    it(`${code} becomes ${expected}, without details, text and metadata, and asks not to be repeated`, async () => {
      await using below = await startPair(
        throwing(
          () =>
            new RpcError(code, SECRET, {
              details: [{ type: "bench.v1.Item", value: new Uint8Array(2) }],
              metadata: { "x-a": "1" },
            }),
        ),
        { client: { policy: { retry: false } } },
      );
      await using above = await startPair({
        add: (request) => below.client.add(request),
        async *down(request) {
          yield* below.client.down(request);
        },
      });
      for (const call of [above.client.add({}), all(above.client.down({}))]) {
        const error = await assertFails(call, expected);
        assert.ok(!error.message.includes("hunter2"), error.message);
        assert.equal(error.details.length, 0);
        assert.deepEqual([...error.metadata], []);
        assert.ok((error.retryAfterMs ?? 0) < 0);
        assert.equal(error.isRepeatable, false);
      }
    });
  }

  it("is one also when no server was reached, or the client had been closed", async () => {
    await using channel = createChannel("127.0.0.1:1");
    await using below = await startPair();
    await below.client.$close();
    await using above = await startPair({
      async add() {
        await channel.ready({ timeoutMs: 1 });
        return {};
      },
      echo: (request) => below.client.echo(request),
      placeOrder: () =>
        within(
          { timeoutMs: 1 },
          async (signal) =>
            new Promise((_, reject) => {
              signal.addEventListener("abort", () => reject(signal.reason));
            }),
        ),
    });
    const unready = await assertFails(above.client.add({}), "UNAVAILABLE");
    assert.ok(!unready.message.includes("127.0.0.1"), unready.message);
    const closed = await assertFails(above.client.echo({}), "CANCELLED");
    assert.ok(closed.retryAfterMs !== undefined && closed.retryAfterMs < 0);
    const late = await assertFails(above.client.placeOrder({}), "DEADLINE_EXCEEDED");
    assert.equal(late.isRepeatable, false);
  });

  it("is passed on whole by throwing one's own, with it as the cause", async () => {
    await using below = await startPair(throwing(() => new RpcError("NOT_FOUND", "below")));
    await using above = await startPair({
      async add(request) {
        try {
          return await below.client.add(request);
        } catch (cause) {
          throw new RpcError("NOT_FOUND", "above", { cause });
        }
      },
    });
    const error = await assertFails(above.client.add({}), "NOT_FOUND");
    assert.equal(error.text, "above");
    assert.equal(error.cause, undefined);
  });
});

describe("what a handler returns", () => {
  it("that is no message becomes INTERNAL without a word of it, and the connection lives on", async () => {
    const bad = { result: SECRET } as never;
    await using pair = await startPair(
      {
        add: () => bad,
        placeOrder: () => Promise.resolve(5 as never),
        async up() {
          return undefined as never;
        },
        *down() {
          yield { index: 1 };
          yield { index: SECRET } as never;
        },
      },
      { client: { policy: { retry: false } } },
    );
    for (const call of [
      pair.client.add({}),
      pair.client.placeOrder({}),
      pair.client.up([]),
      all(pair.client.down({})),
    ]) {
      const error = await assertFails(call, "INTERNAL");
      assert.ok(!error.message.includes("hunter2"), error.message);
    }
    assert.equal((await pair.client.echo({})).data.length, 0);
  });

  it("that is no iterable where a stream is due becomes UNKNOWN", async () => {
    for (const returned of [undefined, null, 5, "text", {}, Promise.resolve([])]) {
      await using pair = await startPair({ down: () => returned as never, both: () => returned as never });
      await assertFails(all(pair.client.down({})), "UNKNOWN");
      await assertFails(all(pair.client.both([{}])), "UNKNOWN");
      assert.equal((await pair.client.add({ a: 1 })).result, 1);
    }
  });

  it("may be an array, a set, a generator: any iterable", async () => {
    const replies = [{ index: 1 }, { index: 2 }];
    for (const make of [() => replies, () => new Set(replies), () => replies.values()]) {
      await using pair = await startPair({ down: make });
      assert.deepEqual(
        (await all(pair.client.down({}))).map(({ index }) => index),
        [1, 2],
      );
    }
  });

  it("whose iterator throws in return() after the caller left harms nobody", async () => {
    let returns = 0;
    await using pair = await startPair({
      down: () => ({
        [Symbol.asyncIterator]: () => ({
          next: async () => ({ value: { index: 1, text: "x".repeat(1_000) }, done: false }),
          return: () => {
            returns += 1;
            throw new Error(SECRET);
          },
        }),
      }),
    });
    for await (const _ of pair.client.down({})) break;
    assert.equal((await pair.client.add({ a: 1 })).result, 1);
    const report = await pair.server.close();
    assert.deepEqual(report.cut, []);
    assert.equal(returns, 1);
  });
});

describe("what a client sends", () => {
  it("that is no message fails with INVALID_ARGUMENT at once and never reaches the handler", async () => {
    let calls = 0;
    await using pair = await startPair({
      add: () => (calls++, {}),
      *down() {
        calls++;
        yield {};
      },
    });
    for (const bad of [{ a: "1" }, { a: 1.5 }, { a: 2 ** 40 }, 5, undefined] as never[]) {
      const error = await assertFails(pair.client.add(bad), "INVALID_ARGUMENT");
      assert.equal(error.reason, "INVALID_MESSAGE");
      assert.equal(error.reached, "no");
      assert.ok(error.cause instanceof Error);
    }
    await assertFails(all(pair.client.down({ count: "x" } as never)), "INVALID_ARGUMENT");
    await pair.client.echo({});
    assert.equal(calls, 0);
  });

  it("in a stream that is no message ends the call, and the source is let go", async () => {
    let isReturned = false;
    await using pair = await startPair();
    function* source(): Generator<{ index: number }> {
      try {
        yield { index: 1 };
        yield { index: "two" } as never;
        yield { index: 3 };
      } finally {
        isReturned = true;
      }
    }
    const error = await assertFails(pair.client.up(source()), "INVALID_ARGUMENT");
    assert.equal(error.reason, "INVALID_MESSAGE");
    assert.ok(isReturned);
    await assertFails(all(pair.client.both([{ index: "one" } as never])), "INVALID_ARGUMENT");
  });

  it("from a source that throws cancels the call with that error as the cause", async () => {
    const thrown = new Error("the disk is full");
    let handlerSaw: unknown;
    const { promise: ended, resolve: end } = Promise.withResolvers<void>();
    await using pair = await startPair({
      async up(items) {
        try {
          await all(items);
        } catch (error) {
          handlerSaw = error;
        }
        end();
        return {};
      },
    });
    async function* source(): AsyncGenerator<{ index: number }> {
      yield { index: 1 };
      throw thrown;
    }
    const error = await assertFails(pair.client.up(source()), "CANCELLED");
    assert.equal(error.cause, thrown);
    await ended;
    assert.ok(handlerSaw instanceof RpcError, "the handler does not take half a stream for a whole one");
    assert.equal((await assertFails(all(pair.client.both(source())), "CANCELLED")).cause, thrown);
  });

  it("to a handler that answers without reading it all is stopped, and its source let go", async () => {
    let isReturned = false;
    await using pair = await startPair({
      async up(items) {
        for await (const { index } of items) if (index === 1) return { result: 42 };
        return {};
      },
    });
    async function* source(): AsyncGenerator<{ index: number; text: string }> {
      try {
        for (let index = 0; ; index++) yield { index, text: "x".repeat(1_000) };
      } finally {
        isReturned = true;
      }
    }
    assert.equal((await pair.client.up(source())).result, 42);
    assert.equal((await pair.client.add({ a: 1 })).result, 1);
    assert.ok(isReturned);
  });

  it("to a handler that reads nothing at all still gets its answer", async () => {
    await using pair = await startPair({ up: () => ({ result: 1 }), both: () => [{ index: 5 }] });
    const many = Array.from({ length: 1_000 }, (_, index) => ({ index, text: "x".repeat(1_000) }));
    assert.equal((await pair.client.up(many)).result, 1);
    assert.equal((await all(pair.client.both(many)))[0]?.index, 5);
    assert.equal((await pair.client.up([])).result, 1);
  });

  it("to a handler that iterates its requests twice: the second time throws at that line", async () => {
    let message = "";
    await using pair = await startPair({
      async up(items) {
        await all(items);
        try {
          await all(items);
        } catch (error) {
          message = (error as Error).message;
        }
        return {};
      },
    });
    await pair.client.up([{}]);
    assert.match(message, /iterated once/);
  });
});
