import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createCluster } from "holdfast/testing";
import { Probe, probe, timed } from "../../test/simulation/probe-cluster.ts";

describe("when the last ready peer is lost", () => {
  for (const seed of [1, 2, 3, 4]) {
    it(`one that was down for ten minutes and is back takes calls within 2 s, for its backoff is cut short (seed ${seed})`, async () => {
      await using cluster = createCluster({ seed });
      cluster.serve("shop", 2, (server) => probe(server));
      const client = cluster.client(Probe, "shop");
      await cluster.settle(client.$channel.ready());
      await cluster.advance(1_000);
      cluster.inject({ kind: "crash", peer: "shop/1" });
      await cluster.advance(600_000);
      cluster.inject({ kind: "crash", peer: "shop/0" });
      await cluster.advance(10);
      cluster.simulation.restart("shop/1");
      const { tookMs, error } = await timed(cluster, client.unary({}));
      assert.equal(error, undefined);
      assert.ok(tookMs <= 2_100, `${tookMs} ms`);
    });
  }

  it("the others are dialled again within 2 s each, not all in the same moment, and no sooner than they were due", async () => {
    await using cluster = createCluster();
    cluster.serve("shop", 12, (server) => probe(server));
    const client = cluster.client(Probe, "shop");
    await cluster.settle(client.$channel.ready());
    await cluster.advance(1_000);
    for (let index = 1; index < 12; index++) cluster.inject({ kind: "crash", peer: `shop/${index}` });
    await cluster.advance(600_000);
    const dialledMs = new Map<string, number>();
    client.$on("connection.changed", ({ state, peer: { id } }) => {
      if (state === "closed" && !dialledMs.has(id)) dialledMs.set(id, cluster.simulation.nowMs);
    });
    const lostAtMs = cluster.simulation.nowMs;
    cluster.inject({ kind: "crash", peer: "shop/0" });
    await cluster.advance(2_100);
    assert.equal(dialledMs.size, 12);
    const times = [...dialledMs.values()].map((ms) => Math.round((ms - lostAtMs) / 10));
    assert.ok(new Set(times).size > 4, times.join());
  });
});
