import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { createClient, createServer } from "holdfast";
import { createCluster } from "holdfast/testing";
import { collect, failureOf, forever, probe, SafeProbe, timed } from "./probe-cluster.ts";
import { playShop } from "./shop-universe.ts";

const program = fileURLToPath(new URL("./shop-universe.ts", import.meta.url));

test("one seed, one universe, with clients and servers in it: twice in this process, and in another", async () => {
  const first = await playShop(7);
  assert.deepEqual(await playShop(7), first);
  const { stdout } = await promisify(execFile)(process.execPath, ["--conditions=holdfast-source", program, "7"]);
  assert.equal(stdout.trim(), first.hash);
});

test("another seed, another universe", async () => {
  const hashes = new Set<string>();
  for (const seed of [1, 2, 3, 4, 5]) hashes.add((await playShop(seed)).hash);
  assert.equal(hashes.size, 5);
});

test("two universes played at the same time do not touch each other", async () => {
  const alone = await playShop(7);
  const [left] = await Promise.all([playShop(7), playShop(8)]);
  assert.equal(left.hash, alone.hash);
});

test("a server of this process is a target: all four kinds, deadline and cancellation, without a socket", async () => {
  await using cluster = createCluster();
  const { world } = cluster;
  const server = probe(createServer({ world }), {
    unary: (request, call) => (request.delayMs > 0 ? forever(request, call) : { body: request.body }),
  });
  const client = createClient(SafeProbe, server, { world });
  const before = cluster.simulation.logLines().length;

  const body = Buffer.alloc(300_000, 7);
  assert.ok(body.equals((await cluster.settle(client.unary({ body }))).body));
  assert.equal((await cluster.settle(collect(client.download({ replyCount: 1000 })))).length, 1000);
  assert.equal((await cluster.settle(client.upload([{}, {}, {}]))).seenCount, 3);
  const chat = await cluster.settle(collect(client.chat([{ body }, { body }])));
  assert.deepEqual(
    chat.map(({ index }) => index),
    [0, 1],
  );
  const late = await timed(cluster, failureOf(client.unary({ delayMs: 1 }, { timeoutMs: 100 })));
  assert.equal(late.value?.reason, "DEADLINE");
  assert.ok(late.tookMs >= 100 && late.tookMs <= 101.01, String(late.tookMs));
  const abort = new AbortController();
  const aborted = failureOf(client.unary({ delayMs: 1 }, { signal: abort.signal }));
  abort.abort();
  assert.equal((await cluster.settle(aborted)).reason, "CANCELLED_BY_CALLER");
  assert.equal(cluster.simulation.logLines().length, before, "the network saw something");

  const running = client.unary({ delayMs: 1 }, { timeoutMs: 5000 });
  const failing = failureOf(running);
  await cluster.advance(1);
  const report = await cluster.settle(server.close({ timeoutMs: 1000 }));
  assert.equal(report.cut.length, 1);
  // It may be repeated, and waits for the server to come back as long as it may.
  const cut = await cluster.settle(failing);
  assert.equal(cut.code, "DEADLINE_EXCEEDED");
  assert.equal(cut.faults[0]?.code, "UNAVAILABLE");
  const { error } = await timed(cluster, client.unary({}));
  assert.equal(error?.code, "UNAVAILABLE");
  assert.equal(error.reached, "no");
  await cluster.settle(client.$close());
});

test("a server of this process holds up a caller that does not read", async () => {
  await using cluster = createCluster();
  const { world } = cluster;
  let yielded = 0;
  const server = probe(createServer({ world }), {
    async *download() {
      for (let index = 0; index < 10_000; index++) {
        yielded += 1;
        yield { index, body: Buffer.alloc(1024) };
      }
    },
  });
  const client = createClient(SafeProbe, server, { world });
  const stream = client.download({})[Symbol.asyncIterator]();
  await cluster.settle(stream.next());
  await cluster.advance(1000);
  assert.ok(yielded <= 70, String(yielded));
  await cluster.settle(Promise.resolve(stream.return?.()));
  assert.equal((await timed(cluster, client.unary({}))).error, undefined);
});
