import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { RpcError } from "holdfast";
import { createCluster } from "holdfast/testing";
import { failureOf, forever, Probe, probe, SafeProbe } from "../../test/simulation/probe-cluster.ts";

describe("the gate", () => {
  it("does not call a peer that asked not to be called, until its time is over", async () => {
    await using cluster = createCluster();
    const refusedAtMs: number[] = [];
    cluster.serve("shop", 2, (server, index) =>
      probe(server, {
        unary: () => {
          if (index === 0) {
            refusedAtMs.push(cluster.simulation.nowMs);
            throw new RpcError("UNAVAILABLE", "busy", { retryAfterMs: 2_000 });
          }
          return {};
        },
      }),
    );
    const client = cluster.client(SafeProbe, "shop");
    for (let i = 0; i < 6; i++) await cluster.settle(client.upload([]));
    for (let i = 0; i < 100; i++) {
      await cluster.settle(client.unary({}));
      await cluster.advance(10);
    }
    assert.ok(refusedAtMs.length >= 1);
    const gapsMs = refusedAtMs.slice(1).map((atMs, i) => atMs - (refusedAtMs[i] ?? 0));
    assert.ok(
      gapsMs.every((gapMs) => gapMs >= 1_999),
      String(gapsMs),
    );
  });

  it("sends at most 1,024 calls at once to a peer: the rest waits, and says why when its time is over", async () => {
    await using cluster = createCluster();
    let running = 0;
    cluster.serve(
      "shop",
      1,
      (server) =>
        probe(server, {
          unary: (request, call) => {
            running += 1;
            return forever(request, call);
          },
        }),
      { admission: false, limits: { streamsPerConnectionMax: 5_000 } },
    );
    const client = cluster.client(Probe, "shop");
    const calls = Array.from({ length: 1_030 }, () => failureOf(client.unary({}, { timeoutMs: 500 })));
    await cluster.advance(100);
    assert.equal(running, 1_024);
    assert.equal(client.$channel.peers()[0]?.inFlight, 1_024);
    const errors = await cluster.settle(Promise.all(calls));
    assert.equal(errors.filter(({ reached }) => reached === "no").length, 6);
  });

  it("waits for a pushback to end when nobody else is there, and then goes on", async () => {
    await using cluster = createCluster();
    let isBusy = true;
    cluster.serve("shop", 1, (server) =>
      probe(server, {
        unary: () => {
          if (!isBusy) return {};
          isBusy = false;
          throw new RpcError("RESOURCE_EXHAUSTED", "busy", { retryAfterMs: 700 });
        },
      }),
    );
    const client = cluster.client(SafeProbe, "shop");
    const startMs = cluster.simulation.nowMs;
    await cluster.settle(client.unary({}, { timeoutMs: 5_000 }));
    const tookMs = cluster.simulation.nowMs - startMs;
    assert.ok(tookMs >= 700 && tookMs < 800, String(tookMs));
  });
});
