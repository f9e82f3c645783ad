import assert from "node:assert/strict";
import { test } from "node:test";
import { createClient } from "holdfast";
import { createCluster } from "holdfast/testing";
import { failureOf, forever, pause, Probe, probe, SafeProbe, timed } from "./probe-cluster.ts";

test("c: scope cancel", async () => {
  await using cluster = createCluster();
  const ended: string[] = [];
  cluster.serve("store", 1, (server) => probe(server, { unary: forever }));
  cluster.serve("shop", 1, (server) => {
    const store = createClient(SafeProbe, cluster.target("store"), {
      world: cluster.simulation.host("shop/0"),
      plaintext: true,
    });
    return probe(server, {
      unary: async () => {
        const abort = new AbortController();
        const calls = [
          store.unary({}),
          store.unary({}, { signal: abort.signal }),
          store.unary({}, { onReply: () => abort.abort() }),
        ];
        for (const [i, c] of calls.entries())
          void failureOf(c).then((e) => ended.push(`${i} ${e.code} ${cluster.simulation.nowMs}`));
        await Promise.allSettled(calls);
        return {};
      },
    });
  });
  const abort = new AbortController();
  const call = failureOf(cluster.client(SafeProbe, "shop").unary({}, { signal: abort.signal }));
  await cluster.advance(50);
  abort.abort();
  await cluster.settle(call);
  await cluster.advance(100);
  assert.equal(ended.length, 3, ended.join());
});

test("e: client frozen between PING and its answer", async () => {
  await using cluster = createCluster();
  cluster.serve("shop", 1, (server) => probe(server, { unary: forever }));
  const client = cluster.client(Probe, "shop", { connections: { keepaliveMs: 10_000 } });
  const call = timed(cluster, client.unary({}, { timeoutMs: 300_000 }));
  await cluster.advance(10_003.5);
  console.log(cluster.simulation.logLines().slice(-3));
  cluster.simulation.freeze("client");
  await cluster.advance(25_000);
  cluster.simulation.thaw("client");
  const { error, tookMs } = await call;
  assert.equal(error?.reason, "DEADLINE", `${tookMs} ${error}`);
});

test("e2: client frozen during connect", async () => {
  await using cluster = createCluster();
  cluster.serve("shop", 1, (server) => probe(server));
  const client = cluster.client(Probe, "shop");
  const call = timed(cluster, client.unary({}, { timeoutMs: 300_000 }));
  await cluster.advance(1.2);
  cluster.simulation.freeze("client");
  await cluster.advance(25_000);
  cluster.simulation.thaw("client");
  const { error, tookMs } = await call;
  assert.equal(error, undefined, `${tookMs} ${error}`);
});

test("e3: server frozen after accept", async () => {
  await using cluster = createCluster();
  cluster.serve("shop", 1, (server) => probe(server));
  const client = cluster.client(Probe, "shop");
  const call = timed(cluster, client.unary({}, { timeoutMs: 300_000 }));
  await cluster.advance(1.3);
  cluster.simulation.freeze("shop/0");
  await cluster.advance(7_000);
  cluster.simulation.thaw("shop/0");
  const { error, tookMs } = await call;
  assert.equal(error, undefined, `${tookMs} ${error}`);
  console.log(tookMs, client.$channel.peers());
});

test("o: gentle close", async () => {
  await using cluster = createCluster();
  cluster.serve("shop", 2, (server, index) =>
    probe(server, {
      unary: async (_, call) => {
        await pause(cluster.simulation.host(`shop/${index}`), 500, call.signal);
        return {};
      },
    }),
  );
  const client = cluster.client(Probe, "shop");
  const calls = Array.from({ length: 20 }, () => client.unary({}));
  await cluster.advance(100);
  const closing = timed(cluster, client.$close());
  const late = failureOf(client.unary({}));
  const all = await timed(cluster, Promise.all(calls));
  assert.equal(all.error, undefined);
  assert.equal((await cluster.settle(late)).reason, "CLIENT_CLOSED");
  console.log((await closing).tookMs);
});

test("o2: gentle close while connecting", async () => {
  await using cluster = createCluster();
  cluster.serve("shop", 1, (server) => probe(server));
  const client = cluster.client(Probe, "shop");
  const call = failureOf(client.unary({}));
  const c = await timed(cluster, client.$close());
  const e = await cluster.settle(call);
  console.log(c.tookMs, String(e), e.reason);
});

test("p: crash within the first second, one peer, restart after 100 ms", async () => {
  await using cluster = createCluster();
  cluster.serve("shop", 1, (server) =>
    probe(server, {
      unary: async (_, call) => {
        await pause(cluster.simulation.host(`shop/0`), 100, call.signal);
        return {};
      },
    }),
  );
  const client = cluster.client(SafeProbe, "shop");
  await cluster.settle(client.unary({}));
  const call = timed(cluster, client.unary({}));
  cluster.inject({ kind: "restart", peer: "shop/0", atMs: 50, forMs: 50 });
  const r = await call;
  console.log(r.tookMs, String(r.error));
  await cluster.advance(5000);
  const call2 = timed(cluster, client.unary({}));
  cluster.inject({ kind: "restart", peer: "shop/0", atMs: 50, forMs: 50 });
  const r2 = await call2;
  console.log(r2.tookMs, String(r2.error));
});
test("q: zombie handler and server close", async () => {
  await using cluster = createCluster();
  cluster.serve("shop", 1, (server) =>
    probe(server, {
      unary: async () => {
        await pause(cluster.simulation.host(`shop/0`), 3_600_000);
        return {};
      },
    }),
  );
  const client = cluster.client(SafeProbe, "shop");
  const call = timed(cluster, client.unary({}, { timeoutMs: 100 }));
  console.log(String((await call).error));
  const r = await timed(cluster, cluster.server("shop", 0)!.close());
  console.log(r.tookMs, r.value);
});
