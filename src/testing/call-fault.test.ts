import assert from "node:assert/strict";
import { test } from "node:test";
import { Calculator } from "../../examples/gen/calc/v1/calc_pb.ts";
import { RpcError } from "../call/error.ts";
import type { Server } from "../server/create-server.ts";
import { type Cluster, createCluster, type Injection } from "./cluster.ts";

const addPath = "/calc.v1.Calculator/Add";

function calculator(server: Server): Server {
  return server.service(Calculator, {
    add: ({ a, b }) => ({ result: a + b }),
    async *count({ to }) {
      for (let value = 0; value < to; value++) yield { value };
    },
  });
}

/** How many of `count` calls end with which code. */
async function tally(cluster: Cluster, count: number): Promise<Readonly<Record<string, number>>> {
  const client = cluster.client(Calculator, "calc");
  await cluster.settle(client.$channel.ready());
  // Until the others are connected as well.
  await cluster.advance(20);
  const codes = await cluster.settle(
    Promise.all(
      Array.from({ length: count }, () =>
        client.add({ a: 1, b: 1 }).then(
          () => "OK",
          (error: unknown) => RpcError.from(error).code,
        ),
      ),
    ),
  );
  return Object.fromEntries(
    [...new Set(codes)].sort().map((code) => [code, codes.filter((one) => one === code).length]),
  );
}

test("a share of calls fails with the code, drawn from the seed", async () => {
  const play = async (seed: number): Promise<number> => {
    await using cluster = createCluster({ seed });
    cluster.serve("calc", 2, calculator);
    cluster.inject({ kind: "fail", code: "ABORTED", share: 0.2 });
    const { ABORTED = 0, OK = 0 } = await tally(cluster, 1000);
    assert.equal(ABORTED + OK, 1000);
    return ABORTED;
  };
  const failed = await play(1);
  assert.ok(failed > 150 && failed < 250, String(failed));
  assert.equal(await play(1), failed);
});

test("only calls of the path and the peer that are meant fail, and only while it holds", async () => {
  await using cluster = createCluster();
  cluster.serve("calc", 2, calculator);
  cluster.inject({ kind: "fail", code: "ABORTED", peer: "calc/1", path: addPath, atMs: 1000, forMs: 1000 });
  assert.deepEqual(await tally(cluster, 10), { OK: 10 });
  await cluster.advance(1000);
  assert.deepEqual(await tally(cluster, 10), { ABORTED: 5, OK: 5 });
  await cluster.advance(1000);
  assert.deepEqual(await tally(cluster, 10), { OK: 10 });
  cluster.inject({ kind: "fail", code: "ABORTED", path: "/calc.v1.Calculator/Count" });
  assert.deepEqual(await tally(cluster, 10), { OK: 10 });
  cluster.inject({ kind: "fail", code: "INTERNAL", path: "/calc.v1.Calculator/" });
  assert.deepEqual(await tally(cluster, 10), { INTERNAL: 10 });
});

test("a delayed handler begins later, and a reply stream too; other calls of the connection do not wait", async () => {
  await using cluster = createCluster();
  cluster.serve("calc", 1, calculator);
  cluster.inject({ kind: "delay", path: "/calc.v1.Calculator/Count", delayMs: 300 });
  const client = cluster.client(Calculator, "calc");
  await cluster.settle(client.add({ a: 1, b: 2 }));
  const startMs = cluster.simulation.nowMs;
  let values = 0;
  const counting = (async () => {
    for await (const _ of client.count({ to: 3 })) values += 1;
  })();
  await cluster.settle(client.add({ a: 1, b: 2 }));
  assert.ok(cluster.simulation.nowMs - startMs < 5);
  assert.equal(values, 0);
  await cluster.settle(counting);
  const tookMs = cluster.simulation.nowMs - startMs;
  assert.equal(values, 3);
  assert.ok(tookMs >= 300 && tookMs < 305, String(tookMs));
});

test("a call that ends while it is delayed never reaches its handler", async () => {
  await using cluster = createCluster();
  let handled = 0;
  cluster.serve("calc", 1, (server) =>
    server.service(Calculator, {
      add: () => {
        handled += 1;
        return { result: 1 };
      },
      async *count() {},
    }),
  );
  cluster.inject({ kind: "delay", path: "/", delayMs: 300 });
  const client = cluster.client(Calculator, "calc");
  const failing = client.add({ a: 1, b: 1 }, { timeoutMs: 100 }).catch((error: unknown) => RpcError.from(error).code);
  assert.equal(await cluster.settle(failing), "DEADLINE_EXCEEDED");
  await cluster.advance(1000);
  assert.equal(handled, 0);
});

test("a handler set with a missing or unknown method is still refused by its name", async () => {
  await using cluster = createCluster();
  cluster.serve("calc", 1, (server) => server.service(Calculator, { add: () => ({ result: 1 }) } as never));
  await assert.rejects(cluster.advance(10), /calc.v1.Calculator needs a handler "count"/);
  cluster.serve("other", 1, (server) => {
    return server.service(Calculator, { add: () => ({ result: 1 }), async *count() {}, divide: () => 1 } as never);
  });
  await assert.rejects(cluster.advance(10), /has no method "divide"/);
});

test("handlers keep their this", async () => {
  await using cluster = createCluster();
  class Handlers {
    readonly #more = 100;
    add({ a, b }: { a: number; b: number }): { result: number } {
      return { result: a + b + this.#more };
    }
    async *count(): AsyncGenerator<{ value: number }> {}
  }
  cluster.serve("calc", 1, (server) => server.service(Calculator, new Handlers()));
  const client = cluster.client(Calculator, "calc");
  assert.equal((await cluster.settle(client.add({ a: 1, b: 2 }))).result, 103);
});

test("refuses what cannot be, at once", async () => {
  await using cluster = createCluster();
  const bad: readonly Injection[] = [
    { kind: "fail", code: "OK" as "ABORTED" },
    { kind: "fail", code: "ABORTED", share: 2 },
    { kind: "fail", code: "ABORTED", atMs: -1 },
    { kind: "fail", code: "ABORTED", path: "Add" },
    { kind: "delay", path: "/", delayMs: -1 },
  ];
  for (const injection of bad) assert.throws(() => cluster.inject(injection), /must be|must begin/);
});
