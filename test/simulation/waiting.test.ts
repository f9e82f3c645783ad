import assert from "node:assert/strict";
import { test } from "node:test";
import { createClient } from "holdfast";
import { createCluster } from "holdfast/testing";
import { failureOf, forever, Probe, probe, SafeProbe, timed } from "./probe-cluster.ts";

test("a call whose peer dies goes back to it when it is back, although another one is ready and full", async () => {
  for (const seed of [1, 2, 3]) {
    await using cluster = createCluster({ seed });
    let streamsAt = -1;
    let callsAt: number[] = [];
    cluster.serve(
      "shop",
      2,
      (server, index) =>
        probe(server, {
          async *download(request, call) {
            streamsAt = index;
            yield {};
            await forever(request, call);
          },
          unary: (request, call) => {
            callsAt.push(index);
            return callsAt.length === 1 ? forever(request, call) : {};
          },
        }),
      { limits: { streamsPerConnectionMax: 1 } },
    );
    const client = cluster.client(SafeProbe, "shop", { connections: { perPeerMax: 1 } });
    // Both are connected before it begins.
    for (let round = 0; round < 4; round++) await cluster.settle(client.upload([]));
    await cluster.advance(100);
    const stream = client.download({})[Symbol.asyncIterator]();
    await cluster.settle(stream.next());
    callsAt = [];
    const call = timed(cluster, client.unary({}));
    await cluster.advance(2000);
    const other = 1 - streamsAt;
    assert.deepEqual(callsAt, [other]);
    cluster.inject({ kind: "crash", peer: `shop/${other}`, atMs: 0, forMs: 100 });
    const { error, tookMs } = await call;
    assert.equal(error, undefined, `seed ${seed}`);
    assert.ok(tookMs < 2000 + 3000, `seed ${seed}: ${tookMs}`);
    assert.deepEqual(callsAt, [other, other]);
  }
});

test("a peer that was not tried is preferred while it could take the call", async () => {
  await using cluster = createCluster();
  const callsAt: number[] = [];
  cluster.serve("shop", 2, (server, index) =>
    probe(server, {
      unary: (request, call) => {
        callsAt.push(index);
        return callsAt.length === 1 ? forever(request, call) : {};
      },
    }),
  );
  const client = cluster.client(SafeProbe, "shop");
  for (let round = 0; round < 4; round++) await cluster.settle(client.upload([]));
  await cluster.advance(1000);
  const call = timed(cluster, client.unary({}));
  await cluster.advance(10);
  const [first = -1] = callsAt;
  cluster.inject({ kind: "restart", peer: `shop/${first}`, atMs: 0 });
  assert.equal((await call).error, undefined);
  assert.deepEqual(callsAt, [first, 1 - first]);
});

test("calls beyond ten thousand that wait for a peer which is not there are UNAVAILABLE, not over a limit", async () => {
  await using cluster = createCluster();
  // It has the machine, and nobody who answers.
  cluster.simulation.host("away");
  cluster.simulation.partition("client", "away");
  const client = createClient(Probe, "away:1", { world: cluster.world, plaintext: true });
  const waiting = Array.from({ length: 10_000 }, () => failureOf(client.unary({})));
  const error = await failureOf(client.unary({}));
  assert.equal(error.code, "UNAVAILABLE");
  assert.equal(error.reason, "NO_PEER");
  assert.equal(error.reached, "no");
  assert.match(error.text, /10000 calls wait for a peer already/);
  const closed = client.$close({ timeoutMs: 0 });
  const reasons = new Set((await cluster.settle(Promise.all(waiting))).map(({ reason }) => reason));
  await closed;
  assert.deepEqual([...reasons], ["CLIENT_CLOSED"]);
});

test("ten thousand waiting calls end at once when the last hope of a peer has gone", async () => {
  await using cluster = createCluster();
  cluster.simulation.host("gone");
  const client = createClient(Probe, "gone:1", { world: cluster.world, plaintext: true });
  const waiting = Array.from({ length: 10_000 }, () => failureOf(client.unary({})));
  const { value, tookMs } = await timed(cluster, Promise.all(waiting));
  assert.deepEqual([...new Set(value?.map(({ reason }) => reason))], ["CONNECT_FAILED"]);
  assert.ok(tookMs < 100, String(tookMs));
});
