import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, it } from "node:test";
import { all, startPair } from "../../test/calls/bench-service.ts";
import { assertFails } from "../../test/calls/failure.ts";
import { gate, turns } from "../../test/calls/gate.ts";
import { framed, rawClient } from "../../test/calls/raw-peer.ts";
import { RpcError } from "../call/error.ts";
import type { Interceptor } from "../call/interceptor.ts";

const DOWN = "/bench.v1.Bench/Down";

describe("a reply stream's headers", () => {
  it("go at the end of the handler's first turn, with what it had set until then and no message", async () => {
    const release = gate();
    await using pair = await startPair({
      async *down(_, call) {
        call.setHeader("x-first", "1");
        await Promise.resolve();
        call.setHeader("x-same-turn", "2");
        await release.opened;
        yield {};
      },
    });
    const stream = pair.client.down({});
    const header = await stream.header;
    assert.deepEqual([header.get("x-first"), header.get("x-same-turn")], ["1", "2"]);
    release.open();
    assert.equal((await all(stream)).length, 1);
  });

  it("cannot be set once they have gone: TypeError in the handler", async () => {
    const release = gate();
    const thrown = gate<unknown>();
    await using pair = await startPair({
      async *down(_, call) {
        await release.opened;
        try {
          call.setHeader("x-late", "1");
        } catch (error) {
          thrown.open(error);
        }
        yield {};
      },
    });
    const stream = pair.client.down({});
    await stream.header;
    release.open();
    const error = await thrown.opened;
    assert.ok(error instanceof TypeError);
    assert.match(error.message, /"x-late" was set after the first message or the first await/);
    assert.equal((await all(stream)).length, 1);
  });

  it("are not sent for a handler that throws in its first turn: the status comes alone", async () => {
    const failures: readonly (() => AsyncGenerator<object> | Iterable<object>)[] = [
      () => {
        throw new RpcError("NOT_FOUND", "at once");
      },
      async function* () {
        await Promise.resolve();
        if (failures.length > 0) throw new RpcError("NOT_FOUND", "in the same turn");
        yield {};
      },
    ];
    for (const down of failures) {
      await using pair = await startPair({ down });
      await using raw = await rawClient(pair.address);
      const { header, trailer } = await raw.request(DOWN, framed(new Uint8Array(0)));
      assert.equal(header["grpc-status"], "5");
      assert.equal(trailer["grpc-status"], undefined);
    }
  });

  it("of a conversation wait for its first request, so that they can depend on it", async () => {
    const release = gate();
    await using pair = await startPair({
      async *both(items, call) {
        for await (const { text } of items) {
          call.setHeader("x-asked", text);
          await release.opened;
          yield { text };
        }
      },
    });
    const ask = gate();
    async function* questions(): AsyncGenerator<{ text: string }> {
      await ask.opened;
      yield { text: "one" };
    }
    const stream = pair.client.both(questions());
    let isThere = false;
    void stream.header.then(() => {
      isThere = true;
    });
    await turns(20);
    assert.equal(isThere, false);
    ask.open();
    assert.equal((await stream.header).get("x-asked"), "one");
    release.open();
    assert.equal((await all(stream)).length, 1);
  });

  it("wait for the interceptors' Reply, and hold what these and the handler set", async () => {
    const release = gate();
    const later: Interceptor = (next) => async (call) => {
      const reply = await next(call);
      await release.opened;
      return reply.withHeader({ "x-from": "interceptor" });
    };
    const forever = gate();
    await using pair = await startPair(
      {
        async *down(_, call) {
          call.setHeader("x-own", "handler");
          await forever.opened;
          yield {};
        },
      },
      { server: { interceptors: [later] } },
    );
    await using raw = await rawClient(pair.address);
    const stream = raw.session.request({
      ":method": "POST",
      ":path": DOWN,
      "content-type": "application/grpc+proto",
      te: "trailers",
    });
    stream.end(framed(new Uint8Array(0)));
    let header: Readonly<Record<string, unknown>> | undefined;
    stream.on("response", (fields) => {
      header = fields;
    });
    await turns(20);
    assert.equal(header, undefined, "nothing before the Reply");
    const came = once(stream, "response");
    release.open();
    await came;
    assert.deepEqual([header?.["x-from"], header?.["x-own"]], ["interceptor", "handler"]);
    forever.open();
  });

  it("of an interceptor are told by name: a value that another header has does not hide them", async () => {
    const naming: Interceptor = (next) => async (call) => (await next(call)).withHeader({ "x-b": "2" });
    await using pair = await startPair(
      { add: (_, call) => (call.setHeader("x-a", "x-b"), {}) },
      { server: { interceptors: [naming] } },
    );
    let told: string | Uint8Array | undefined;
    await pair.client.add({}, { onReply: ({ header }) => (told = header.get("x-b")) });
    assert.equal(told, "2");
  });
});

describe("an error that cannot be read", () => {
  class Hostile extends RpcError {
    readonly #field: string;
    constructor(field: string, value: () => unknown) {
      super("ABORTED", "no");
      this.#field = field;
      Object.defineProperty(this, this.#field, { get: value });
    }
  }
  const traps: readonly (readonly [string, () => unknown])[] = [
    ["metadata", () => assert.fail("trap")],
    ["details", () => assert.fail("trap")],
    ["text", () => assert.fail("trap")],
    ["code", () => assert.fail("trap")],
    ["callId", () => assert.fail("trap")],
    ["metadata", () => ({ "bad name": "x" })],
    ["metadata", () => ({ "x-a": "line\nbreak" })],
    ["metadata", () => 5],
    ["details", () => [{}]],
    ["text", () => 5],
    ["code", () => "NONE"],
    ["retryAfterMs", () => "soon"],
  ];
  it("ends its own call as UNKNOWN or as it says, in all kinds, and the connection lives on", async () => {
    let trap = traps[0] as (typeof traps)[number];
    const fail = (): never => {
      throw new Hostile(...trap);
    };
    await using pair = await startPair({
      add: fail,
      up: async () => fail(),
      async *down() {
        yield {};
        fail();
      },
      both: fail,
    });
    const uncaught: unknown[] = [];
    const note = (error: unknown): void => void uncaught.push(error);
    process.on("uncaughtException", note);
    try {
      for (trap of traps) {
        const calls = [pair.client.add({}), pair.client.up([]), all(pair.client.down({})), all(pair.client.both([]))];
        for (const call of calls) await assertFails(call, "UNKNOWN");
        assert.equal((await pair.client.placeOrder({ id: "7" })).id, "7");
      }
    } finally {
      process.removeListener("uncaughtException", note);
    }
    assert.deepEqual(uncaught, []);
  });
});
