import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { defineError, type Interceptor, RpcError } from "holdfast";
import { Bench, type BenchHandlers, benchHandlers, benchServer } from "../../test/calls/bench-service.ts";
import { certificateFiles } from "../../test/calls/certificate-files.ts";
import { assertFails } from "../../test/calls/failure.ts";
import { gate, turns } from "../../test/calls/gate.ts";
import { manualWorld } from "../../test/calls/manual-world.ts";
import { framed, rawClient } from "../../test/calls/raw-peer.ts";
import { createClient } from "../client/create-client.ts";
import { ErrorInfoSchema } from "../schema/details.ts";
import { Health } from "../schema/gen/grpc/health/v1/health_pb.ts";
import { createServer, type Server, type ServiceOptions } from "./create-server.ts";
import type { ServerOptions } from "./options.ts";

type Authenticate = NonNullable<ServerOptions["authenticate"]>;
const policy = { retry: false, hedge: false } as const;
const byUser: Authenticate = ({ metadata }) => {
  const id = metadata.get("user");
  return id === undefined ? undefined : { id };
};
const ann = { metadata: { user: "ann" } };

/** A client of a server with this `authenticate`, both closed with what is returned. */
async function pair(
  authenticate: unknown,
  handlers: Partial<BenchHandlers> = {},
  service: ServiceOptions<typeof Bench> = {},
  options: ServerOptions = {},
): Promise<AsyncDisposable & { readonly server: Server; readonly client: ReturnType<typeof clientOf> }> {
  const server = benchServer(handlers, { ...options, authenticate: authenticate as Authenticate }, service);
  const client = clientOf((await server.listen(0)).address);
  return {
    server,
    client,
    async [Symbol.asyncDispose]() {
      await client.$close({ timeoutMs: 0 });
      await server.close({ timeoutMs: 0 });
    },
  };
}
// One attempt, so that a test sees what one attempt meets.
const clientOf = (address: string) => createClient(Bench, address, { policy });

describe("authenticate", () => {
  it("gives handlers and rules the principal, at once or by a promise", async () => {
    for (const authenticate of [() => ({ id: "ann" }), async () => ({ id: "ann" })]) {
      const seen: unknown[] = [];
      await using rig = await pair(authenticate, { add: (_, call) => (seen.push(call.principal), {}) });
      await rig.client.add({});
      assert.deepEqual(seen, [{ id: "ann" }]);
    }
  });

  it("is asked once for the same connection, method and metadata, and again after 5 s", async () => {
    const world = manualWorld();
    const asked: string[] = [];
    const authenticate: Authenticate = ({ metadata, method }) => {
      asked.push(`${method.name} ${metadata.get("user") ?? ""}`);
      return { id: metadata.get("user") ?? "nobody" };
    };
    await using server = benchServer({}, { world, authenticate });
    const { address } = await server.listen(0);
    await using first = createClient(Bench, address, { world, policy });
    await using second = createClient(Bench, address, { world, policy });
    for (let i = 0; i < 10; i++) await first.add({}, ann);
    assert.deepEqual(asked.splice(0), ["add ann"]);
    await first.add({}, { metadata: { user: "bob" } });
    await first.echo({}, ann);
    await second.add({}, ann);
    assert.deepEqual(asked.splice(0), ["add bob", "echo ann", "add ann"]);
    world.advance(4_900);
    await first.add({}, ann);
    assert.deepEqual(asked, []);
    world.advance(200);
    await first.add({}, ann);
    assert.deepEqual(asked, ["add ann"]);
  });

  it("is asked once for calls that come together, and each gets its answer", async () => {
    const answer = gate();
    let asked = 0;
    const seen: unknown[] = [];
    await using rig = await pair(
      async () => {
        asked += 1;
        await answer.opened;
        return { id: "ann" };
      },
      { add: (_, call) => (seen.push(call.principal?.id), {}) },
    );
    const calls = Array.from({ length: 20 }, () => rig.client.add({}));
    while (asked === 0) await turns(1);
    await turns(5);
    answer.open();
    await Promise.all(calls);
    assert.deepEqual([asked, seen], [1, Array.from({ length: 20 }, () => "ann")]);
  });

  it("that ended with the call that it was asked with is asked again for those that waited for it", async () => {
    let asked = 0;
    await using rig = await pair(({ signal }: Parameters<Authenticate>[0]) => {
      asked += 1;
      if (asked > 1) return { id: "ann" };
      return new Promise((_, reject) => signal.addEventListener("abort", () => reject(new Error("given up"))));
    });
    const leave = new AbortController();
    const gone = assertFails(rig.client.add({}, { signal: leave.signal }), "CANCELLED");
    while (asked === 0) await turns(1);
    const others = [rig.client.add({ a: 1 }), rig.client.add({ a: 2 })];
    await turns(5);
    leave.abort();
    await gone;
    assert.deepEqual(
      (await Promise.all(others)).map(({ result }) => result),
      [1, 2],
    );
    assert.equal(asked, 2);
  });

  it("keeps nobody: who is unknown now may be known in the next moment", async () => {
    let asked = 0;
    await using rig = await pair(() => {
      asked += 1;
      return asked === 1 ? undefined : { id: "ann" };
    });
    await assertFails(rig.client.add({}), "UNAUTHENTICATED");
    await rig.client.add({});
    assert.equal(asked, 2);
  });

  it("answers with the RpcError that it throws, its details and metadata too", async () => {
    const Expired = defineError("google.rpc.ErrorInfo", "UNAUTHENTICATED", ErrorInfoSchema);
    await using rig = await pair(() => {
      throw Expired({ reason: "TOKEN_EXPIRED", domain: "shop" }, "the token has expired");
    });
    const error = await assertFails(rig.client.add({}), "UNAUTHENTICATED");
    assert.deepEqual([error.text, Expired.read(error)?.reason], ["the token has expired", "TOKEN_EXPIRED"]);
  });

  it("tells the caller nothing of what else it throws, of a call of its own that failed, or of what is no principal", async () => {
    await using directory = benchServer({
      add: () => {
        throw new RpcError("PERMISSION_DENIED", "secret: table users");
      },
    });
    await using users = createClient(Bench, (await directory.listen(0)).address, { policy });
    const trap = new Proxy(new Error("secret"), {
      get: () => {
        throw new Error("secret");
      },
      getPrototypeOf: () => {
        throw new Error("secret");
      },
    });
    const authenticates: readonly (() => unknown)[] = [
      () => {
        throw new Error("secret password");
      },
      () => Promise.reject(new TypeError("secret host")),
      () => {
        throw undefined;
      },
      () => Promise.reject(trap),
      async () => {
        await users.add({});
        return { id: "ann" };
      },
      () => null,
      () => "secret",
      () => ({}),
      () => ({ id: "" }),
      () => ({ id: 5, secret: "secret" }),
    ];
    for (const authenticate of authenticates) {
      let handled = 0;
      await using rig = await pair(authenticate, { add: () => ((handled += 1), {}) });
      const error = await assertFails(rig.client.add({}), "UNAVAILABLE");
      assert.match(error.text, /^the caller could not be authenticated \(call [0-9a-f]{32}\)$/);
      assert.deepEqual([error.reached, error.details, handled], ["no", [], 0]);
      assert.equal(rig.server.status().calls.open, 0);
    }
  });

  it("that never answers ends with its call's deadline, and holds nothing after it", async () => {
    const world = manualWorld();
    let handled = 0;
    const authenticate = (): Promise<never> => new Promise(() => {});
    await using server = benchServer({ add: () => ((handled += 1), {}) }, { world, authenticate });
    await using client = createClient(Bench, (await server.listen(0)).address, { world, policy });
    await assertFails(world.settle(client.add({}, { timeoutMs: 50 })), "DEADLINE_EXCEEDED");
    await turns(5);
    assert.deepEqual([handled, server.status().calls.open], [0, 0]);
  });

  it("stands before everything of a call: a body that cannot be read and interceptors are never met", async () => {
    let met = 0;
    const counting: Interceptor = (next) => (call) => ((met += 1), next(call));
    await using server = benchServer({}, { authenticate: byUser, interceptors: [counting] });
    await using raw = await rawClient((await server.listen(0)).address);
    const garbage = framed(Buffer.from([0xff, 0xff, 0xff]));
    const refused = await raw.request("/bench.v1.Bench/Add", garbage);
    assert.equal(refused.header["grpc-status"], "16");
    assert.equal(met, 0);
    const known = await raw.request("/bench.v1.Bench/Add", garbage, { user: "ann" });
    assert.equal(known.header["grpc-status"] ?? known.trailer["grpc-status"], "13");
    assert.equal(met, 1);
  });
});

describe("authorize", () => {
  const outcomeOf = async (call: Promise<unknown>): Promise<string> =>
    call.then(
      () => "OK",
      ({ code }: RpcError) => code,
    );

  it("lets those in whom its word, ids or function name, and tells strangers from those who may not", async () => {
    type Rule = ServiceOptions<typeof Bench>["authorize"];
    const throws = (): never => {
      throw new Error("secret");
    };
    const cases: readonly (readonly [rule: Rule, ann: string, nobody: string])[] = [
      ["anyone", "OK", "OK"],
      ["authenticated", "OK", "UNAUTHENTICATED"],
      [undefined, "OK", "UNAUTHENTICATED"],
      [["ann"], "OK", "UNAUTHENTICATED"],
      [["bob", "an"], "PERMISSION_DENIED", "UNAUTHENTICATED"],
      [["a*"], "OK", "UNAUTHENTICATED"],
      [(user) => user === undefined, "PERMISSION_DENIED", "OK"],
      [async (user, { method }) => user?.id === "ann" && method.name === "add", "OK", "UNAUTHENTICATED"],
      [throws, "PERMISSION_DENIED", "UNAUTHENTICATED"],
      [() => Promise.reject(new Error("secret")), "PERMISSION_DENIED", "UNAUTHENTICATED"],
      [(() => "yes") as never, "PERMISSION_DENIED", "UNAUTHENTICATED"],
    ];
    for (const [authorize, ofAnn, ofNobody] of cases) {
      await using rig = await pair(byUser, {}, { authorize });
      const outcomes = [await outcomeOf(rig.client.add({}, ann)), await outcomeOf(rig.client.add({}))];
      assert.deepEqual(outcomes, [ofAnn, ofNobody], String(authorize));
    }
  });

  it("has a rule for each method; one that is forgotten, unknown or wrong is a TypeError that names it", async () => {
    const { down, up, both, ...unary } = {
      add: ["ann"],
      placeOrder: "anyone",
      echo: "authenticated",
      down: "anyone",
      up: "anyone",
      both: "anyone",
    } as const;
    await using rig = await pair(byUser, {}, { authorize: { ...unary, down, up, both } });
    await rig.client.placeOrder({});
    await assertFails(rig.client.echo({}), "UNAUTHENTICATED");
    await rig.client.echo({}, { metadata: { user: "bob" } });
    await assertFails(rig.client.add({}, { metadata: { user: "bob" } }), "PERMISSION_DENIED");
    await rig.client.add({}, ann);
    const add = (authorize: unknown) => () =>
      createServer().service(Bench, benchHandlers, { authorize: authorize as "anyone" });
    assert.throws(add(unary), /TypeError: .*down/);
    assert.throws(add({ ...unary, down, up, both, adds: "anyone" }), /TypeError: .*adds/);
    assert.throws(add({ ...unary, down, up, both: "anybody" }), /TypeError: .*both/);
    for (const wrong of ["everyone", [], [""], [5], 7, null]) assert.throws(add(wrong), TypeError);
  });

  it("is asked before interceptors and handlers", async () => {
    let met = 0;
    const counting: Interceptor = (next) => (call) => ((met += 1), next(call));
    const handlers = { add: () => ((met += 1), {}) };
    await using rig = await pair(byUser, handlers, { authorize: ["bob"] }, { interceptors: [counting] });
    await assertFails(rig.client.add({}, ann), "PERMISSION_DENIED");
    assert.equal(met, 0);
  });

  it("that nobody can pass, for nobody is known, lets nobody pass", async () => {
    await using server = benchServer({}, {}, { authorize: "authenticated" });
    await using client = createClient(Bench, (await server.listen(0)).address, { policy });
    await assertFails(client.add({}), "UNAUTHENTICATED");
  });
});

describe("the server's own services", () => {
  it("stay open to all where the user's ask who calls", async () => {
    let asked = 0;
    const authenticate = (): undefined => void (asked += 1);
    await using server = benchServer({}, { authenticate });
    const { address } = await server.listen(0);
    await using health = createClient(Health, address, { policy });
    assert.equal((await health.check({ service: Bench.typeName })).status, 1);
    const watch = health.watch({ service: "" })[Symbol.asyncIterator]();
    assert.equal((await watch.next()).value?.status, 1);
    await watch.return?.();
    assert.equal(asked, 0);
    await using client = createClient(Bench, address, { policy });
    await assertFails(client.add({}), "UNAUTHENTICATED");
  });
});

describe("two doors of one server", () => {
  it("each have their own security: the one asks for certificates, the other is for this machine alone", async () => {
    await using files = await certificateFiles({ clientNames: ["spiffe://house/caller", "caller.test"] });
    const seen: (string | undefined)[] = [];
    await using server = benchServer({ add: (_, call) => (seen.push(call.principal?.id), {}) });
    const outer = await server.listen("127.0.0.1:0", {
      tls: { ...files.server, clientCaFile: files.caFile, clientCert: "request" },
    });
    const inner = await server.listen(0);
    await using known = createClient(Bench, outer.address, { policy, tls: { caFile: files.caFile, ...files.client } });
    await using stranger = createClient(Bench, outer.address, { policy, tls: { caFile: files.caFile } });
    await using here = createClient(Bench, inner.address, { policy });
    await known.add({});
    await assertFails(stranger.add({}), "UNAUTHENTICATED");
    await here.add({});
    assert.deepEqual(seen, ["spiffe://house/caller", undefined]);
    assert.deepEqual(
      server.status().doors.map(({ isTls, isLocal }) => [isTls, isLocal]),
      [
        [true, true],
        [false, true],
      ],
    );
  });
});
