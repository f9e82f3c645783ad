import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createCluster } from "holdfast/testing";
import { pause, probe, SafeProbe } from "../../test/simulation/probe-cluster.ts";

/** So long a handler takes. */
const HANDLER_MS = 250;

describe("a call under which a connection has died", () => {
  it("is alone at its next peer for a part of the time that it has left, and not until its deadline", async () => {
    const cluster = createCluster({ seed: 7 });
    await using _ = cluster;
    cluster.serve("shop", 2, (server, index) =>
      probe(server, {
        unary: async ({ body }, call) => {
          if (body.length > 0) await pause(cluster.simulation.host(`shop/${index}`), HANDLER_MS, call.signal);
          return { body };
        },
      }),
    );
    const client = cluster.client(SafeProbe, "shop");
    for (let i = 0; i < 20; i++) await cluster.settle(client.unary({}));
    // Each a request of its own: that others like it were answered excuses none.
    const all = Promise.allSettled(
      Array.from({ length: 8 }, (_, i) => client.unary({ body: new Uint8Array([1, i]) }, { timeoutMs: 450 })),
    );
    await cluster.advance(20);
    cluster.inject({ kind: "restart", peer: "shop/0", atMs: 0, forMs: 5_000 });
    const ends = await cluster.settle(all);
    const retries = client.$channel.reliability().reduce((sum, { saved }) => sum + saved.retry, 0);
    assert.ok(retries > 1, `several calls were on the connection that died: ${retries}`);
    assert.deepEqual(
      ends.filter(({ status }) => status === "rejected"),
      [],
    );
  });
});
