import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Methods, Thenable } from "../schema/testdata/gen/fixture/v3/everything_pb.ts";
import { Bench, benchHandlers, startPair } from "../../test/calls/bench-service.ts";
import { annotate } from "../schema/contract.ts";
import { createServer } from "../server/create-server.ts";
import type { ServerOptions } from "../server/options.ts";
import { createChannel } from "./channel.ts";
import { createClient } from "./create-client.ts";
import type { ChannelOptions, ClientOptions } from "./options.ts";

type Wrong = readonly [options: object, type: "TypeError" | "RangeError", message: RegExp];

describe("a client's options", () => {
  const wrong: readonly Wrong[] = [
    [{ balanse: "random" }, "TypeError", /unknown key "balanse", did you mean "balance"/],
    [{ timeoutMs: 5 }, "TypeError", /unknown key "timeoutMs", did you mean "policy\.timeoutMs"/],
    [{ policy: { timeout: 5 } }, "TypeError", /unknown key "policy\.timeout", did you mean "policy\.timeoutMs"/],
    [{ policy: { timeoutMs: 0 } }, "RangeError", /policy\.timeoutMs must be 1\.\..*or Infinity, got 0/],
    [{ policy: { timeoutMs: "5" } }, "TypeError", /policy\.timeoutMs must be a number.*"5"/],
    [{ policy: { timeoutMs: null } }, "TypeError", /policy\.timeoutMs.*null/],
    [{ policy: "fast" }, "RangeError", /policy.*"fast"/],
    [{ methods: { ad: {} } }, "TypeError", /unknown key "methods\.ad", did you mean "methods\.add"/],
    [{ methods: null }, "TypeError", /methods/],
    [{ serviceConfig: "{" }, "RangeError", /serviceConfig/],
    [{ budget: { share: 2 } }, "RangeError", /budget\.share must be 0\.\.1, got 2/],
    [{ gate: { consecutiveFailures: 0 } }, "RangeError", /gate\.consecutiveFailures/],
    [{ throttle: { factor: 0 } }, "RangeError", /throttle\.factor/],
    [{ connections: { perPeerMax: 0 } }, "RangeError", /connections\.perPeerMax/],
    [{ switches: {} }, "TypeError", /switches/],
    [{ chaos: {} }, "TypeError", /chaos/],
    [{ health: {} }, "TypeError", /health\.service must be a text/],
    [{ health: { servise: "" } }, "TypeError", /unknown key "health\.servise", did you mean "health\.service"/],
    [{ health: { service: 5 } }, "TypeError", /health\.service/],
    [{ health: { service: "x".repeat(1_001) } }, "RangeError", /health\.service/],
    [{ health: true }, "TypeError", /health/],
    [{ health: null }, "TypeError", /health/],
    [{ messageBytesMax: 0 }, "RangeError", /messageBytesMax must be 1\.\./],
    [{ messageBytesMax: 1.5 }, "RangeError", /messageBytesMax/],
    [{ connections: { connectTimeoutMs: 0 } }, "RangeError", /connections\.connectTimeoutMs must be 1\.\..*got 0/],
    [{ connections: { conectTimeoutMs: 5 } }, "TypeError", /did you mean "connections\.connectTimeoutMs"/],
    [{ connections: { keepaliveMs: 9_999 } }, "RangeError", /connections\.keepaliveMs must be "adaptive"/],
    [{ connections: { keepaliveMs: "never" } }, "RangeError", /keepaliveMs/],
    [{ compress: "zstd" }, "RangeError", /compress/],
    [{ balance: "ring" }, "RangeError", /balance/],
    [{ interceptors: [5] }, "TypeError", /interceptors/],
    [{ interceptors: () => {} }, "TypeError", /interceptors/],
    [{ token: "secret" }, "TypeError", /token/],
    [{ tls: {}, plaintext: true }, "TypeError", /give tls or plaintext: true, not both/],
    [{ tls: { cafile: "x" } }, "TypeError", /unknown key "tls\.cafile", did you mean "tls\.caFile"/],
    [{ tls: true }, "TypeError", /tls/],
  ];

  it("fail at creation, naming key, range, value and the key that was meant", () => {
    for (const [options, name, message] of wrong) {
      const given = options as ClientOptions & ChannelOptions;
      assert.throws(() => createClient(Bench, "localhost:1", given), { name, message }, JSON.stringify(options));
    }
  });

  it("may be undefined at every level", async () => {
    const client = createClient(Bench, "localhost:1", {
      policy: undefined,
      tls: undefined,
      token: undefined,
      compress: undefined,
      connections: { connectTimeoutMs: undefined, keepaliveMs: undefined },
      interceptors: undefined,
      messageBytesMax: undefined,
      world: undefined,
      plaintext: undefined,
      balance: undefined,
    });
    assert.equal(client.$contract, Bench);
    await client.$close();
  });

  it("of one call fail at its line", async () => {
    await using pair = await startPair({}, { isInProcess: true });
    const { client } = pair;
    const refuse = (options: object, error: { name: string; message: RegExp }): void => {
      assert.throws(() => client.add({}, options), error);
      assert.throws(() => client.down({}, options), error);
      assert.throws(() => client.up([], options), error);
      assert.throws(() => client.both([], options), error);
    };
    refuse({ timeoutMs: 0 }, { name: "RangeError", message: /timeoutMs must be 1\.\.86400000 or Infinity, got 0/ });
    refuse({ timeoutMs: Number.NaN }, { name: "RangeError", message: /got NaN/ });
    refuse({ timeoutMs: -1 }, { name: "RangeError", message: /got -1/ });
    refuse({ timeoutMs: 1e9 }, { name: "RangeError", message: /got 1000000000/ });
    refuse({ signal: {} }, { name: "TypeError", message: /signal must be an AbortSignal/ });
    refuse({ onreply: () => {} }, { name: "TypeError", message: /did you mean "onReply"/ });
    refuse({ onReply: 5 }, { name: "TypeError", message: /onReply/ });
    refuse({ priority: "high" }, { name: "RangeError", message: /priority.*"high"/ });
    refuse({ idempotencyKey: "k" }, { name: "TypeError", message: /has effect none: an idempotency key needs/ });
    for (const requests of [5, null, undefined, "text", {}] as never[]) {
      assert.throws(() => client.up(requests), { name: "TypeError", message: /takes an iterable of requests/ });
      assert.throws(() => client.both(requests), TypeError);
    }
  });

  it("take an idempotency key for methods with effect once, which is the call's id on the server", async () => {
    const Once = annotate(Methods, { unsaid: { effect: "once" } });
    const ids: string[] = [];
    const server = createServer().service(Once, {
      pure: (leaf) => leaf,
      same: () => [],
      unsaid: (_, call) => (ids.push(call.id), {}),
      both: () => [],
    });
    await using client = createClient(Once, server);
    const keys = ["order-1", "a".repeat(256), "f".repeat(32)];
    for (const idempotencyKey of keys) await client.unsaid([], { idempotencyKey });
    assert.deepEqual(ids, keys);
    for (const idempotencyKey of ["", "a".repeat(257), "two words", "line\n", "ü"]) {
      assert.throws(() => client.unsaid([], { idempotencyKey }), /idempotencyKey/);
    }
    await server.close({ timeoutMs: 0 });
  });
});

describe("a target", () => {
  it("that is none is refused at creation", () => {
    for (const [target, message] of [
      ["localhost", /must be "host:port"/],
      ["localhost:0", /port in 1\.\.65535/],
      ["dns:///stock", /unknown scheme "dns"/],
      ["http://localhost:1", /unknown scheme "http"/],
      [[], /at least one address/],
      [[""], /must be/],
      [null, /null/],
      [50_051, /number/],
      [{}, /object/],
    ] as const) {
      assert.throws(() => createClient(Bench, target as string), { message }, JSON.stringify(target));
    }
  });

  it("off loopback needs TLS or plaintext: true, and never gets a token in plaintext", async () => {
    for (const target of ["192.0.2.1:50051", "example.com:443", "[2001:db8::1]:443", ["localhost:1", "10.0.0.1:1"]]) {
      assert.throws(() => createClient(Bench, target), {
        name: "TypeError",
        message: /is not loopback: give tls, or plaintext/,
      });
      const token = (): string => "secret";
      assert.throws(
        () => createClient(Bench, target, { plaintext: true, token }),
        /token would send credentials in plaintext/,
      );
      await createClient(Bench, target, { plaintext: true }).$close();
    }
    for (const target of ["localhost:1", "127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "unix:/tmp/x"]) {
      await createClient(Bench, target).$close();
    }
  });

  it("named twice is one peer", async () => {
    await using channel = createChannel(["localhost:1", "localhost:1", "127.0.0.1:1"]);
    assert.equal(channel.peers().length, 2);
  });

  it("in this process is reached without TLS", async () => {
    await using server = createServer();
    assert.throws(() => createClient(Bench, server, { tls: {} }), /reached without TLS/);
  });
});

describe("a contract", () => {
  it("with a method named then, or a $ name, makes neither a client nor a service", () => {
    assert.throws(() => createClient(Thenable, "localhost:1"), { name: "TypeError", message: /then.*awaitable/ });
    assert.throws(() => createServer().service(Thenable, { then: () => ({}) } as never), /awaitable/);
  });

  it("that is none is refused", () => {
    for (const contract of [null, undefined, {}, "shop", () => {}]) {
      assert.throws(() => createClient(contract as never, "localhost:1"), TypeError);
      assert.throws(() => createServer().service(contract as never, {}), TypeError);
    }
  });
});

describe("a server's options", () => {
  it("fail at creation, naming key, range, value and the key that was meant", () => {
    const wrong: readonly Wrong[] = [
      [{ limit: {} }, "TypeError", /unknown key "limit", did you mean "limits"/],
      [{ limits: { messageBytesMax: 0 } }, "RangeError", /limits\.messageBytesMax must be 1\.\..*got 0/],
      [{ limits: { metadataBytesMax: 100 } }, "RangeError", /limits\.metadataBytesMax must be 1_?024\.\./],
      [{ limits: { streamsPerConnectionMax: 0 } }, "RangeError", /limits\.streamsPerConnectionMax/],
      [{ limits: { connectionsMax: 1.5 } }, "RangeError", /limits\.connectionsMax/],
      [{ limits: { conectionsMax: 5 } }, "TypeError", /did you mean "limits\.connectionsMax"/],
      [{ drain: { timeoutMs: -1 } }, "RangeError", /drain\.timeoutMs/],
      [{ drain: { signals: "SIGTERM" } }, "TypeError", /drain\.signals/],
      [{ interceptors: {} }, "TypeError", /interceptors/],
    ];
    for (const [options, name, message] of wrong) {
      assert.throws(() => createServer(options as ServerOptions), { name, message }, JSON.stringify(options));
    }
  });

  it("are resolved once for clients that say the same, which share nothing of what they learn", async () => {
    const first = createClient(Bench, "127.0.0.1:1");
    const second = createClient(Bench, "127.0.0.1:1", {});
    const plain = createClient(Bench, "127.0.0.1:1", { policy: "none" });
    const explained = [first, second, plain].map((client) => client.$explain("add").toString());
    assert.equal(explained[0], explained[1]);
    assert.notEqual(explained[0], explained[2]);
    assert.equal(createClient(Bench, "127.0.0.1:1").$explain("add").toString(), explained[0]);
    await assert.rejects(first.add({ a: 1, b: 2 }, { timeoutMs: 1 }));
    assert.deepEqual(
      [first, second].map((client) => client.$channel.reliability().length),
      [1, 0],
    );
    assert.equal(Object.getPrototypeOf(first), null);
    await Promise.all([first, second, plain].map((client) => client.$close()));
  });
});

describe("handlers", () => {
  it("that are missing, misspelt, no functions or no object are refused by name", () => {
    const add = (handlers: unknown): void => void createServer().service(Bench, handlers as never);
    const { add: _, ...without } = benchHandlers;
    assert.throws(() => add(without), /bench\.v1\.Bench needs a handler "add", got undefined/);
    assert.throws(() => add({ ...benchHandlers, add: 5 }), /needs a handler "add", got 5/);
    assert.throws(() => add({ ...benchHandlers, ad: () => {} }), /has no method "ad"; it has add, placeOrder/);
    for (const handlers of [null, undefined, 5, "text"]) assert.throws(() => add(handlers), TypeError);
    const server = createServer().service(Bench, benchHandlers);
    assert.throws(() => server.service(Bench, benchHandlers), /service bench\.v1\.Bench was added before/);
    assert.throws(
      () => server.service(Methods, {} as never, { interceptor: [] } as object),
      /did you mean "interceptors"/,
    );
  });

  it("may be an instance of a class, called with itself as `this`", async () => {
    class Calculator {
      readonly #offset: number;
      readonly placeOrder = benchHandlers.placeOrder;
      readonly echo = benchHandlers.echo;
      readonly down = benchHandlers.down;
      readonly up = benchHandlers.up;
      readonly both = benchHandlers.both;
      constructor(offset: number) {
        this.#offset = offset;
      }
      add({ a, b }: { readonly a: number; readonly b: number }): { result: number } {
        return { result: a + b + this.#offset };
      }
      helper(): void {}
    }
    await using server = createServer().service(Bench, new Calculator(100));
    await using client = createClient(Bench, server);
    assert.equal((await client.add({ a: 1, b: 2 })).result, 103);
  });
});
