import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { all, type BenchClient, startPair } from "../../test/calls/bench-service.ts";
import { assertFails } from "../../test/calls/failure.ts";
import { aborted, gate, turns } from "../../test/calls/gate.ts";
import { manualWorld } from "../../test/calls/manual-world.ts";
import { RpcError } from "../call/error.ts";
import type { InterceptedCall, Interceptor, Outcome } from "../call/interceptor.ts";
import type { ReplyInfo } from "./options.ts";

type Numbered = { readonly index: number };

/** Runs one call of each kind and gives what came back, as numbers. */
async function eachKind(client: BenchClient): Promise<readonly (readonly number[])[]> {
  const indexes = (items: readonly Numbered[]): number[] => items.map(({ index }) => index);
  return [
    [(await client.add({ a: 1, b: 2 })).result],
    indexes(await all(client.down({ count: 3 }))),
    [(await client.up([{ index: 1 }, { index: 2 }])).result],
    indexes(await all(client.both([{ index: 1 }, { index: 2 }]))),
  ];
}

describe("a client's interceptors", () => {
  it("see every kind in one shape, the first outermost, and the same call on the server", async () => {
    const told: string[] = [];
    const ids: (string | undefined)[] = [];
    const named =
      (name: string): Interceptor =>
      (next) =>
      async (call) => {
        told.push(`${name} ${call.method.name} ${call.side}`);
        ids.push(call.id);
        const reply = await next(call);
        told.push(`${name} back`);
        return reply;
      };
    const seen: string[] = [];
    await using pair = await startPair(
      { add: ({ a, b }, call) => (seen.push(call.id), { result: a + b }) },
      { client: { interceptors: [named("outer"), named("inner")] } },
    );
    assert.deepEqual(await eachKind(pair.client), [[3], [0, 1, 2], [3], [1, 2]]);
    const names = ["add", "down", "up", "both"];
    assert.deepEqual(
      told,
      names.flatMap((name) => [`outer ${name} client`, `inner ${name} client`, "inner back", "outer back"]),
    );
    assert.deepEqual([ids[0], ids[1]], [seen[0], seen[0]]);
  });

  it("map requests and replies of all kinds, also asynchronously, in the order given", async () => {
    const change = (key: string, by: (n: number) => number) => async (message: unknown) => ({
      ...(message as object),
      [key]: by((message as Record<string, number>)[key] ?? 0),
    });
    const mapping: Interceptor = (next) => async (call) => {
      const isAdd = call.method.name === "add";
      const inward = isAdd ? "a" : call.method.name === "down" ? "count" : "index";
      const outward = isAdd || call.method.name === "up" ? "result" : "index";
      const reply = await next(call.map(change(inward, (n) => n + 1)).map(change(inward, (n) => n * 10)));
      return reply.map(change(outward, (n) => n + 1)).map(change(outward, (n) => n * 100));
    };
    await using pair = await startPair({}, { client: { interceptors: [mapping] } });
    const [add, down, up, both] = await eachKind(pair.client);
    assert.deepEqual(add, [((1 + 1) * 10 + 2 + 1) * 100]);
    assert.deepEqual(
      down,
      Array.from({ length: 40 }, (_, i) => (i + 1) * 100),
    );
    assert.deepEqual(up, [(20 + 30 + 1) * 100]);
    assert.deepEqual(both, [2_100, 3_100]);
  });

  it("change metadata, deadline and signal for what is inside, never the call they were given", async () => {
    const world = manualWorld();
    const left: number[] = [];
    const names: (string | undefined)[] = [];
    const calls: InterceptedCall[] = [];
    const changing: Interceptor = (next) => async (call) => {
      calls.push(call);
      assert.equal(call.metadata.get("x-a"), "user");
      const changed = call.with({ metadata: call.metadata.with("x-a", "changed"), timeoutMs: 100 });
      assert.equal(call.metadata.get("x-a"), "user");
      assert.equal(call.deadline.remainingMs(), 5_000);
      assert.equal(changed.deadline.remainingMs(), 100);
      assert.equal(call.with({ timeoutMs: 60_000 }).deadline.remainingMs(), 5_000, "never longer");
      return next(changed);
    };
    await using pair = await startPair(
      {
        add(_, call) {
          left.push(call.deadline.remainingMs());
          names.push(call.metadata.get("x-a"));
          return {};
        },
      },
      { isInProcess: true, server: { world }, client: { world, interceptors: [changing] } },
    );
    await pair.client.add({}, { metadata: { "x-a": "user" }, timeoutMs: 5_000 });
    assert.deepEqual([left, names, calls.length], [[100], ["changed"], 1]);
  });

  it("may add a signal of their own: its reason is the cause", async () => {
    const began = gate<AbortSignal>();
    const own = new AbortController();
    const stopping: Interceptor = (next) => (call) => next(call.with({ signal: own.signal }));
    await using pair = await startPair(
      {
        add(_, call) {
          began.open(call.signal);
          return new Promise(() => {});
        },
      },
      { client: { interceptors: [stopping] } },
    );
    const reply = pair.client.add({});
    const signal = await began.opened;
    own.abort("mine");
    assert.equal((await assertFails(reply, "CANCELLED")).cause, "mine");
    await aborted(signal);
  });

  it("may answer without the server, for all kinds", async () => {
    let calls = 0;
    const cached: Interceptor = () => async (call) => {
      const isOne = call.method.name === "add" || call.method.name === "up";
      return call.reply(isOne ? [{ result: 7 }] : [{ index: 7 }, { index: 8 }]);
    };
    await using pair = await startPair({ add: () => (calls++, {}) }, { client: { interceptors: [cached] } });
    assert.deepEqual(await eachKind(pair.client), [[7], [7, 8], [7], [7, 8]]);
    assert.equal(calls, 0);
  });

  it("may call next again: the same id, and only the second's changes", async () => {
    const seen: [string, string | undefined][] = [];
    const twice: Interceptor = (next) => async (call) => {
      try {
        return await next(call.with({ metadata: { "x-a": "first" } }));
      } catch (error) {
        assert.ok(error instanceof RpcError && error.code === "NOT_FOUND");
        return next(call.with({ metadata: call.metadata.with("x-b", "second") }));
      }
    };
    await using pair = await startPair(
      {
        add({ a }, call) {
          seen.push([call.id, call.metadata.get("x-b")]);
          if (call.metadata.get("x-b") === undefined) throw new RpcError("NOT_FOUND", "");
          assert.equal(call.metadata.get("x-a"), undefined);
          return { result: a };
        },
      },
      { client: { interceptors: [twice] } },
    );
    const infos: ReplyInfo[] = [];
    assert.equal((await pair.client.add({ a: 5 }, { onReply: (info) => infos.push(info) })).result, 5);
    assert.equal(seen.length, 2);
    assert.equal(seen[0]?.[0], seen[1]?.[0]);
    assert.equal(infos.length, 1, "onReply is told once");
  });

  it("cannot send a request stream twice: NOT_REPEATABLE", async () => {
    const twice: Interceptor = (next) => async (call) => {
      await next(call);
      return next(call);
    };
    await using pair = await startPair({}, { client: { interceptors: [twice] } });
    const error = await assertFails(pair.client.up([{ index: 1 }]), "FAILED_PRECONDITION");
    assert.equal(error.reason, "NOT_REPEATABLE");
    await assertFails(all(pair.client.both([{ index: 1 }])), "FAILED_PRECONDITION");
    assert.equal((await pair.client.add({ a: 1 })).result, 1);
  });

  it("that throw end the call with that error, before and after next, in all kinds", async () => {
    for (const [isAfter, thrown, code] of [
      [false, new RpcError("PERMISSION_DENIED", "no"), "PERMISSION_DENIED"],
      [true, new RpcError("ABORTED", "after"), "ABORTED"],
      [false, new TypeError("a bug"), "UNKNOWN"],
      [true, "text", "UNKNOWN"],
    ] as const) {
      const throwing: Interceptor = (next) => async (call) => {
        if (isAfter) await next(call);
        throw thrown;
      };
      await using pair = await startPair({}, { client: { interceptors: [throwing] } });
      for (const call of [
        pair.client.add({}),
        all(pair.client.down({ count: 2 })),
        pair.client.up([{}]),
        all(pair.client.both([{}])),
      ]) {
        const error = await assertFails(call, code);
        if (thrown instanceof RpcError) assert.equal(error, thrown);
        else assert.equal(error.cause, thrown);
      }
    }
  });

  it("that are broken end the call with an error that says so: no reply, a foreign call, a sync throw", async () => {
    const broken: readonly Interceptor[] = [
      () => (async () => undefined) as never,
      () => (async () => ({})) as never,
      (next) => (call) => next({ ...call } as InterceptedCall),
      () => () => {
        throw new TypeError("sync");
      },
      (() => undefined) as never,
      () => async (call) => call.reply([]),
    ];
    for (const interceptor of broken) {
      await using pair = await startPair({}, { client: { interceptors: [interceptor] } });
      await assert.rejects(pair.client.add({}), RpcError);
      if (interceptor !== broken.at(-1)) await assert.rejects(all(pair.client.down({})), RpcError);
    }
  });

  it("learn from done how each call ended, and it never rejects", async () => {
    const outcomes: Outcome[] = [];
    const watching: Interceptor = (next) => async (call) => {
      const reply = await next(call);
      void reply.done.then((outcome) => outcomes.push(outcome));
      return reply;
    };
    await using pair = await startPair(
      {
        *down({ count }, call) {
          call.setTrailer("x-end", "1");
          yield { index: 0 };
          if (count === 1) throw new RpcError("DATA_LOSS", "midway");
        },
      },
      { client: { interceptors: [watching] } },
    );
    await pair.client.add({});
    await all(pair.client.down({}));
    await assertFails(all(pair.client.down({ count: 1 })), "DATA_LOSS");
    await turns(3);
    assert.deepEqual(
      outcomes.map(({ code, error, trailer }) => [code, error?.text, trailer.get("x-end")]),
      [
        ["OK", undefined, undefined],
        ["OK", undefined, "1"],
        ["DATA_LOSS", "midway", "1"],
      ],
    );
    assert.ok(outcomes.every(({ tookMs }) => tookMs >= 0));
  });

  it("see a reply's header, and may put another in its place for those outside", async () => {
    const headers: (string | undefined)[] = [];
    const outer: Interceptor = (next) => async (call) => {
      const reply = await next(call);
      headers.push(reply.header.get("x-a"));
      return reply;
    };
    const inner: Interceptor = (next) => async (call) => {
      const reply = await next(call);
      return reply.withHeader(reply.header.with("x-a", `${reply.header.get("x-a")} changed`));
    };
    await using pair = await startPair(
      {
        *down(_, call) {
          call.setHeader("x-a", "server");
          yield {};
        },
      },
      { client: { interceptors: [outer, inner] } },
    );
    const stream = pair.client.down({});
    assert.equal((await stream.header).get("x-a"), "server changed");
    await all(stream);
    assert.deepEqual(headers, ["server changed"]);
  });

  it("do not come between a caller who leaves and the handler", async () => {
    const ended = gate<unknown>();
    const passing: Interceptor = (next) => (call) => next(call);
    await using pair = await startPair(
      {
        async *down(_, call) {
          yield { index: 1 };
          ended.open(await aborted(call.signal));
        },
      },
      { client: { interceptors: [passing] } },
    );
    for await (const _ of pair.client.down({})) break;
    assert.ok((await ended.opened) instanceof RpcError);
    const infos: ReplyInfo[] = [];
    const unread = pair.client.down({}, { onReply: (info) => infos.push(info) });
    await unread.header;
    unread.cancel("unread");
    await turns(5);
    assert.equal(infos.length, 1, "onReply is told of a stream that nobody reads");
    assert.equal((await assertFails(all(unread), "CANCELLED")).cause, "unread");
    assert.equal(infos.length, 1);
  });

  it("change nothing about wrong options: they throw at the line", async () => {
    const passing: Interceptor = (next) => (call) => next(call);
    const wrong: Interceptor = (next) => (call) => next(call.with({ timeout: 5 } as object));
    await using pair = await startPair({}, { client: { interceptors: [passing] } });
    assert.throws(() => pair.client.add({}, { timeoutMs: 0 }), RangeError);
    assert.throws(() => pair.client.down({}, { timeoutMs: Number.NaN }), RangeError);
    assert.throws(() => pair.client.add({}, { metadata: { "grpc-timeout": "1" } }), TypeError);
    assert.throws(() => pair.client.add({}, { timeout: 5 } as object), /did you mean "timeoutMs"/);
    await using other = await startPair({}, { client: { interceptors: [wrong] } });
    const error = await assertFails(other.client.add({}), "UNKNOWN");
    await other.client.$close();
    assert.equal((await assertFails(all(other.client.down({})), "CANCELLED")).reason, "CLIENT_CLOSED");
    assert.match(String(error.cause), /did you mean "timeoutMs"/);
  });

  it("whose own error says a secret does not carry it up through a handler", async () => {
    const leaking: Interceptor = () => async () => {
      throw new Error("password=hunter2");
    };
    await using below = await startPair({}, { client: { interceptors: [leaking] } });
    await using above = await startPair({
      add: (request) => below.client.add(request),
      async *down(request) {
        yield* below.client.down(request);
      },
    });
    for (const call of [above.client.add({}), all(above.client.down({}))]) {
      const error = await assertFails(call, "UNKNOWN");
      assert.ok(!error.message.includes("hunter2"), error.message);
    }
  });
});
