import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { RpcError } from "holdfast";
import { createCluster } from "holdfast/testing";
import { collect, failureOf, pause, probe, SafeProbe } from "../../test/simulation/probe-cluster.ts";

const backoff = { kind: "constant", baseMs: 200, jitter: "none" } as const;

describe("a call's record", () => {
  it("says where the time went: waiting for a peer, earlier attempts and their waits, the one that decided", async () => {
    await using cluster = createCluster({ link: { latencyMs: 5 } });
    let begun = 0;
    cluster.serve("shop", 1, (server) =>
      probe(server, {
        unary: async (_request, call) => {
          begun += 1;
          await pause(cluster.simulation.host("shop/0"), begun === 1 ? 30 : 70, call.signal);
          if (begun === 1) throw new RpcError("UNAVAILABLE", "in the middle of it");
          return {};
        },
      }),
    );
    const client = cluster.client(SafeProbe, "shop", { policy: { retry: { backoff } } });
    await cluster.settle(client.unary({}));
    const record = cluster.records()[0];
    const { queue = NaN, earlier = NaN, server = NaN, stall, ...others } = record?.phasesMs ?? {};
    assert.deepEqual(others, {}, "a single reply is not received for long");
    const [first, second] = record?.attempts ?? [];
    assert.equal(queue, first?.startMs);
    assert.ok(queue >= 10, `${queue} ms: a connection was made`);
    assert.equal(earlier, (second?.startMs ?? NaN) - queue);
    assert.ok(earlier >= 230 && earlier < 260, `${earlier} ms`);
    assert.ok(server >= 70 && server < 100, `${server} ms`);
    assert.equal(stall, 0);
    assert.ok(Math.abs(queue + earlier + server - (record?.tookMs ?? NaN)) < 1e-6);
  });

  it("parts a reply stream's time at its headers", async () => {
    await using cluster = createCluster();
    cluster.serve("shop", 1, (server) =>
      probe(server, {
        async *download(_request, call) {
          for (let index = 0; index < 3; index++) {
            yield { index };
            await pause(cluster.simulation.host("shop/0"), 100, call.signal);
          }
        },
      }),
    );
    await cluster.settle(collect(cluster.client(SafeProbe, "shop").download({})));
    const record = cluster.records()[0];
    const { server = NaN, receive = NaN, earlier } = record?.phasesMs ?? {};
    assert.equal(earlier, 0);
    assert.ok(server > 0 && server < 20, `${server} ms`);
    assert.ok(receive >= 290 && receive < 310, `${receive} ms`);
  });

  it("leaves out the phases that a call did not come to", async () => {
    await using cluster = createCluster();
    cluster.serve("shop", 1, (server) => probe(server));
    cluster.inject({ kind: "partition", between: ["client", "shop"] });
    const client = cluster.client(SafeProbe, "shop");
    await cluster.settle(failureOf(client.unary({}, { timeoutMs: 500 })));
    const record = cluster.records()[0];
    assert.deepEqual(record?.phasesMs, { queue: record?.tookMs, stall: 0 });
  });
});
