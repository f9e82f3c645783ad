import assert from "node:assert/strict";
import { test } from "node:test";
import { createCluster } from "holdfast/testing";
import type { Interceptor } from "holdfast";
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
