import assert from "node:assert/strict";
import { test } from "node:test";
import { type Cluster, createCluster } from "holdfast/testing";
import type { Interceptor, RpcError } from "holdfast";
import { pause, probe, SafeProbe } from "./probe-cluster.ts";

const QUIET_MS = 600_000;
const interceptors: readonly Interceptor[] = [(next) => (call) => next(call)];

for (const options of [{}, { interceptors }]) {
  const words = options.interceptors === undefined ? "" : ", behind an interceptor";

  test(`a reply stream whose first message comes after ten minutes lives until then${words}`, async () => {
    await using cluster = createCluster();
    cluster.serve(
      "shop",
      1,
      (server) =>
        probe(server, {
          async *download(_request, call) {
            await pause(cluster.simulation.host("shop/0"), QUIET_MS, call.signal);
            yield { index: 7 };
          },
        }),
      options,
    );
    const stream = cluster.client(SafeProbe, "shop").download({});
    const first = stream[Symbol.asyncIterator]().next();
    const startMs = cluster.simulation.nowMs;
    await cluster.settle(stream.header);
    assert.ok(cluster.simulation.nowMs - startMs < 1_000, "its headers came at once");
    assert.equal((await cluster.settle(first, { limitMs: QUIET_MS + 1_000 })).value?.index, 7);
  });

  test(`a conversation in which nobody speaks for ten minutes lives until then${words}`, async () => {
    await using cluster = createCluster();
    cluster.serve("shop", 1, (server) => probe(server), options);
    async function* late(): AsyncGenerator<object> {
      await pause(cluster.world, QUIET_MS);
      yield {};
    }
    const stream = cluster.client(SafeProbe, "shop").chat(late());
    const first = stream[Symbol.asyncIterator]().next();
    const startMs = cluster.simulation.nowMs;
    await cluster.settle(stream.header);
    assert.ok(cluster.simulation.nowMs - startMs < 11_000, "its headers came after 10 s");
    assert.equal((await cluster.settle(first, { limitMs: QUIET_MS + 1_000 })).done, false);
  });
}

/** Two replicas that say their name on a reply stream after a second of silence, and whose headers have come long before. */
function quietPair(cluster: Cluster): void {
  cluster.serve("shop", 2, (server, index) =>
    probe(server, {
      async *download(_request, call) {
        await pause(cluster.simulation.host(`shop/${index}`), 1_000, call.signal);
        yield { index };
      },
    }),
  );
}

test("a stream whose server dies after its headers and before its first message is sent to another", async () => {
  for (const victim of [0, 1]) {
    await using cluster = createCluster();
    quietPair(cluster);
    const client = cluster.client(SafeProbe, "shop");
    const streams = [client.download({}), client.download({}), client.download({}), client.download({})];
    const firsts = streams.map((stream) => stream[Symbol.asyncIterator]().next());
    await cluster.advance(500);
    cluster.simulation.crash(`shop/${victim}`);
    const replies = await cluster.settle(Promise.all(firsts));
    assert.deepEqual(
      replies.map((reply) => reply.value?.index),
      Array.from({ length: 4 }, () => 1 - victim),
    );
  }
});

test("a stream whose headers the user has asked for is not replaced", async () => {
  await using cluster = createCluster();
  quietPair(cluster);
  const client = cluster.client(SafeProbe, "shop");
  const streams = [client.download({}), client.download({}), client.download({}), client.download({})];
  await cluster.settle(Promise.all(streams.map((stream) => stream.header)));
  const firsts = Promise.allSettled(streams.map((stream) => stream[Symbol.asyncIterator]().next()));
  cluster.simulation.crash("shop/0");
  cluster.simulation.crash("shop/1");
  const lost = (await cluster.settle(firsts)).filter((outcome) => outcome.status === "rejected");
  assert.ok(lost.length === 4 && lost.every((outcome) => (outcome.reason as RpcError).reason === "CONNECTION_LOST"));
});
