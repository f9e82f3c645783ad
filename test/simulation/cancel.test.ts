import assert from "node:assert/strict";
import { test } from "node:test";
import { createClient } from "holdfast";
import { type Cluster, createCluster } from "holdfast/testing";
import { failureOf, forever, pause, probe, SafeProbe, timed } from "./probe-cluster.ts";

/** A server whose handlers note their end. */
function serveNoting(cluster: Cluster): string[] {
  const notes: string[] = [];
  cluster.serve("shop", 1, (server) =>
    probe(server, {
      unary: async (request, call) => {
        notes.push("begun");
        try {
          return await forever(request, call);
        } finally {
          notes.push(`ended: ${(call.signal.reason as { code?: string } | undefined)?.code}`);
        }
      },
      async *download(_request, call) {
        try {
          for (let index = 0; ; index++) {
            yield { index };
            await pause(cluster.simulation.host("shop/0"), 10, call.signal);
          }
        } finally {
          notes.push(`finally: ${(call.signal.reason as { code?: string } | undefined)?.code}`);
        }
      },
      async upload(requests) {
        try {
          for await (const _ of requests) notes.push("request");
          return {};
        } finally {
          notes.push("reading ended");
        }
      },
    }),
  );
  return notes;
}

test("aborting a signal ends the call at once, and the handler's signal after the way there", async () => {
  await using cluster = createCluster();
  const notes = serveNoting(cluster);
  const client = cluster.client(SafeProbe, "shop");
  const abort = new AbortController();
  const call = failureOf(client.unary({}, { signal: abort.signal }));
  await cluster.advance(50);
  assert.deepEqual(notes, ["begun"]);
  const why = new Error("enough");
  abort.abort(why);
  const { tookMs, value: error } = await timed(cluster, call);
  assert.equal(tookMs, 0);
  assert.equal(error?.code, "CANCELLED");
  assert.equal(error.reason, "CANCELLED_BY_CALLER");
  assert.equal(error.cause, why);
  assert.equal(error.reached, "maybe");
  await cluster.advance(2);
  assert.deepEqual(notes, ["begun", "ended: CANCELLED"]);
});

test("a signal that is aborted already lets nothing leave", async () => {
  await using cluster = createCluster();
  const notes = serveNoting(cluster);
  const client = cluster.client(SafeProbe, "shop");
  const error = await cluster.settle(failureOf(client.unary({}, { signal: AbortSignal.abort("before") })));
  assert.equal(error.reached, "no");
  assert.equal(error.cause, "before");
  await cluster.advance(100);
  assert.deepEqual(notes, []);
});

test("leaving the loop over a reply stream runs the generator's finally", async () => {
  await using cluster = createCluster();
  const notes = serveNoting(cluster);
  const client = cluster.client(SafeProbe, "shop");
  const reading = async (): Promise<void> => {
    for await (const { index } of client.download({})) if (index === 3) break;
  };
  await cluster.settle(reading());
  await cluster.advance(2);
  assert.deepEqual(notes, ["finally: CANCELLED"]);
});

test("cancel gives the reader CANCELLED with the reason, and runs the generator's finally", async () => {
  await using cluster = createCluster();
  const notes = serveNoting(cluster);
  const client = cluster.client(SafeProbe, "shop");
  const stream = client.download({});
  const read = async (): Promise<void> => {
    for await (const { index } of stream) if (index === 3) stream.cancel("seen enough");
  };
  const error = await cluster.settle(failureOf(read()));
  assert.equal(error.code, "CANCELLED");
  assert.equal(error.cause, "seen enough");
  await cluster.advance(2);
  assert.deepEqual(notes, ["finally: CANCELLED"]);
});

test("a caller that dies is noticed: its calls are cancelled at the server", async () => {
  await using cluster = createCluster();
  const notes = serveNoting(cluster);
  const client = cluster.client(SafeProbe, "shop", { host: "laptop" });
  void client.unary({}).catch(() => undefined);
  await cluster.advance(50);
  cluster.simulation.crash("laptop");
  await cluster.advance(5);
  assert.deepEqual(notes, ["begun", "ended: CANCELLED"]);
});

test("cancellation goes down to calls that the handler made", async () => {
  await using cluster = createCluster();
  const ended: string[] = [];
  cluster.serve("store", 1, (server) =>
    probe(server, {
      unary: (request, call) => {
        call.signal.addEventListener("abort", () => ended.push("store"));
        return forever(request, call);
      },
    }),
  );
  cluster.serve("shop", 1, (server) => {
    const store = createClient(SafeProbe, cluster.target("store"), {
      world: cluster.simulation.host("shop/0"),
      plaintext: true,
    });
    return probe(server, {
      unary: async () => {
        const calls = [store.unary({}), store.unary({}), store.unary({})].map((call) => failureOf(call));
        for (const { code } of await Promise.all(calls)) ended.push(code);
        return {};
      },
    });
  });
  const abort = new AbortController();
  const call = failureOf(cluster.client(SafeProbe, "shop").unary({}, { signal: abort.signal }));
  await cluster.advance(50);
  abort.abort();
  await cluster.settle(call);
  await cluster.advance(5);
  assert.deepEqual(ended.sort(), ["CANCELLED", "CANCELLED", "CANCELLED", "store", "store", "store"]);
});

test("a request stream that throws cancels the call, and lets the handler's reading end", async () => {
  await using cluster = createCluster();
  const notes = serveNoting(cluster);
  const client = cluster.client(SafeProbe, "shop");
  const source = async function* (): AsyncGenerator<object> {
    yield {};
    await pause(cluster.world, 20);
    throw new Error("no more");
  };
  const error = await cluster.settle(failureOf(client.upload(source())));
  assert.equal(error.code, "CANCELLED");
  assert.equal((error.cause as Error).message, "no more");
  await cluster.advance(5);
  assert.deepEqual(notes, ["request", "reading ended"]);
});

test("when the call ends, its request stream is let go of", async () => {
  await using cluster = createCluster();
  cluster.serve("shop", 1, (server) => probe(server, { upload: () => ({ seenCount: 7 }) }));
  const client = cluster.client(SafeProbe, "shop");
  let isReturned = false;
  const source = async function* (): AsyncGenerator<object> {
    try {
      for (;;) {
        yield {};
        await pause(cluster.world, 5);
      }
    } finally {
      isReturned = true;
    }
  };
  assert.equal((await cluster.settle(client.upload(source()))).seenCount, 7);
  await cluster.advance(10);
  assert.equal(isReturned, true);
});
