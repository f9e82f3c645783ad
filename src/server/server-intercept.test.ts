import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { all, Bench, benchHandlers, startPair } from "../../test/calls/bench-service.ts";
import { assertFails } from "../../test/calls/failure.ts";
import { aborted, gate, turns } from "../../test/calls/gate.ts";
import { manualWorld } from "../../test/calls/manual-world.ts";
import { RpcError } from "../call/error.ts";
import type { InterceptedCall, Interceptor, Outcome } from "../call/interceptor.ts";
import { createClient } from "../client/create-client.ts";
import { createServer } from "./create-server.ts";

const changing = (key: string, by: (n: number) => number) => (message: unknown) => ({
  ...(message as object),
  [key]: by((message as Record<string, number>)[key] ?? 0),
});

describe("a server's interceptors", () => {
  it("stand around the handler, the server's outside the service's, the first outermost", async () => {
    const told: string[] = [];
    const named =
      (name: string): Interceptor =>
      (next) =>
      async (call) => {
        told.push(`${name} ${call.method.name} ${call.side} ${call.id.length}`);
        const reply = await next(call);
        told.push(`${name} back`);
        return reply;
      };
    await using server = createServer({ interceptors: [named("one"), named("two")], drain: { signals: [] } });
    server.service(Bench, benchHandlers, { interceptors: [named("three")] });
    await using client = createClient(Bench, server);
    await client.add({});
    assert.deepEqual(told, [
      "one add client 32".replace("client", "server"),
      "two add server 32",
      "three add server 32",
      "three back",
      "two back",
      "one back",
    ]);
  });

  it("map requests and replies of all kinds", async () => {
    const mapping: Interceptor = (next) => async (call) => {
      const { name } = call.method;
      const inward = name === "add" ? "a" : name === "down" ? "count" : "index";
      const outward = name === "add" || name === "up" ? "result" : "index";
      return (await next(call.map(changing(inward, (n) => n + 1)))).map(changing(outward, (n) => n * 100));
    };
    await using pair = await startPair({}, { server: { interceptors: [mapping] } });
    const { client } = pair;
    assert.equal((await client.add({ a: 1, b: 1 })).result, 300);
    assert.deepEqual(
      (await all(client.down({ count: 1 }))).map(({ index }) => index),
      [0, 100],
    );
    assert.equal((await client.up([{ index: 1 }, { index: 2 }])).result, 500);
    assert.deepEqual(
      (await all(client.both([{ index: 1 }]))).map(({ index }) => index),
      [200],
    );
  });

  it("change what the handler sees: its metadata, its deadline, its signal", async () => {
    const world = manualWorld();
    const own = new AbortController();
    const seen: (readonly [string | undefined, number])[] = [];
    const change: Interceptor = (next) => (call) =>
      next(call.with({ metadata: { "x-a": "changed" }, timeoutMs: 100, signal: own.signal }));
    const began = gate<AbortSignal>();
    await using pair = await startPair(
      {
        async add({ a }, call) {
          seen.push([call.metadata.get("x-a"), call.deadline.remainingMs()]);
          if (a === 1) {
            began.open(call.signal);
            await aborted(call.signal);
            throw new RpcError("ABORTED", String(call.signal.reason));
          }
          return {};
        },
      },
      { isInProcess: true, server: { world, interceptors: [change] }, client: { world } },
    );
    await pair.client.add({}, { metadata: { "x-a": "user", "x-b": "2" } });
    const failed = assertFails(pair.client.add({ a: 1 }), "ABORTED");
    await began.opened;
    own.abort("stop");
    assert.equal((await failed).text, "stop");
    assert.deepEqual(seen, [
      ["changed", 100],
      ["changed", 100],
    ]);
  });

  it("shorten the deadline of the calls that the handler makes", async () => {
    const world = manualWorld();
    const left: number[] = [];
    const options = { isInProcess: true, server: { world }, client: { world } };
    await using below = await startPair({ add: (_, { deadline }) => (left.push(deadline.remainingMs()), {}) }, options);
    const shorten: Interceptor = (next) => (call) => next(call.with({ timeoutMs: 100 }));
    await using above = await startPair(
      { add: (request) => below.client.add(request) },
      { ...options, server: { world, interceptors: [shorten] } },
    );
    await above.client.add({});
    assert.deepEqual(left, [95]);
  });

  it("end a handler that outlives the deadline they set", async () => {
    const world = manualWorld();
    const began = gate<AbortSignal>();
    const shorten: Interceptor = (next) => (call) => next(call.with({ timeoutMs: 100 }));
    await using pair = await startPair(
      {
        add(_, call) {
          began.open(call.signal);
          return new Promise(() => {});
        },
      },
      { isInProcess: true, server: { world, interceptors: [shorten] }, client: { world } },
    );
    const failed = assertFails(pair.client.add({}), "DEADLINE_EXCEEDED");
    const signal = await began.opened;
    world.advance(150);
    const error = await failed;
    assert.equal(error.callId?.length, 32);
    assert.equal(signal.aborted, true);
  });

  it("may answer without the handler, for all kinds", async () => {
    let calls = 0;
    const cached: Interceptor = () => async (call) => {
      const isOne = call.method.name === "add" || call.method.name === "up";
      return call.reply(isOne ? [{ result: 7 }] : [{ index: 7 }, { index: 8 }]).withHeader({ "x-a": "cached" });
    };
    await using pair = await startPair({ add: () => (calls++, {}) }, { server: { interceptors: [cached] } });
    const { client } = pair;
    assert.equal((await client.add({})).result, 7);
    const stream = client.down({});
    assert.equal((await stream.header).get("x-a"), "cached");
    assert.equal((await all(stream)).length, 2);
    assert.equal((await client.up([{}, {}])).result, 7);
    assert.equal((await all(client.both([{}]))).length, 2);
    assert.equal(calls, 0);
  });

  it("may call next again after a failure", async () => {
    let calls = 0;
    const again: Interceptor = (next) => async (call) => {
      try {
        return await next(call);
      } catch {
        return next(call);
      }
    };
    await using pair = await startPair(
      {
        add({ a }) {
          if (++calls === 1) throw new RpcError("ABORTED", "");
          return { result: a };
        },
      },
      { server: { interceptors: [again] } },
    );
    assert.equal((await pair.client.add({ a: 5 })).result, 5);
    assert.equal(calls, 2);
  });

  it("that throw end the call as a handler that throws does", async () => {
    for (const [thrown, code, text] of [
      [new RpcError("PERMISSION_DENIED", "not you"), "PERMISSION_DENIED", /not you/],
      [new Error("password=hunter2"), "UNKNOWN", /^the handler failed/],
    ] as const) {
      const throwing: Interceptor = () => async () => {
        throw thrown;
      };
      await using pair = await startPair({}, { server: { interceptors: [throwing] } });
      for (const call of [
        pair.client.add({}),
        all(pair.client.down({})),
        pair.client.up([{}]),
        all(pair.client.both([{}])),
      ]) {
        assert.match((await assertFails(call, code)).text, text);
      }
    }
  });

  it("that are broken end their call alone", async () => {
    const broken: readonly Interceptor[] = [
      () => (async () => undefined) as never,
      (next) => (call) => next({ ...call } as InterceptedCall),
      () => () => {
        throw new TypeError("sync");
      },
      (() => undefined) as never,
      () => {
        throw new TypeError("at wrapping");
      },
    ];
    for (const interceptor of broken) {
      const sometimes: Interceptor = (next) => (call) =>
        call.metadata.get("x-break") === undefined ? next(call) : interceptor(next)(call);
      await using pair = await startPair({}, { server: { interceptors: [sometimes] } });
      const options = { metadata: { "x-break": "1" } };
      await assertFails(pair.client.add({}, options), "UNKNOWN");
      await assertFails(all(pair.client.down({}, options)), "UNKNOWN");
      assert.equal((await pair.client.add({ a: 1 })).result, 1);
    }
  });

  it("learn from done how each call ended, cancelled ones too", async () => {
    const outcomes: Outcome[] = [];
    const watching: Interceptor = (next) => async (call) => {
      const reply = await next(call);
      void reply.done.then((outcome) => outcomes.push(outcome));
      return reply;
    };
    const left = gate();
    await using pair = await startPair(
      {
        async *down({ count }, call) {
          call.setTrailer("x-end", "1");
          yield { index: 0 };
          if (count === 1) throw new RpcError("DATA_LOSS", "midway");
          if (count === 2) {
            await aborted(call.signal);
            left.open();
          }
        },
      },
      { server: { interceptors: [watching] } },
    );
    await pair.client.add({});
    await all(pair.client.down({}));
    await assertFails(all(pair.client.down({ count: 1 })), "DATA_LOSS");
    for await (const _ of pair.client.down({ count: 2 })) break;
    await left.opened;
    await turns(3);
    assert.deepEqual(
      outcomes.map(({ code, trailer }) => [code, trailer.get("x-end")]),
      [
        ["OK", undefined],
        ["OK", "1"],
        ["DATA_LOSS", "1"],
        ["CANCELLED", "1"],
      ],
    );
  });

  it("may put headers on a reply beside the handler's own", async () => {
    const adding: Interceptor = (next) => async (call) => {
      const reply = await next(call);
      return reply.withHeader(reply.header.with("x-b", "interceptor"));
    };
    await using pair = await startPair(
      { add: (_, call) => (call.setHeader("x-a", "handler"), {}) },
      { server: { interceptors: [adding] } },
    );
    const names: string[] = [];
    await pair.client.add(
      {},
      { onReply: ({ header }) => names.push(...[...header].map(([name, value]) => `${name}=${String(value)}`)) },
    );
    assert.deepEqual(names, ["x-a=handler", "x-b=interceptor"]);
  });
});
