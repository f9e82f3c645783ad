import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createCluster } from "holdfast/testing";
import { failureOf, forever, Probe, probe, SafeProbe } from "../../test/simulation/probe-cluster.ts";

describe("connections to one peer", () => {
  it("grow by one when 80 % of the streams are in use, up to four, and calls go to the emptiest", async () => {
    await using cluster = createCluster();
    let running = 0;
    let most = 0;
    cluster.serve(
      "shop",
      1,
      (server) =>
        probe(server, {
          unary: async (request, call) => {
            running += 1;
            most = Math.max(most, running);
            await forever(request, call).catch(() => {});
            running -= 1;
            return {};
          },
        }),
      { admission: false, limits: { streamsPerConnectionMax: 10 } },
    );
    const client = cluster.client(Probe, "shop");
    const report = () => client.$channel.peers()[0];
    const calls: Promise<unknown>[] = [];
    const start = async (count: number): Promise<void> => {
      for (let i = 0; i < count; i++) calls.push(failureOf(client.unary({}, { timeoutMs: 5_000 })));
      await cluster.advance(20);
    };
    await start(7);
    assert.equal(report()?.connections, 1);
    await start(1);
    assert.equal(report()?.connections, 2);
    await start(8);
    assert.equal(report()?.connections, 3);
    await start(40);
    assert.equal(report()?.connections, 4);
    assert.equal(running, 40, "all slots of four connections");
    assert.equal(report()?.inFlight, 40);
    await cluster.settle(Promise.all(calls));
    assert.equal(most, 40);
    assert.equal(report()?.inFlight, 0);
  });

  it("keep a quarter of their streams for calls that end: long streams never hold them all", async () => {
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
      { limits: { streamsPerConnectionMax: 8 } },
    );
    const client = cluster.client(Probe, "shop", { connections: { perPeerMax: 1 } });
    const streams = Array.from({ length: 8 }, () => client.download({})[Symbol.asyncIterator]());
    const firsts = streams.map((stream) => stream.next());
    await cluster.advance(100);
    assert.equal(client.$channel.peers()[0]?.inFlight, 6);
    await cluster.settle(client.unary({}));
    for (const stream of streams.slice(0, 6)) void stream.return?.();
    await cluster.settle(Promise.all(firsts));
    await cluster.settle(client.$close({ timeoutMs: 0 }));
  });

  it("a peer that allows one stream still gets one long one", async () => {
    await using cluster = createCluster();
    cluster.serve("shop", 1, (server) => probe(server), { limits: { streamsPerConnectionMax: 1 } });
    const client = cluster.client(Probe, "shop", { connections: { perPeerMax: 1 } });
    let count = 0;
    const read = async (): Promise<void> => {
      for await (const _ of client.download({ replyCount: 3 })) count += 1;
    };
    await cluster.settle(read());
    assert.equal(count, 3);
  });
});

describe("a connection that was idle", () => {
  it("is asked before the next call, which goes elsewhere when it is dead: nothing is lost, whatever the method", async () => {
    for (const seed of [1, 2, 3, 4, 5]) {
      await using cluster = createCluster({ seed });
      const servedBy: number[] = [];
      cluster.serve("shop", 2, (server, index) => probe(server, { unary: () => (servedBy.push(index), {}) }));
      const client = cluster.client(Probe, "shop");
      for (let i = 0; i < 6; i++) await cluster.settle(client.unary({}));
      await cluster.advance(20_000);
      cluster.simulation.partition("client", "shop/0");
      servedBy.length = 0;
      for (let i = 0; i < 10; i++) await cluster.settle(client.unary({}, { timeoutMs: 3_000 }));
      assert.deepEqual(new Set(servedBy), new Set([1]), `seed ${seed}`);
      assert.equal(servedBy.length, 10);
    }
  });

  it("costs one PING and no time to speak of when it is alive", async () => {
    await using cluster = createCluster();
    cluster.serve("shop", 1, (server) => probe(server));
    const client = cluster.client(Probe, "shop");
    await cluster.settle(client.unary({}));
    await cluster.advance(60_000);
    const startMs = cluster.simulation.nowMs;
    await cluster.settle(client.unary({}));
    const tookMs = cluster.simulation.nowMs - startMs;
    assert.ok(tookMs >= 2 && tookMs < 4, `${tookMs} ms: two round trips`);
    assert.ok((client.$channel.peers()[0]?.rttMs ?? 0) > 0.9);
  });

  it("that does not answer is made anew within about a second, although it is the only one", async () => {
    await using cluster = createCluster();
    cluster.serve("shop", 1, (server) => probe(server));
    const client = cluster.client(SafeProbe, "shop");
    await cluster.settle(client.unary({}));
    await cluster.advance(60_000);
    cluster.inject({ kind: "partition", between: ["client", "shop"], forMs: 1_500 });
    const startMs = cluster.simulation.nowMs;
    await cluster.settle(client.unary({}, { timeoutMs: 20_000 }));
    assert.ok(cluster.simulation.nowMs - startMs < 5_000, String(cluster.simulation.nowMs - startMs));
  });
});
