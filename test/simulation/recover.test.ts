import assert from "node:assert/strict";
import { test } from "node:test";
import { type Cluster, createCluster } from "holdfast/testing";
import { failureOf, forever, pause, Probe, probe, SafeProbe, timed } from "./probe-cluster.ts";

interface Tally {
  ok: number;
  recovered: number;
  readonly failures: Error[];
}

/** Three replicas whose calls take 20 ms. */
function serveSlowly(cluster: Cluster, replicas = 3): void {
  cluster.serve("shop", replicas, (server, index) => {
    return probe(server, {
      unary: async ({ body }, call) => {
        await pause(cluster.simulation.host(`shop/${index}`), 20, call.signal);
        return { body };
      },
    });
  });
}

/** Keeps `inFlight` calls going for so long. */
async function load(
  cluster: Cluster,
  call: (onAttempts: (attempts: number) => void) => Promise<unknown>,
  inFlight: number,
  forMs: number,
): Promise<Tally> {
  const tally: Tally = { ok: 0, recovered: 0, failures: [] };
  const endMs = cluster.simulation.nowMs + forMs;
  const worker = async (): Promise<void> => {
    while (cluster.simulation.nowMs < endMs) {
      let attempts = 0;
      try {
        await call((count) => {
          attempts = count;
        });
        tally.ok += 1;
        if (attempts > 1) tally.recovered += 1;
      } catch (error) {
        tally.failures.push(error as Error);
        // Else a failure without any wait would be repeated in the same instant for ever.
        await pause(cluster.world, 1);
      }
    }
  };
  await cluster.settle(Promise.all(Array.from({ length: inFlight }, worker)), { limitMs: forMs + 120_000 });
  return tally;
}

test("calls of effect none survive the crash of one of three servers: none fails, some are recovered", async () => {
  await using cluster = createCluster({ seed: 11 });
  serveSlowly(cluster);
  const client = cluster.client(SafeProbe, "shop");
  cluster.inject({ kind: "crash", peer: "shop/1", atMs: 1005, forMs: 2000 });
  const tally = await load(
    cluster,
    (seen) => client.unary({}, { onReply: ({ attempts }) => seen(attempts) }),
    64,
    6000,
  );
  assert.deepEqual(tally.failures.slice(0, 3).map(String), []);
  assert.ok(tally.ok > 10_000, String(tally.ok));
  assert.ok(tally.recovered > 0, "the crash met no call");
});

test("a machine that loses power under calls is survived too, when its silence is noticed", async () => {
  await using cluster = createCluster({ seed: 12 });
  serveSlowly(cluster);
  const client = cluster.client(SafeProbe, "shop", {
    connections: { keepaliveMs: 10_000 },
    policy: { timeoutMs: 60_000 },
  });
  cluster.inject({ kind: "crash", peer: "shop/1", atMs: 1005, isMachine: true });
  const tally = await load(cluster, (seen) => client.unary({}, { onReply: ({ attempts }) => seen(attempts) }), 8, 2000);
  assert.deepEqual(tally.failures.map(String), []);
  assert.ok(tally.recovered > 0);
});

test("calls of effect unknown that a crash met fail, and say that they may have been done", async () => {
  await using cluster = createCluster({ seed: 13 });
  serveSlowly(cluster);
  const client = cluster.client(Probe, "shop");
  cluster.inject({ kind: "crash", peer: "shop/1", atMs: 1005, forMs: 2000 });
  const tally = await load(
    cluster,
    (seen) => client.unary({}, { onReply: ({ attempts }) => seen(attempts) }),
    64,
    6000,
  );
  assert.ok(tally.failures.length > 0, "the crash met no call");
  assert.ok(tally.failures.length <= 64, "only what was on the dead server's connection fails");
  for (const failed of tally.failures) {
    const error = await failureOf(Promise.reject(failed));
    assert.equal(error.code, "UNAVAILABLE");
    assert.equal(error.reason, "CONNECTION_LOST");
    assert.equal(error.reached, "maybe");
    assert.equal(error.isRepeatable, false);
    assert.equal(error.faults.length, 1);
  }
});

test("a call that never left goes elsewhere, whatever its effect: one peer of two is not there", async () => {
  await using cluster = createCluster({ seed: 14 });
  serveSlowly(cluster, 2);
  cluster.inject({ kind: "crash", peer: "shop/0" });
  await cluster.advance(10);
  const client = cluster.client(Probe, "shop");
  const calls = Array.from({ length: 20 }, () => client.unary({}));
  const { error, tookMs } = await timed(cluster, Promise.all(calls));
  assert.equal(error, undefined);
  assert.ok(tookMs < 100, String(tookMs));
});

test("a server that closes while calls run loses none, of whatever effect, and reports none as cut", async () => {
  await using cluster = createCluster({ seed: 15 });
  serveSlowly(cluster);
  const client = cluster.client(Probe, "shop");
  const loading = load(cluster, (seen) => client.unary({}, { onReply: ({ attempts }) => seen(attempts) }), 64, 9000);
  await cluster.advance(1005);
  const report = await cluster.settle(cluster.server("shop", 1)?.close() ?? Promise.reject(new Error("no server")));
  const tally = await loading;
  assert.deepEqual(tally.failures.slice(0, 3).map(String), []);
  assert.deepEqual(report.cut, []);
  assert.ok(report.finished > 0);
  assert.ok(
    report.tookMs >= 5000 && report.tookMs < 5100,
    `five seconds of notice, then 20 ms of calls: ${report.tookMs}`,
  );
});

test("rolling restarts of all servers lose no call, of whatever effect", async () => {
  await using cluster = createCluster({ seed: 16 });
  serveSlowly(cluster);
  const client = cluster.client(Probe, "shop");
  const loading = load(cluster, () => client.unary({}), 32, 40_000);
  for (let index = 0; index < 3; index++) {
    await cluster.advance(3000);
    const server = cluster.server("shop", index);
    assert.ok(server !== undefined);
    await cluster.settle(server.close());
    cluster.simulation.crash(`shop/${index}`);
    await cluster.advance(500);
    cluster.simulation.restart(`shop/${index}`);
  }
  const tally = await loading;
  assert.deepEqual(tally.failures.slice(0, 3).map(String), []);
  assert.ok(tally.ok > 10_000, String(tally.ok));
});

test("calls wait for the next dial of the only peer when that has said goodbye a moment after it was dialled", async () => {
  await using cluster = createCluster({ seed: 18 });
  cluster.serve("shop", 1, (server) => probe(server), { drain: { propagationMs: 0 } });
  const client = cluster.client(Probe, "shop");
  await cluster.settle(client.unary({}));
  await cluster.advance(200);
  await cluster.settle(cluster.server("shop", 0)?.close() ?? Promise.reject(new Error("no server")));
  cluster.simulation.crash("shop/0");
  const call = timed(cluster, client.unary({}));
  await cluster.advance(100);
  cluster.simulation.restart("shop/0");
  const { tookMs, error } = await call;
  assert.equal(error, undefined);
  assert.ok(tookMs < 1200, String(tookMs));
});

test("an error after several attempts does not claim that none of them reached a handler", async () => {
  await using cluster = createCluster({ seed: 17 });
  // The second does not know the service, which it says with the mark that no handler ran.
  cluster.serve("shop", 2, (server, index) => (index === 0 ? probe(server, { unary: forever }) : server));
  const client = cluster.client(SafeProbe, "shop");
  const call = failureOf(client.unary({}));
  cluster.inject({ kind: "crash", peer: "shop/0", atMs: 100 });
  const error = await cluster.settle(call);
  assert.equal(error.code, "UNIMPLEMENTED");
  assert.equal(error.reached, "maybe");
});
