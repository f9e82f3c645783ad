import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { describe, it } from "node:test";
import { all, benchServer, Bench, startPair } from "../../test/calls/bench-service.ts";
import { assertFails } from "../../test/calls/failure.ts";
import { aborted, gate, turns } from "../../test/calls/gate.ts";
import { manualWorld } from "../../test/calls/manual-world.ts";
import { RpcError } from "../call/error.ts";
import { createChannel } from "./channel.ts";
import { createClient } from "./create-client.ts";
import { pipe } from "./pipe.ts";

describe("cancelling a call", () => {
  it("that has not begun: the signal was aborted before, its reason is the cause, nothing is sent", async () => {
    let calls = 0;
    await using pair = await startPair({ add: () => (calls++, {}) });
    const reason = new Error("changed my mind");
    const error = await assertFails(pair.client.add({}, { signal: AbortSignal.abort(reason) }), "CANCELLED");
    assert.equal(error.cause, reason);
    assert.equal(error.reason, "CANCELLED_BY_CALLER");
    assert.equal(error.reached, "no");
    assert.match(error.callId ?? "", /^[0-9a-f]{32}$/);
    assert.notEqual(error.callId, "0".repeat(32));
    await pair.client.add({});
    assert.equal(calls, 1);
  });

  it("by its signal aborts the handler's signal and leaves no listener behind", async () => {
    const began = gate<AbortSignal>();
    await using pair = await startPair({
      add(_, call) {
        began.open(call.signal);
        return new Promise(() => {});
      },
    });
    const controller = new AbortController();
    const reply = pair.client.add({}, { signal: controller.signal });
    const signal = await began.opened;
    controller.abort("enough");
    const error = await assertFails(reply, "CANCELLED");
    assert.equal(error.cause, "enough");
    assert.equal(error.reached, "maybe");
    const seen = await aborted(signal);
    assert.ok(seen instanceof RpcError);
    assert.equal(seen.code, "CANCELLED");
    assert.equal(getEventListeners(controller.signal, "abort").length, 0);
  });

  it("never leaves a listener on a signal that outlives its calls", async () => {
    await using pair = await startPair({
      add({ a }) {
        if (a === 1) throw new RpcError("ABORTED", "");
        return {};
      },
    });
    const { signal } = new AbortController();
    await pair.client.add({}, { signal });
    await assertFails(pair.client.add({ a: 1 }, { signal }), "ABORTED");
    await all(pair.client.down({ count: 2 }, { signal }));
    await pair.client.up([{}], { signal });
    for await (const _ of pair.client.both([{}, {}], { signal })) break;
    await pair.client.$close();
    await assertFails(pair.client.add({}, { signal }), "CANCELLED");
    assert.equal(getEventListeners(signal, "abort").length, 0);
  });

  for (const how of ["break", "throw", "cancel", "dispose", "return"] as const) {
    it(`by ${how} on a reply stream aborts the handler and runs its finally`, async () => {
      const ended = gate<unknown>();
      const isAborted = gate<unknown>();
      await using pair = await startPair({
        async *down(_, call) {
          void aborted(call.signal).then(isAborted.open);
          try {
            yield { index: 1 };
            await aborted(call.signal);
            yield { index: 2 };
          } finally {
            ended.open("finally");
          }
        },
      });
      const stream = pair.client.down({});
      if (how === "break") for await (const _ of stream) break;
      else if (how === "throw") {
        await assert.rejects(async () => {
          for await (const _ of stream) throw new Error("mine");
        }, /mine/);
      } else if (how === "return") {
        const iterator = stream[Symbol.asyncIterator]();
        await iterator.next();
        assert.deepEqual(await iterator.return?.(), { value: undefined, done: true });
        assert.deepEqual(await iterator.next(), { value: undefined, done: true });
      } else {
        await stream.header;
        if (how === "cancel") stream.cancel("mine");
        else await stream[Symbol.asyncDispose]();
        const error = await assertFails(all(stream), "CANCELLED");
        assert.equal(error.cause, how === "cancel" ? "mine" : undefined);
      }
      assert.ok((await isAborted.opened) instanceof RpcError);
      assert.equal(await ended.opened, "finally");
    });
  }

  it("while a reader waits rejects that read", async () => {
    await using pair = await startPair({
      async *down(_, call) {
        await aborted(call.signal);
        yield* [];
      },
    });
    const controller = new AbortController();
    const stream = pair.client.down({}, { signal: controller.signal });
    const read = all(stream);
    await turns(3);
    controller.abort("late");
    assert.equal((await assertFails(read, "CANCELLED")).cause, "late");
  });

  it("lets its source of requests go: return is called, a pending write fails", async () => {
    let isReturned = false;
    const started = gate();
    await using pair = await startPair({
      async *both(items) {
        for await (const item of items) yield item;
      },
    });
    async function* source(): AsyncGenerator<{ index: number }> {
      try {
        for (let index = 0; ; index++) yield { index };
      } finally {
        isReturned = true;
        started.open();
      }
    }
    for await (const { index } of pair.client.both(source())) if (index === 2) break;
    await started.opened;
    assert.ok(isReturned);
    const notes = pipe<{ index: number }>();
    const replies = pair.client.both(notes);
    const iterator = replies[Symbol.asyncIterator]();
    await notes.write({ index: 1 });
    await iterator.next();
    await iterator.return?.();
    await assert.rejects(notes.write({ index: 2 }), TypeError);
  });

  it("by a client that is gone ends the handler's requests with an error, not with a clean end", async () => {
    const seen = gate<unknown>();
    const first = gate();
    await using pair = await startPair({
      async up(items) {
        try {
          for await (const _ of items) first.open();
          seen.open("a clean end");
        } catch (error) {
          seen.open(error);
        }
        return {};
      },
    });
    const notes = pipe<{ index: number }>();
    const reply = pair.client.up(notes);
    await notes.write({ index: 1 });
    await first.opened;
    await pair.client.$close({ timeoutMs: 0 });
    await assertFails(reply, "UNAVAILABLE");
    const error = await seen.opened;
    assert.ok(error instanceof RpcError, String(error));
    assert.equal(error.code, "CANCELLED");
  });
});

describe("a stream", () => {
  it("can be iterated once: a second time throws at that line", async () => {
    await using pair = await startPair();
    const stream = pair.client.down({ count: 1 });
    await all(stream);
    assert.throws(() => stream[Symbol.asyncIterator](), { name: "TypeError", message: /iterated once/ });
    const requests = pipe<{ index: number }>();
    requests.end();
    await pair.client.up(requests);
    assert.throws(() => pair.client.up(requests), { name: "TypeError", message: /iterated once/ });
  });

  it("refuses a second next before the first has settled", async () => {
    await using pair = await startPair({
      async *down(_, call) {
        await aborted(call.signal);
        yield* [];
      },
    });
    const early = pair.client.down({})[Symbol.asyncIterator]();
    const first = early.next();
    await assert.rejects(early.next(), { name: "TypeError", message: /one message at a time/ });
    await early.return?.();
    await assertFails(first, "CANCELLED");
  });

  it("that fails and is never read is no unhandled rejection", async () => {
    const unhandled: unknown[] = [];
    const note = (error: unknown): void => void unhandled.push(error);
    process.on("unhandledRejection", note);
    try {
      await using pair = await startPair({
        down() {
          throw new RpcError("INTERNAL", "nobody hears this");
        },
      });
      const stream = pair.client.down({});
      await stream.header;
      await turns(5);
      assert.deepEqual(unhandled, []);
    } finally {
      process.off("unhandledRejection", note);
    }
  });

  it("that nobody begins to read is cancelled after 30 s, one that is read is not", async () => {
    const world = manualWorld();
    const signals: AbortSignal[] = [];
    await using pair = await startPair(
      {
        async *down(_, call) {
          signals.push(call.signal);
          yield { index: 1 };
          await aborted(call.signal);
        },
      },
      { isInProcess: true, server: { world }, client: { world, connections: { keepaliveMs: Infinity } } },
    );
    const unread = pair.client.down({});
    const isRead = pair.client.down({})[Symbol.asyncIterator]();
    await unread.header;
    await isRead.next();
    world.advance(29_000);
    await turns(10);
    assert.equal(signals[0]?.aborted, false);
    world.advance(2_000);
    await aborted(signals[0] as AbortSignal);
    const error = await assertFails(all(unread), "CANCELLED");
    assert.equal(error.reason, "UNREAD");
    // An hour, in which the server asks for signs of life and hears them.
    for (let step = 0; step < 360; step++) {
      world.advance(10_000);
      await turns(3);
    }
    assert.equal(signals[1]?.aborted, false, "a watch lives until somebody ends it");
    await isRead.return?.();
  });

  it("can be left after all its replies have come", async () => {
    await using pair = await startPair();
    const stream = pair.client.down({ count: 5, size: 10 });
    await stream.header;
    await pair.client.add({});
    for await (const { index } of stream) if (index === 1) break;
    assert.equal((await pair.client.add({ a: 1 })).result, 1);
  });

  it("gives what had come before its connection was lost, then UNAVAILABLE", async () => {
    const sent = gate();
    await using pair = await startPair({
      async *down(_, call) {
        yield { index: 1 };
        yield { index: 2 };
        sent.open();
        await aborted(call.signal);
      },
    });
    const stream = pair.client.down({});
    await stream.header;
    await sent.opened;
    await pair.client.add({});
    const indexes: number[] = [];
    const read = async (): Promise<void> => {
      for await (const { index } of stream) {
        if (indexes.push(index) === 1) await pair.server.close({ timeoutMs: 0 });
      }
    };
    await assertFails(read(), "UNAVAILABLE");
    assert.deepEqual(indexes, [1, 2]);
  });
});

describe("closing a client", () => {
  it("lets calls in flight end, refuses new ones with CLIENT_CLOSED, and twice is as once", async () => {
    const release = gate();
    const began = gate();
    await using pair = await startPair({
      async add() {
        began.open();
        await release.opened;
        return { result: 1 };
      },
    });
    const { client } = pair;
    const reply = client.add({});
    await began.opened;
    const closing = client.$close();
    const again = client.$close();
    for (const late of [client.add({}), all(client.down({})), client.up([{}]), all(client.both([{}]))]) {
      const error = await assertFails(late, "CANCELLED");
      assert.equal(error.reason, "CLIENT_CLOSED");
      assert.equal(error.reached, "no");
    }
    release.open();
    assert.equal((await reply).result, 1);
    await Promise.all([closing, again]);
    await client.$close();
  });

  it("with timeoutMs 0 cuts what is in flight", async () => {
    const began = gate<AbortSignal>();
    await using pair = await startPair({
      add(_, call) {
        began.open(call.signal);
        return new Promise(() => {});
      },
    });
    const reply = pair.client.add({});
    const signal = await began.opened;
    const failed = assertFails(reply, "UNAVAILABLE");
    await pair.client.$close({ timeoutMs: 0 });
    await failed;
    await aborted(signal);
  });

  it("cuts what has not ended within timeoutMs", async () => {
    const world = manualWorld();
    const began = gate();
    await using pair = await startPair(
      {
        add() {
          began.open();
          return new Promise(() => {});
        },
      },
      { isInProcess: true, server: { world }, client: { world } },
    );
    const failed = assertFails(pair.client.add({}), "UNAVAILABLE");
    await began.opened;
    const closing = pair.client.$close({ timeoutMs: 100 });
    world.advance(99);
    await turns(3);
    assert.equal((pair.client.$channel.peers()[0]?.health ?? "") !== "ready", true);
    world.advance(1);
    await failed;
    await closing;
  });

  it("happens at the end of an `await using` block, and before any call connects nothing", async () => {
    await using server = benchServer();
    const { address } = await server.listen(0);
    let late: Promise<unknown>;
    {
      await using client = createClient(Bench, address);
      assert.equal((await client.add({ a: 1, b: 1 })).result, 2);
      late = Promise.resolve().then(() => turns(3).then(() => client.add({})));
    }
    await assertFails(late, "CANCELLED");
    const unused = createClient(Bench, "127.0.0.1:1");
    assert.equal(unused.$channel.peers()[0]?.health, "idle");
    await unused.$close();
  });

  it("on a shared channel closes neither the channel nor its other clients", async () => {
    await using pair = await startPair();
    await using channel = createChannel(pair.address);
    const first = channel.client(Bench);
    const second = channel.client(Bench);
    await first.add({});
    await first.$close();
    await assertFails(first.add({}), "CANCELLED");
    assert.equal((await second.add({ a: 1 })).result, 1);
    await channel.close();
    assert.equal((await assertFails(second.add({}), "CANCELLED")).reason, "CLIENT_CLOSED");
  });

  it("is no thenable: a client may be returned from an async function", async () => {
    await using pair = await startPair();
    const client = await (async () => pair.client)();
    assert.equal(client, pair.client);
    assert.throws(() => Object.assign(client, { add: 1 }), TypeError);
  });
});
