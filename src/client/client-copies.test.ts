import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { RpcError } from "holdfast";
import { createCluster } from "holdfast/testing";
import { failureOf, forever, pause, Probe, probe, SafeProbe } from "../../test/simulation/probe-cluster.ts";
import type { ProbeHandlers } from "../../test/simulation/probe-cluster.ts";

type Unary = ProbeHandlers["unary"];

/** Replicas that answer after 5 ms until told otherwise, a client of theirs that has learned so, and who was asked what. */
async function learnedCluster(replicas: number, contract: typeof SafeProbe | typeof Probe = SafeProbe) {
  const cluster = createCluster({ seed: 3 });
  const asked: number[] = [];
  const cancelled: number[] = [];
  let special: { readonly index: number; readonly unary: Unary } | undefined;
  cluster.serve("shop", replicas, (server, index) => {
    const world = cluster.simulation.host(`shop/${index}`);
    return probe(server, {
      unary: async (request, call) => {
        asked.push(index);
        call.signal.addEventListener("abort", () => cancelled.push(index));
        if (special?.index === index) return special.unary(request, call);
        await pause(world, 5, call.signal);
        return { body: request.body };
      },
    });
  });
  const client = cluster.client(contract, "shop");
  for (let i = 0; i < 40; i++) await cluster.settle(client.unary({}));
  // Ten at a time, so that it does not take long.
  for (let i = 0; i < 20; i++) await cluster.settle(Promise.all(Array.from({ length: 10 }, () => client.unary({}))));
  asked.length = 0;
  cancelled.length = 0;
  return {
    cluster,
    client,
    asked,
    cancelled,
    /** From now on this replica answers so. */
    set(index: number, unary: Unary): void {
      special = { index, unary };
    },
  };
}

describe("a call whose attempt is overdue", () => {
  it("is copied to another peer, the copy's answer counts, the loser is cancelled, and nobody thinks ill of it", async () => {
    const { cluster, client, asked, cancelled, set } = await learnedCluster(3);
    await using _ = cluster;
    set(1, forever);
    const hedges: number[] = [];
    using _listening = client.$on("hedge", ({ afterMs }) => hedges.push(afterMs));
    let slowest = 0;
    for (let i = 0; i < 12; i++) {
      const startMs = cluster.simulation.nowMs;
      await cluster.settle(client.unary({}, { timeoutMs: 1_000 }));
      slowest = Math.max(slowest, cluster.simulation.nowMs - startMs);
    }
    assert.ok(hedges.length >= 1, "at least one call met the silent peer");
    assert.ok(slowest < 30, `${slowest} ms`);
    assert.ok(
      hedges.every((afterMs) => afterMs >= 2 && afterMs < 20),
      String(hedges),
    );
    assert.deepEqual(new Set(cancelled), new Set([1]));
    assert.equal(asked.filter((index) => index === 1).length, hedges.length);
    const { failures, saved } = client.$channel.reliability()[0] ?? {};
    assert.deepEqual([failures, saved?.hedge], [0, hedges.length]);
  });

  it("is not copied when its method may not run twice", async () => {
    const { cluster, client, asked, set } = await learnedCluster(2, Probe);
    await using _ = cluster;
    set(0, forever);
    for (let i = 0; i < 4; i++) await failureOf(cluster.settle(client.unary({}, { timeoutMs: 200 }))).catch(() => {});
    assert.equal(asked.length, 4);
  });

  it("is copied though all became slow and copies stand down, once its own peer is silent", async () => {
    const cluster = createCluster({ seed: 3 });
    await using _ = cluster;
    let tookMs = 5;
    const asked: number[] = [];
    cluster.serve("shop", 3, (server, index) =>
      probe(server, {
        unary: async ({ body }, call) => {
          asked.push(index);
          await pause(cluster.simulation.host(`shop/${index}`), tookMs, call.signal);
          return { body };
        },
      }),
    );
    const client = cluster.client(SafeProbe, "shop");
    const together = () => cluster.settle(Promise.all(Array.from({ length: 10 }, () => client.unary({}))));
    for (let i = 0; i < 40; i++) await together();
    tookMs = 40;
    for (let i = 0; i < 50; i++) await together();
    const values = () => client.$explain("unary").layers.flatMap((layer) => layer.values);
    assert.ok(
      values().some(({ value }) => value === "standing down"),
      "all became slow",
    );
    cluster.inject({ kind: "freeze", peer: "shop/1", atMs: 0 });
    const copied: number[] = [];
    using _listening = client.$on("hedge", ({ afterMs }) => copied.push(afterMs));
    const ends = await cluster.settle(
      Promise.allSettled(Array.from({ length: 9 }, () => client.unary({}, { timeoutMs: 1_000 }))),
    );
    assert.deepEqual(
      ends.filter(({ status }) => status === "rejected"),
      [],
    );
    assert.ok(copied.length > 0, "some call was on its way to the silent peer");
    assert.ok(
      Math.min(...copied) >= 300,
      `before its peer was silent for long nothing was copied: ${copied.join(", ")}`,
    );
  });

  it("is copied when half of its time is gone and its peer is silent, though its method has been slower than its deadline", async () => {
    const cluster = createCluster({ seed: 3 });
    await using _ = cluster;
    let tookMs = 900;
    cluster.serve("shop", 3, (server, index) =>
      probe(server, {
        unary: async ({ body }, call) => {
          await pause(cluster.simulation.host(`shop/${index}`), tookMs, call.signal);
          return { body };
        },
      }),
    );
    const client = cluster.client(SafeProbe, "shop");
    const together = () => cluster.settle(Promise.all(Array.from({ length: 50 }, () => client.unary({}))));
    for (let i = 0; i < 4; i++) await together();
    tookMs = 5;
    for (let i = 0; i < 4; i++) await together();
    cluster.inject({ kind: "freeze", peer: "shop/1", atMs: 0 });
    const copied: number[] = [];
    using _listening = client.$on("hedge", ({ afterMs }) => copied.push(afterMs));
    const ends = await cluster.settle(
      Promise.allSettled(Array.from({ length: 9 }, () => client.unary({}, { timeoutMs: 1_000 }))),
    );
    assert.deepEqual(
      ends.filter(({ status }) => status === "rejected"),
      [],
    );
    assert.ok(copied.length > 0, "some call was on its way to the silent peer");
    assert.ok(Math.min(...copied) >= 500, `not before half of its time: ${copied.join(", ")}`);
  });

  it("awaits the one in flight when the first to finish failed", async () => {
    const { cluster, client, set } = await learnedCluster(2);
    await using _ = cluster;
    const world = cluster.simulation.host("shop/0");
    set(0, async (_request, call) => {
      await pause(world, 12, call.signal);
      throw new RpcError("UNAVAILABLE", "in the middle of it");
    });
    for (let i = 0; i < 10; i++) await cluster.settle(client.unary({}, { timeoutMs: 1_000 }));
    const [row] = client.$channel.reliability();
    assert.equal(row?.failures, 0);
  });

  it("ends with the answer that another server would give too, whatever is in flight", async () => {
    const { cluster, client, set } = await learnedCluster(2);
    await using _ = cluster;
    const world = cluster.simulation.host("shop/0");
    set(0, async (_request, call) => {
      await pause(world, 9, call.signal);
      throw new RpcError("NOT_FOUND", "no such thing");
    });
    const codes = new Set<string>();
    for (let i = 0; i < 10; i++) {
      await cluster.settle(client.unary({}, { timeoutMs: 1_000 })).then(
        () => codes.add("OK"),
        (error: RpcError) => codes.add(error.code),
      );
    }
    assert.ok(codes.has("OK"));
    assert.deepEqual(
      [...codes].filter((code) => code !== "OK" && code !== "NOT_FOUND"),
      [],
    );
  });

  it("costs at most 2 % however long its peer is silent", async () => {
    const { cluster, client, asked, set } = await learnedCluster(5);
    await using _ = cluster;
    set(2, forever);
    let calls = 0;
    for (let i = 0; i < 150; i++) {
      calls += 10;
      const ten = Array.from({ length: 10 }, () => client.unary({}, { timeoutMs: 300 }).catch(() => {}));
      await cluster.settle(Promise.all(ten));
    }
    const [row] = client.$channel.reliability();
    assert.ok(asked.length - calls <= 0.02 * (calls + 240) + 2, `${asked.length - calls} more than ${calls}`);
    assert.ok((row?.saved.hedge ?? 0) >= 1);
  });
});
