/**
 * The stacks are ordered lists (src/client/stack.ts, src/server/stack.ts), and what they say is what a call meets.
 */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { createClient, createServer, type Interceptor, RpcError } from "holdfast";
import { clientStack } from "../../src/client/stack.ts";
import { serverStack } from "../../src/server/stack.ts";
import { nodeWorld } from "../../src/world/node.ts";
import type { World } from "../../src/world/world.ts";
import { Bench, benchHandlers } from "../calls/bench-service.ts";
import { framed, rawClient } from "../calls/raw-peer.ts";
import { ROOT } from "./source.ts";

test("each layer's file exists, and each layer says what it does and why it stands there", () => {
  for (const { name, file, role, why } of [...clientStack, ...serverStack]) {
    assert.ok(existsSync(join(ROOT, "src", file)), `${name}: src/${file}`);
    assert.ok(role.length > 0 && why.length > 0, name);
  }
});

test("ARCHITECTURE.md tells of the client's layers in the stack's order", () => {
  const text = readFileSync(join(ROOT, "ARCHITECTURE.md"), "utf8");
  const named = [...text.matchAll(/^\d+\. \*\*(\w+)\.?\*\*/gm)].map(([, name = ""]) => name.toLowerCase());
  const layers = clientStack.map(({ name }) => name);
  assert.deepEqual(
    named.filter((name) => layers.includes(name)),
    layers,
  );
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
