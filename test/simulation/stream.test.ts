import assert from "node:assert/strict";
import { test } from "node:test";
import { RpcError } from "holdfast";
import { createCluster } from "holdfast/testing";
import { collect, failureOf, pause, probe, SafeProbe, timed } from "./probe-cluster.ts";

const kib = 1024;

test("a reply stream that nobody begins to read is cancelled after 30 s, at the server too", async () => {
  await using cluster = createCluster();
  const ended: number[] = [];
  cluster.serve("shop", 1, (server) =>
    probe(server, {
      async *download(_request, call) {
        try {
          for (let index = 0; ; index++) {
            yield { index };
            await pause(cluster.simulation.host("shop/0"), 100, call.signal);
          }
        } finally {
          ended.push(cluster.simulation.nowMs);
        }
      },
    }),
  );
  const client = cluster.client(SafeProbe, "shop");
  const stream = client.download({});
  await cluster.advance(29_990);
  assert.deepEqual(ended, []);
  await cluster.advance(20);
  assert.equal(ended.length, 1);
  let seen = 0;
  const read = async (): Promise<void> => {
    for await (const { index } of stream) assert.equal(index, seen++);
  };
  const error = await cluster.settle(failureOf(read()));
  assert.equal(error.code, "CANCELLED");
  assert.equal(error.reason, "UNREAD");
  assert.ok(seen > 200, `what had come is still read: ${seen}`);
});

test("a reply stream that is read is left alone after 30 s, however slow it is", async () => {
  await using cluster = createCluster();
  cluster.serve("shop", 1, (server) =>
    probe(server, {
      async *download(_request, call) {
        for (let index = 0; index < 5; index++) {
          yield { index };
          await pause(cluster.simulation.host("shop/0"), 25_000, call.signal);
        }
      },
    }),
  );
  const client = cluster.client(SafeProbe, "shop");
  const { value, tookMs } = await timed(cluster, collect(client.download({})));
  assert.equal(value?.length, 5);
  assert.ok(tookMs > 125_000);
});

test("a reply stream whose headers do not come in 30 s fails, read or not", async () => {
  for (const isRead of [true, false]) {
    await using cluster = createCluster();
    // A server of ours says its headers at once, unless an interceptor keeps the Reply back.
    cluster.serve("shop", 1, (server) => probe(server), { interceptors: [() => () => new Promise(() => {})] });
    const client = cluster.client(SafeProbe, "shop");
    const stream = client.download({});
    const reading = isRead ? failureOf(collect(stream)) : undefined;
    await cluster.advance(29_999);
    const { tookMs, value: error } = await timed(cluster, reading ?? failureOf(collect(stream)));
    assert.equal(error?.code, "DEADLINE_EXCEEDED");
    assert.equal(error.reason, "DEADLINE");
    assert.match(error.text, /no headers came within 30000 ms/);
    assert.ok(tookMs <= 2.1, String(tookMs));
  }
});

for (const failsAtMs of [20_000, 40_000]) {
  test(`a reply stream whose first attempt fails ${failsAtMs} ms after its headers has 30 s for those of the next`, async () => {
    await using cluster = createCluster();
    let begun = 0;
    // The first attempt says its headers at once, and fails before its first reply; the second says nothing at all.
    cluster.serve(
      "shop",
      1,
      (server) =>
        probe(server, {
          async *download(_request, call) {
            await pause(cluster.simulation.host("shop/0"), failsAtMs, call.signal);
            yield* [];
            throw new RpcError("UNAVAILABLE", "going away");
          },
        }),
      { interceptors: [(next) => (call) => (++begun === 1 ? next(call) : new Promise(() => {}))] },
    );
    const client = cluster.client(SafeProbe, "shop");
    const { tookMs, error } = await timed(cluster, collect(client.download({})));
    assert.equal(begun, 2);
    assert.equal(error?.code, "DEADLINE_EXCEEDED");
    assert.match(error.text, /no headers came within 30000 ms/);
    assert.ok(tookMs >= failsAtMs + 30_000 && tookMs < failsAtMs + 30_200, String(tookMs));
  });
}

test("a reply stream that nobody reads is cancelled after 30 s also when an attempt of it was replaced", async () => {
  await using cluster = createCluster();
  let begun = 0;
  cluster.serve("shop", 1, (server) =>
    probe(server, {
      async *download(_request, call) {
        begun += 1;
        await pause(cluster.simulation.host("shop/0"), begun === 1 ? 20_000 : 100_000, call.signal);
        yield* [];
        throw new RpcError("UNAVAILABLE", "going away");
      },
    }),
  );
  const client = cluster.client(SafeProbe, "shop");
  const stream = client.download({});
  await cluster.advance(30_010);
  assert.equal(begun, 2);
  const { tookMs, error } = await timed(cluster, collect(stream));
  assert.equal(error?.reason, "UNREAD");
  assert.equal(tookMs, 0);
});

test("a slow reader stops the sender, and other streams of the connection go on", async () => {
  await using cluster = createCluster();
  let yielded = 0;
  let returned = 0;
  cluster.serve("shop", 1, (server) =>
    probe(server, {
      async *download({ replyCount }) {
        try {
          for (let index = 0; index < replyCount; index++) {
            yielded += 1;
            yield { index, body: Buffer.alloc(kib) };
          }
        } finally {
          returned += 1;
        }
      },
    }),
  );
  const client = cluster.client(SafeProbe, "shop");
  const slow = client.download({ replyCount: 10_000 })[Symbol.asyncIterator]();
  assert.equal((await cluster.settle(slow.next())).value?.index, 0);
  await cluster.advance(5000);
  const stalledAt = yielded;
  // One stream's first window is 64 KiB; what waits for it on the sender is one message.
  assert.ok(stalledAt <= 70, `the reader took one message, the sender made ${stalledAt}`);
  await cluster.advance(5000);
  assert.equal(yielded, stalledAt, "nothing flows to a reader that does not read");

  // Others are not held up by it.
  const { tookMs, error } = await timed(cluster, client.unary({ body: Buffer.alloc(200 * kib) }));
  assert.equal(error, undefined);
  assert.ok(tookMs < 100, String(tookMs));
  const quick = await timed(cluster, collect(client.download({ replyCount: 2000 })));
  assert.equal(quick.value?.length, 2000);

  // And it goes on where it stopped.
  for (let index = 1; index < 500; index++) {
    const result = await cluster.settle(slow.next());
    assert.equal(result.value?.index, index);
  }
  assert.ok(yielded > stalledAt);
  await cluster.settle(Promise.resolve(slow.return?.()));
  await cluster.advance(5);
  assert.equal(returned, 2);
});

test("a handler that does not read stops the sender of requests, and other calls go on", async () => {
  await using cluster = createCluster();
  let isReading = false;
  cluster.serve("shop", 1, (server) =>
    probe(server, {
      async upload(requests, call) {
        while (!isReading) await pause(cluster.simulation.host("shop/0"), 10, call.signal);
        let seenCount = 0;
        for await (const _ of requests) seenCount += 1;
        return { seenCount };
      },
    }),
  );
  const client = cluster.client(SafeProbe, "shop");
  let pulled = 0;
  const source = async function* (): AsyncGenerator<{ body: Uint8Array }> {
    for (let index = 0; index < 1000; index++) {
      pulled += 1;
      yield { body: Buffer.alloc(kib) };
    }
  };
  const upload = client.upload(source());
  await cluster.advance(1000);
  const stalledAt = pulled;
  assert.ok(stalledAt > 10 && stalledAt <= 70, `pulled ${stalledAt}`);
  await cluster.advance(1000);
  assert.equal(pulled, stalledAt);
  assert.equal((await timed(cluster, client.unary({}))).error, undefined);
  isReading = true;
  assert.equal((await cluster.settle(upload)).seenCount, 1000);
  assert.equal(pulled, 1000);
});

test("bidi: each request is answered before the next one is made, over a link with loss", async () => {
  await using cluster = createCluster({ seed: 21, link: { lossShare: 0.02, jitterMs: 3 } });
  cluster.serve("shop", 1, (server) => probe(server));
  const client = cluster.client(SafeProbe, "shop");
  let heard = 0;
  let wake: (() => void) | undefined;
  const source = async function* (): AsyncGenerator<{ body: Uint8Array }> {
    for (let index = 0; index < 100; index++) {
      while (heard < index) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      yield { body: Buffer.from(String(index)) };
    }
  };
  const talk = async (): Promise<void> => {
    for await (const { index, body } of client.chat(source())) {
      assert.equal(Buffer.from(body).toString(), String(index));
      heard += 1;
      wake?.();
    }
  };
  await cluster.settle(talk());
  assert.equal(heard, 100);
});

test("bulk flows both ways at once through narrow pipes, whole and in order", async () => {
  await using cluster = createCluster({
    seed: 22,
    link: { bytesPerSecond: 4_000_000, lossShare: 0.001, latencyMs: 10 },
  });
  cluster.serve("shop", 1, (server) => probe(server));
  const client = cluster.client(SafeProbe, "shop");
  const bodies = Array.from({ length: 200 }, (_, index) => Buffer.alloc(20 * kib, index));
  const { value, tookMs } = await timed(cluster, collect(client.chat(bodies.map((body) => ({ body })))));
  assert.equal(value?.length, 200);
  for (const [index, reply] of (value ?? []).entries()) {
    assert.equal(reply.index, index);
    assert.ok(bodies[index]?.equals(reply.body) === true, `message ${index} differs`);
  }
  assert.ok(tookMs > 1000, "4 MB at 4 MB/s cannot take less than a second");
  assert.ok(tookMs < 20_000, String(tookMs));
});

test("one large message of zeros arrives whole: no piece in its middle is taken for a message", async () => {
  // A connection of its own for each: the first windows, before they grow, leave pieces of five bytes.
  for (const size of [5, 100, 65_525, 65_530, 65_535, 70_000, 102_400, 204_800, 1_048_576]) {
    await using cluster = createCluster({ seed: 23 });
    cluster.serve("shop", 1, (server) => probe(server));
    const client = cluster.client(SafeProbe, "shop");
    const reply = await cluster.settle(client.unary({ body: Buffer.alloc(size) }));
    assert.equal(reply.body.length, size);
    const { seenCount } = await cluster.settle(client.upload([{ body: Buffer.alloc(size) }]));
    assert.equal(seenCount, 1);
  }
});
