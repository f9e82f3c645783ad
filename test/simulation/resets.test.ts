import assert from "node:assert/strict";
import { test } from "node:test";
import { createSwitches } from "holdfast/policy";
import { createClient } from "holdfast";
import { type Cluster, createCluster } from "holdfast/testing";
import type { World } from "../../src/world/world.ts";
import { failureOf, forever, pause, SafeProbe, probe, timed } from "./probe-cluster.ts";

/** The cluster's world, which counts its connections. */
function countingWorld(cluster: Cluster): { readonly world: World; readonly dials: () => number } {
  const { world } = cluster;
  let dials = 0;
  const connect: World["network"]["connect"] = (...dial) => {
    dials += 1;
    return world.network.connect(...dial);
  };
  return {
    world: {
      ...world,
      network: {
        connect,
        listen: (request) => world.network.listen(request),
        resolve: (host, done) => world.network.resolve(host, done),
      },
    },
    dials: () => dials,
  };
}

test("a thousand streams left after their first message cost no connection and no call", async () => {
  await using cluster = createCluster();
  let whole = 0;
  cluster.serve("shop", 1, (server) =>
    probe(server, {
      // More than a stream's first window: none has arrived whole when its reader leaves.
      async *download() {
        for (let index = 0; index < 80; index++) yield { index, body: Buffer.alloc(1024) };
        whole += 1;
      },
    }),
  );
  const { world, dials } = countingWorld(cluster);
  const client = createClient(SafeProbe, cluster.target("shop"), { world, plaintext: true });
  const leaveAll = async (): Promise<number> => {
    let left = 0;
    for (let round = 0; round < 1000; round++) {
      for await (const { index } of client.download({})) {
        assert.equal(index, 0);
        left += 1;
        break;
      }
    }
    return left;
  };
  const { value, error, tookMs } = await timed(cluster, leaveAll());
  assert.equal(error, undefined);
  assert.equal(value, 1000);
  assert.equal(dials(), 1, "the server ended the connection");
  assert.ok(tookMs < 10_000, `${tookMs} ms`);
  await cluster.settle(client.unary({}));
  await cluster.advance(10_000);
  assert.equal(dials(), 1);
  const resets = 1000 - whole;
  assert.ok(resets >= 100 && resets <= 101 + 0.025 * tookMs, `${resets} resets in ${tookMs} ms`);
  assert.equal(client.$channel.peers()[0]?.streams, 0, "what was left has ended, or was reset");
});

test("streams that would never end are reset when their turn comes: a hundred at once, then 25 a second", async () => {
  await using cluster = createCluster();
  const endedMs: number[] = [];
  cluster.serve(
    "shop",
    1,
    (server) =>
      probe(server, {
        async *download(_request, call) {
          try {
            yield {};
            await pause(cluster.simulation.host("shop/0"), 3_600_000, call.signal);
          } finally {
            endedMs.push(cluster.simulation.nowMs);
          }
        },
      }),
    { limits: { streamsPerConnectionMax: 200 } },
  );
  const { world, dials } = countingWorld(cluster);
  const connections = { perPeerMax: 1 };
  const client = createClient(SafeProbe, cluster.target("shop"), { world, plaintext: true, connections });
  const readers = Array.from({ length: 150 }, () => client.download({})[Symbol.asyncIterator]());
  await cluster.settle(Promise.all(readers.map((reader) => reader.next())));
  const startMs = cluster.simulation.nowMs;
  for (const reader of readers) void reader.return?.();
  await cluster.advance(30);
  assert.equal(endedMs.length, 100);
  assert.equal(client.$channel.peers()[0]?.streams, 50);
  await cluster.advance(1000);
  assert.ok(endedMs.length >= 120 && endedMs.length <= 127, String(endedMs.length));
  await cluster.advance(1500);
  assert.equal(endedMs.length, 150);
  assert.equal(client.$channel.peers()[0]?.streams, 0);
  assert.ok((endedMs.at(-1) ?? 0) - startMs >= 1900);
  assert.equal(dials(), 1);
});

test("calls that wait for a stream start as those that were left are reset, although the peer says nothing", async () => {
  await using cluster = createCluster();
  cluster.serve(
    "shop",
    1,
    (server) =>
      probe(server, {
        async *download(request, call) {
          yield {};
          await forever(request, call);
        },
      }),
    { limits: { streamsPerConnectionMax: 10 } },
  );
  const switches = createSwitches({ states: { suspicion: "off" } });
  const client = cluster.client(SafeProbe, "shop", { connections: { perPeerMax: 1 }, switches });
  const leave = async (): Promise<void> => {
    for await (const _ of client.download({})) break;
  };
  const inFlight = (): number => client.$channel.peers()[0]?.streams ?? 0;
  for (let round = 0; round < 200 && inFlight() < 10; round++) await cluster.settle(leave());
  assert.equal(inFlight(), 10, "no stream is free");
  cluster.simulation.partition("shop", "client", { isOneWay: true });
  const call = failureOf(client.unary({}, { timeoutMs: 1000 }));
  assert.match((await cluster.settle(call)).text, /while waiting for 10\./);
});

test("a request that has not been sent whole is always reset: nobody is left to send the rest", async () => {
  await using cluster = createCluster();
  let running = 0;
  cluster.serve(
    "shop",
    1,
    (server) =>
      probe(server, {
        async upload(requests) {
          running += 1;
          try {
            for await (const _ of requests);
            return {};
          } finally {
            running -= 1;
          }
        },
      }),
    { limits: { streamsPerConnectionMax: 150 } },
  );
  const client = cluster.client(SafeProbe, "shop");
  const controller = new AbortController();
  const source = async function* (): AsyncGenerator<{ body: Uint8Array }> {
    yield { body: Buffer.alloc(1) };
    await new Promise(() => {});
  };
  const calls = Array.from({ length: 150 }, () => failureOf(client.upload(source(), { signal: controller.signal })));
  await cluster.advance(100);
  assert.equal(running, 150);
  controller.abort();
  await cluster.settle(Promise.all(calls));
  await cluster.advance(10);
  assert.equal(running, 0);
});
