import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { all, type BenchHandlers, startPair } from "../../test/calls/bench-service.ts";
import { assertFails } from "../../test/calls/failure.ts";
import { gate } from "../../test/calls/gate.ts";
import { RpcError } from "../call/error.ts";
import type { Metadata, MetadataInit } from "../call/metadata.ts";
import type { HandlerCall } from "../server/handler-call.ts";
import type { ReplyInfo } from "./options.ts";

const BYTES = new Uint8Array([0, 255, 1, 254, 0]);

/** Handlers of all kinds that show what they got and answer with metadata of their own. */
function echoingHandlers(seen: Metadata[]): Partial<BenchHandlers> {
  const mark = (call: HandlerCall): void => {
    seen.push(call.metadata);
    call.setHeader("x-head", "1");
    call.setHeader("x-head", "2");
    call.setHeader("x-head-bin", BYTES);
    call.setTrailer("x-trail", "end");
    call.setTrailer("x-trail-bin", new Uint8Array(0));
  };
  return {
    add: (_, call) => (mark(call), {}),
    *down(_, call) {
      mark(call);
      yield {};
    },
    async up(items, call) {
      mark(call);
      await all(items);
      return {};
    },
    async *both(items, call) {
      mark(call);
      yield* items;
    },
  };
}

describe("metadata", () => {
  it("goes both ways with text, bytes and several values, in all four kinds", async () => {
    const seen: Metadata[] = [];
    await using pair = await startPair(echoingHandlers(seen));
    const { client } = pair;
    const infos: ReplyInfo[] = [];
    const options = {
      metadata: { "X-Mixed": "case", "x-many": ["a", "b, c"], "x-raw-bin": BYTES, "x-none-bin": new Uint8Array(0) },
      onReply: (info: ReplyInfo) => infos.push(info),
    };
    await client.add({}, options);
    await all(client.down({}, options));
    await client.up([{}], options);
    await all(client.both([{}], options));
    assert.equal(seen.length, 4);
    for (const metadata of seen) {
      assert.equal(metadata.get("x-mixed"), "case");
      assert.deepEqual(metadata.getAll("x-many"), ["a", "b, c"]);
      assert.deepEqual(new Uint8Array(metadata.get("x-raw-bin") ?? []), BYTES);
      assert.equal(metadata.get("x-none-bin")?.length, 0);
      const names = [...metadata].map(([name]) => name);
      assert.deepEqual([...new Set(names)], ["x-mixed", "x-many", "x-raw-bin", "x-none-bin"], "and nothing of ours");
    }
    assert.equal(infos.length, 4);
    for (const { header, trailer, attempts, peer } of infos) {
      assert.deepEqual(header.getAll("x-head"), ["1", "2"]);
      assert.deepEqual(new Uint8Array(header.get("x-head-bin") ?? []), BYTES);
      assert.equal(trailer.get("x-trail"), "end");
      assert.equal(trailer.get("x-trail-bin")?.length, 0);
      assert.equal(attempts, 1);
      assert.equal(peer?.address, pair.address);
      assert.equal(new Set([...header, ...trailer].map(([name]) => name)).size, 4, "and nothing of ours");
    }
  });

  it("of an error arrives with it, and with onReply, once", async () => {
    await using pair = await startPair({
      add(_, call) {
        call.setHeader("x-head", "1");
        call.setTrailer("x-own", "trailer");
        throw new RpcError("ABORTED", "no", { metadata: { "x-error": ["a", "b"], "x-error-bin": BYTES } });
      },
    });
    const infos: ReplyInfo[] = [];
    const error = await assertFails(pair.client.add({}, { onReply: (info) => infos.push(info) }), "ABORTED");
    assert.deepEqual(error.metadata.getAll("x-error"), ["a", "b"]);
    assert.deepEqual(new Uint8Array(error.metadata.get("x-error-bin") ?? []), BYTES);
    assert.equal(error.metadata.get("x-own"), "trailer");
    assert.equal(infos.length, 1);
    assert.equal(infos[0]?.trailer.get("x-error"), "a");
  });

  it("of a stream is there before its first message, and cannot be set after it", async () => {
    const release = gate();
    const thrown = gate<unknown>();
    await using pair = await startPair({
      async *down(_, call) {
        call.setHeader("x-head", "1");
        yield { index: 1 };
        try {
          call.setHeader("x-late", "2");
        } catch (error) {
          thrown.open(error);
        }
        await release.opened;
      },
    });
    const stream = pair.client.down({});
    assert.equal((await stream.header).get("x-head"), "1");
    const error = await thrown.opened;
    assert.ok(error instanceof TypeError);
    assert.match(error.message, /x-late.*after the first message/);
    release.open();
    assert.equal((await all(stream)).length, 1);
    assert.equal((await stream.header).get("x-late"), undefined);
  });

  it("of a stream that failed before any header is empty, and asking for it never rejects", async () => {
    await using pair = await startPair({
      down() {
        throw new RpcError("NOT_FOUND", "none");
      },
    });
    const stream = pair.client.down({});
    assert.deepEqual([...(await stream.header)], []);
    await assertFails(all(stream), "NOT_FOUND");
    assert.deepEqual([...(await stream.header)], []);
  });

  it("with a reserved name is refused at the line, on both sides", async () => {
    const messages: string[] = [];
    await using pair = await startPair({
      add(_, call) {
        for (const name of ["grpc-status", "holdfast-not-run", ":status", "content-type", "Te"]) {
          for (const set of [call.setHeader, call.setTrailer]) {
            assert.throws(
              () => set.call(call, name, "0"),
              (error) => (messages.push((error as Error).message), error instanceof TypeError),
            );
          }
        }
        return {};
      },
    });
    for (const name of ["grpc-timeout", "holdfast-call-id", ":path", "content-type", "user-agent", "connection"]) {
      assert.throws(() => pair.client.add({}, { metadata: { [name]: "1" } as MetadataInit }), {
        name: "TypeError",
        message: /transport/,
      });
      assert.throws(() => pair.client.down({}, { metadata: { [name]: "1" } as MetadataInit }), TypeError);
    }
    await pair.client.add({});
    assert.equal(messages.length, 10);
    for (const message of messages) assert.match(message, /set by the transport/);
  });

  it("that would break the frame is refused: line breaks, text under -bin, bytes under text", async () => {
    await using pair = await startPair();
    const refuse = (metadata: Readonly<Record<string, unknown>>): void => {
      assert.throws(() => pair.client.add({}, { metadata: metadata as MetadataInit }), TypeError);
    };
    refuse({ "x-a": "1\r\nx-b: 2" });
    refuse({ "x-a": "ü" });
    refuse({ "x-a-bin": "text" });
    refuse({ "x-a": BYTES });
    refuse({ "x a": "1" });
    refuse({ "x-a": null });
    refuse({ "x-a": 1 });
    assert.equal((await pair.client.add({ a: 1 })).result, 1);
  });

  it("over the server's limit ends the call with RESOURCE_EXHAUSTED, not the connection", async () => {
    await using pair = await startPair({}, { server: { limits: { metadataBytesMax: 4_096 } } });
    const big = { "x-big": "v".repeat(8_000) };
    await assertFails(pair.client.add({}, { metadata: big }), "RESOURCE_EXHAUSTED");
    assert.equal((await pair.client.add({ a: 1 }, { metadata: { "x-fits": "v".repeat(2_000) } })).result, 1);
  });

  it("over the client's limit ends the call with RESOURCE_EXHAUSTED, not the connection", async () => {
    await using pair = await startPair({
      add({ a }, call) {
        if (a === 0) for (let i = 0; i < 40; i++) call.setHeader(`x-${i}`, "v".repeat(1_000));
        return { result: a };
      },
    });
    const error = await assertFails(pair.client.add({}), "RESOURCE_EXHAUSTED");
    assert.equal(error.reason, "METADATA_TOO_LARGE");
    assert.equal((await pair.client.add({ a: 1 })).result, 1);
  });

  it("does not flow from a call into the calls that its handler makes", async () => {
    const inner: Metadata[] = [];
    await using below = await startPair({ add: (_, call) => (inner.push(call.metadata), {}) });
    await using above = await startPair({ add: (request) => below.client.add(request) });
    await above.client.add({}, { metadata: { authorization: "Bearer secret", "x-a": "1" } });
    assert.deepEqual([...(inner[0] ?? [])], []);
  });
});

describe("onReply", () => {
  it("is told of a call that reached nobody: no peer, no attempt", async () => {
    await using pair = await startPair();
    const infos: ReplyInfo[] = [];
    const options = { signal: AbortSignal.abort("early"), onReply: (info: ReplyInfo) => infos.push(info) };
    await assertFails(pair.client.add({}, options), "CANCELLED");
    await assertFails(all(pair.client.down({}, options)), "CANCELLED");
    assert.equal(infos.length, 2);
    for (const { attempts, peer } of infos) assert.deepEqual({ attempts, peer }, { attempts: 0, peer: undefined });
  });

  it("comes before the promise settles, and once for a stream that was left", async () => {
    await using pair = await startPair();
    const told: string[] = [];
    await pair.client.add({}, { onReply: () => told.push("reply") }).then(() => told.push("settled"));
    assert.deepEqual(told, ["reply", "settled"]);
    const left: ReplyInfo[] = [];
    for await (const _ of pair.client.down({ count: 1_000, size: 1_000 }, { onReply: (info) => left.push(info) }))
      break;
    assert.equal(left.length, 1);
  });
});
