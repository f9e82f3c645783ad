/**
 * The stacks are ordered lists (src/client/stack.ts, src/server/stack.ts), and what they say is what a call meets.
 */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { createClient, createServer, type Interceptor, RpcError } from "holdfast";
import { memory } from "holdfast/durable";
import { clientStack } from "../../src/client/stack.ts";
import type { DedupStore } from "../../src/durable/dedup-store.ts";
import { serverStack } from "../../src/server/stack.ts";
import type { RequestSchema } from "../../src/server/validate.ts";
import { nodeWorld } from "../../src/world/node.ts";
import type { World } from "../../src/world/world.ts";
import { Bench, benchHandlers } from "../calls/bench-service.ts";
import { OnceProbe } from "../calls/once-scene.ts";
import { framed, rawClient } from "../calls/raw-peer.ts";
import { ROOT } from "./source.ts";

test("each layer's file exists, and each layer says what it does and why it stands there", () => {
  for (const { name, file, role, why } of [...clientStack, ...serverStack]) {
    assert.ok(existsSync(join(ROOT, "src", file)), `${name}: src/${file}`);
    assert.ok(role.length > 0 && why.length > 0, name);
  }
});

test("ARCHITECTURE.md tells of both stacks' layers in the stacks' order", () => {
  const text = readFileSync(join(ROOT, "ARCHITECTURE.md"), "utf8");
  const [ofClient = "", ofServer = ""] = text.split("Server, from the socket inwards.");
  for (const [part, stack] of [
    [ofClient, clientStack],
    [ofServer, serverStack],
  ] as const) {
    const named = [...part.matchAll(/^\d+\. \*\*(\w+)\.?\*\*/gm)].map(([, name = ""]) => name.toLowerCase());
    const layers = stack.map(({ name }) => name);
    assert.deepEqual(
      named.filter((name) => layers.includes(name)),
      layers,
    );
  }
});

test("a call meets the layers in the stacks' order", async () => {
  const met: string[] = [];
  const meet = (layer: string): void => {
    if (met.at(-1) !== layer) met.push(layer);
  };
  const ids = new Set<string>();
  const named =
    (layer: string): Interceptor =>
    (next) =>
    (call) => {
      ids.add(call.id);
      meet(layer);
      return next(call);
    };
  const options = { interceptors: [named("server interceptors")], drain: { signals: [] } };
  await using server = createServer(options).service(Bench, {
    ...benchHandlers,
    add(_, call) {
      ids.add(call.id);
      meet("handler");
      return {};
    },
  });
  const { address } = await server.listen(0);
  await using client = createClient(Bench, address, {
    interceptors: [named("interceptors")],
    token: () => {
      meet("credentials");
      return "token";
    },
    world: tellingWorld(() => meet("connection")),
  });
  await client.$channel.ready();
  met.length = 0;
  await client.add({});
  assert.equal(ids.size, 1, "one context: the same call everywhere");
  const order = met.slice(0, met.indexOf("handler") + 1);
  const known = (names: readonly { readonly name: string }[], like: readonly string[]): string[] =>
    names.map(({ name }) => name).filter((name) => like.includes(name));
  assert.deepEqual(order, [
    ...known(clientStack, ["interceptors", "credentials", "connection"]),
    ...known(serverStack, ["interceptors", "handler"]).map((name) =>
      name === "interceptors" ? "server interceptors" : name,
    ),
  ]);
});

test("a call meets the server's layers in the stack's order, and so does its repeat", async () => {
  const met: string[] = [];
  const meet = (layer: string): void => {
    if (met.at(-1) !== layer) met.push(layer);
  };
  const journal = memory();
  /** The store tells when it is asked, and whether the call has its permit by then. */
  const telling = (world: World): DedupStore => {
    const store = journal["~dedup"](world);
    return new Proxy(store, {
      get(target, name) {
        if (name === "claim" && server.status().admission?.running === 1) meet("admission");
        if (name === "claim") meet(met.at(-1) === "admission" ? "keep" : "lookup");
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
  };
  const schema: RequestSchema<object> = {
    "~standard": { version: 1, vendor: "test", validate: (value) => (meet("validate"), { value }) },
  };
  const server = createServer({
    authenticate: () => (meet("authenticate"), { id: "ann" }),
    critical: () => (meet("clamp"), true),
    interceptors: [(next) => (call) => (meet("interceptors"), next(call))],
    dedup: { ...journal, "~dedup": telling, [Symbol.asyncDispose]: () => journal[Symbol.asyncDispose]() },
    drain: { signals: [] },
  }).service(
    OnceProbe,
    {
      unary: () => (meet("handler"), {}),
      download: () => [],
      upload: () => ({}),
      chat: () => [],
      seen: () => ({}),
      missing: () => ({}),
    },
    { authorize: () => (meet("authorise"), true), validate: { unary: schema } },
  );
  await using _ = server;
  using _recorded = server.on("call.ended", () => meet("record"));
  await using raw = await rawClient((await server.listen(0)).address);
  const call = (headers: object): Promise<unknown> =>
    raw.request(`/${OnceProbe.name}/Unary`, framed(new Uint8Array(0)), {
      "holdfast-call-id": "order-1",
      "holdfast-priority": "critical",
      ...headers,
    });
  const orderOf = (...names: readonly string[]): string[] =>
    serverStack.map(({ name }) => name).filter((name) => names.includes(name));
  await call({});
  const before = ["authenticate", "authorise", "clamp", "interceptors"];
  assert.deepEqual(met.splice(0), [...orderOf(...before, "admission", "keep", "validate", "handler"), "record"]);
  // What was found out of its caller is believed for a while.
  await call({ "grpc-previous-rpc-attempts": "1" });
  assert.deepEqual(met.splice(0), [...orderOf("authorise", "clamp", "interceptors", "lookup"), "record"]);
  await journal[Symbol.asyncDispose]();
});

test("headers that are refused meet no interceptor, a request that cannot be decoded no handler", async () => {
  let met = 0;
  let handled = 0;
  const counting: Interceptor = (next) => (call) => {
    met += 1;
    return next(call);
  };
  await using server = createServer({ interceptors: [counting], drain: { signals: [] } }).service(Bench, {
    ...benchHandlers,
    add: () => ((handled += 1), {}),
  });
  await using raw = await rawClient((await server.listen(0)).address);
  const refused = await raw.request("/bench.v1.Bench/Add", framed(new Uint8Array(0)), { "grpc-timeout": "soon" });
  assert.equal(refused.header["grpc-status"], "13");
  assert.equal(met, 0);
  const broken = await raw.request("/bench.v1.Bench/Add", framed(Buffer.from([0xff, 0xff, 0xff])));
  assert.equal(broken.header["grpc-status"] ?? broken.trailer["grpc-status"], "13");
  assert.deepEqual([met, handled], [1, 0]);
  await raw.request("/bench.v1.Bench/Add", framed(new Uint8Array(0)));
  assert.deepEqual([met, handled], [2, 1]);
});

/** The real world, which tells of everything that a client writes. */
function tellingWorld(written: () => void): World {
  const { network } = nodeWorld;
  return {
    ...nodeWorld,
    network: {
      listen: (request) => network.listen(request),
      resolve: (host, done) => network.resolve(host, done),
      connect(address, options, events) {
        const socket = network.connect(address, options, events);
        const write = socket.write.bind(socket);
        const writeAll = socket.writeAll.bind(socket);
        return Object.assign(socket, {
          write(bytes: Buffer) {
            written();
            write(bytes);
          },
          writeAll(chunks: readonly Buffer[]) {
            written();
            writeAll(chunks);
          },
        });
      },
    },
  };
}

test("a call that the throttle refuses asks for no token", async () => {
  let seen = 0;
  let asked = 0;
  await using server = createServer({ drain: { signals: [] } }).service(Bench, {
    ...benchHandlers,
    add() {
      seen += 1;
      throw new RpcError("RESOURCE_EXHAUSTED", "full");
    },
  });
  const { address } = await server.listen(0);
  await using client = createClient(Bench, address, {
    token: () => {
      asked += 1;
      return "token";
    },
    policy: { retry: false, hedge: false },
  });
  let throttled = 0;
  for (let i = 0; i < 400; i++) {
    await client.add({}).catch(({ reason }: RpcError) => (throttled += reason === "THROTTLED" ? 1 : 0));
  }
  assert.ok(throttled > 0, "some were refused here");
  assert.deepEqual([asked, seen], [400 - throttled, 400 - throttled]);
});
