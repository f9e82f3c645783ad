import assert from "node:assert/strict";
import { test } from "node:test";
import { createClient, currentCall, within } from "holdfast";
import { createCluster } from "holdfast/testing";
import type { Listener, ListenRequest } from "../../src/world/network.ts";
import type { World } from "../../src/world/world.ts";
import { collect, failureOf, forever, pause, Probe, probe, SafeProbe, timed } from "./probe-cluster.ts";

/** Deadlines lie in a wheel of milliseconds: at most one late, never early. */
function isAt(tookMs: number, dueMs: number): void {
  assert.ok(tookMs >= dueMs && tookMs <= dueMs + 1.01, `${tookMs} ms, due at ${dueMs} ms`);
}

/** Accepts connections and never says a word. */
function mute(world: World): Promise<Listener> {
  const silent = { opened() {}, data() {}, drained() {}, ended() {}, closed() {} };
  const request: ListenRequest = {
    address: { kind: "tcp", host: "0.0.0.0", port: 1 },
    tls: undefined,
    alpn: [],
    handshakeTimeoutMs: 1000,
    accept: () => silent,
    failed() {},
  };
  return world.network.listen(request);
}

test("fires at its time while no peer is ready, and the call was not sent", async () => {
  await using cluster = createCluster();
  cluster.simulation.boot("mute", mute);
  const client = createClient(Probe, "mute:1", { world: cluster.world, plaintext: true });
  const { tookMs, error } = await timed(cluster, client.unary({}, { timeoutMs: 777 }));
  isAt(tookMs, 777);
  assert.equal(error?.code, "DEADLINE_EXCEEDED");
  assert.equal(error.reason, "DEADLINE");
  assert.equal(error.reached, "no");
  assert.match(error.text, /while no peer was ready/);
});

test("fires at its time while the handler runs, and the handler's signal at the server's own time", async () => {
  await using cluster = createCluster();
  const aborted: { readonly atMs: number; readonly code: unknown }[] = [];
  cluster.serve("shop", 1, (server) =>
    probe(server, {
      unary: (request, call) => {
        call.signal.addEventListener("abort", () => {
          const { code } = call.signal.reason as { readonly code?: unknown };
          aborted.push({ atMs: cluster.simulation.nowMs, code });
        });
        return forever(request, call);
      },
    }),
  );
  const client = cluster.client(SafeProbe, "shop");
  await cluster.settle(client.upload([]));
  const startMs = cluster.simulation.nowMs;
  const { tookMs, error } = await timed(cluster, client.unary({}, { timeoutMs: 250 }));
  isAt(tookMs, 250);
  assert.equal(error?.reason, "DEADLINE");
  assert.equal(error.reached, "maybe");
  assert.match(error.text, /while waiting for 10\.0\.0\.\d+:50051/);
  await cluster.advance(10);
  assert.equal(aborted.length, 1);
  // Either the server's own clock came first, or the caller's RST_STREAM.
  assert.ok(["DEADLINE_EXCEEDED", "CANCELLED"].includes(String(aborted[0]?.code)));
  assert.ok((aborted[0]?.atMs ?? 0) - startMs <= 253, String((aborted[0]?.atMs ?? 0) - startMs));
});

test("fires at its time while replies arrive, after those that have come", async () => {
  await using cluster = createCluster();
  cluster.serve("shop", 1, (server) =>
    probe(server, {
      async *download(_request, call) {
        for (let index = 0; ; index++) {
          yield { index };
          await pause(cluster.simulation.host("shop/0"), 40, call.signal);
        }
      },
    }),
  );
  const client = cluster.client(SafeProbe, "shop");
  let seen = 0;
  const reading = async (): Promise<void> => {
    for await (const { index } of client.download({}, { timeoutMs: 205 })) assert.equal(index, seen++);
  };
  const { tookMs, error } = await timed(cluster, reading());
  isAt(tookMs, 205);
  assert.equal(error?.reason, "DEADLINE");
  assert.equal(error.reached, "yes");
  assert.match(error.text, /while 10\.0\.0\.\d+:50051 was answering/);
  assert.ok(seen >= 5, String(seen));
});

test("fires at its time when the server is frozen: its kernel's silence is not waited for", async () => {
  await using cluster = createCluster();
  cluster.serve("shop", 1, (server) => probe(server));
  const client = cluster.client(SafeProbe, "shop");
  await cluster.settle(client.unary({}));
  cluster.simulation.freeze("shop/0");
  const { tookMs, error } = await timed(cluster, client.unary({}, { timeoutMs: 500 }));
  isAt(tookMs, 500);
  assert.equal(error?.reason, "DEADLINE");
  cluster.simulation.thaw("shop/0");
  assert.ok(await cluster.settle(client.unary({}, { timeoutMs: 500 })), "what thawed answers again");
});

test("a call that ends in one reply has 30 s where nobody says otherwise, a reply stream as long as it likes", async () => {
  await using cluster = createCluster();
  cluster.serve("shop", 1, (server) =>
    probe(server, {
      unary: forever,
      async *download(_request, call) {
        yield { index: 0 };
        await pause(cluster.simulation.host("shop/0"), 3_600_000, call.signal);
        yield { index: 1 };
      },
    }),
  );
  const client = cluster.client(SafeProbe, "shop");
  const stream = collect(client.download({}));
  const { tookMs } = await timed(cluster, failureOf(client.unary({})));
  isAt(tookMs, 30_000);
  await cluster.advance(3_600_000);
  assert.equal((await cluster.settle(stream)).length, 2);
});

test("a nested call has what is left of its parent's deadline, less 5 ms; so has the one below", async () => {
  await using cluster = createCluster();
  const left: number[] = [];
  const world = (name: string): World => cluster.simulation.host(name);
  cluster.serve("store", 1, (server) =>
    probe(server, {
      unary: (request, call) => {
        left.push(call.deadline.remainingMs());
        return forever(request, call);
      },
    }),
  );
  const failures: unknown[] = [];
  cluster.serve("shop", 1, (server) => {
    const store = createClient(SafeProbe, cluster.target("store"), { world: world("shop/0"), plaintext: true });
    return probe(server, {
      unary: async (_request, call) => {
        left.push(call.deadline.remainingMs());
        assert.equal(currentCall()?.id, call.id);
        await pause(world("shop/0"), 100);
        // It asks for more than there is.
        return await store.unary({}, { timeoutMs: 60_000 }).catch((error: unknown) => {
          failures.push(error);
          throw error;
        });
      },
    });
  });
  const client = cluster.client(SafeProbe, "shop");
  await cluster.settle(client.upload([]));
  const { tookMs, error } = await timed(cluster, client.unary({}, { timeoutMs: 1000 }));
  // The nested call ends 5 ms before the outer one, which is time for the answer to come back.
  assert.equal(error?.code, "DEADLINE_EXCEEDED");
  assert.equal(error.reason, undefined);
  assert.ok(tookMs >= 995 && tookMs < 1000, String(tookMs));
  assert.equal(failures.length, 1);
  const [outer = 0, inner = 0] = left;
  assert.ok(outer > 998 && outer <= 1000, String(outer));
  assert.ok(inner > 892 && inner <= 895, String(inner));
});

test("an inherited deadline that leaves no time fails the nested call at once, unsent", async () => {
  await using cluster = createCluster();
  cluster.serve("store", 1, (server) => probe(server));
  cluster.serve("shop", 1, (server) => {
    const store = createClient(SafeProbe, cluster.target("store"), {
      world: cluster.simulation.host("shop/0"),
      plaintext: true,
    });
    return probe(server, {
      unary: async (_request, call) => {
        await pause(cluster.simulation.host("shop/0"), call.deadline.remainingMs() - 4);
        const error = await failureOf(store.unary({}));
        return { body: Buffer.from(`${error.code} ${error.reason} ${error.reached}`) };
      },
    });
  });
  const client = cluster.client(SafeProbe, "shop");
  const reply = await cluster.settle(client.unary({}, { timeoutMs: 300 }));
  assert.equal(Buffer.from(reply.body).toString(), "DEADLINE_EXCEEDED DEADLINE no");
});

test("within bounds calls by the clock of the world they are made in", async () => {
  await using cluster = createCluster();
  cluster.serve("store", 1, (server) => probe(server, { unary: forever }));
  cluster.serve("shop", 1, (server) => {
    const store = createClient(SafeProbe, cluster.target("store"), {
      world: cluster.simulation.host("shop/0"),
      plaintext: true,
    });
    return probe(server, {
      unary: async () => {
        const error = await failureOf(within({ timeoutMs: 50 }, () => store.unary({})));
        return { body: Buffer.from(String(error.code)) };
      },
    });
  });
  const client = cluster.client(SafeProbe, "shop");
  const { value, tookMs } = await timed(cluster, client.unary({}, { timeoutMs: 1000 }));
  assert.equal(Buffer.from(value?.body ?? "").toString(), "DEADLINE_EXCEEDED");
  assert.ok(tookMs < 100, String(tookMs));
});
