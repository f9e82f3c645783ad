import assert from "node:assert/strict";
import { createCluster } from "holdfast/testing";
import { Probe, probe } from "../../test/simulation/probe-cluster.ts";
import { describe, it } from "node:test";
import { all, Bench, benchServer, startPair } from "../../test/calls/bench-service.ts";
import { assertFails } from "../../test/calls/failure.ts";
import { gate, turns } from "../../test/calls/gate.ts";
import { manualWorld } from "../../test/calls/manual-world.ts";
import { runtimeOf } from "../wire/transport/runtime.ts";
import { createChannel } from "./channel.ts";
import { createClient } from "./create-client.ts";

describe("calls over the peer's limit of streams", () => {
  it("wait for a free one, in their order, and all end", async () => {
    const order: number[] = [];
    await using pair = await startPair(
      { add: ({ a }) => (order.push(a), { result: a }) },
      { server: { limits: { streamsPerConnectionMax: 2 } }, client: { connections: { perPeerMax: 1 } } },
    );
    const numbers = Array.from({ length: 200 }, (_, i) => i);
    const replies = await Promise.all(numbers.map((a) => pair.client.add({ a })));
    assert.deepEqual(
      replies.map(({ result }) => result),
      numbers,
    );
    assert.deepEqual(order, numbers);
  });

  it("are not held up by reply streams, which have their own limit and their own queue", async () => {
    const releases = Array.from({ length: 12 }, () => gate());
    const served: number[] = [];
    const streams: number[] = [];
    const over = gate();
    await using pair = await startPair(
      {
        async add({ a }) {
          served.push(a);
          await releases[a]?.opened;
          return { result: a };
        },
        async *down({ count }) {
          streams.push(count);
          yield {};
          await over.opened;
        },
      },
      {
        isInProcess: true,
        server: { limits: { streamsPerConnectionMax: 8 } },
        client: { connections: { perPeerMax: 1 } },
      },
    );
    const read = async (a: number): Promise<void> => {
      for await (const _ of pair.client.down({ count: a })) continue;
    };
    const reads = Array.from({ length: 6 }, (_, a) => read(a));
    await turns(10);
    const calls = [0, 1].map((a) => pair.client.add({ a }));
    await turns(10);
    reads.push(...Array.from({ length: 40 }, (_, a) => read(6 + a)));
    calls.push(...Array.from({ length: 10 }, (_, a) => pair.client.add({ a: 2 + a })));
    await turns(10);
    assert.deepEqual([streams.length, served], [6, [0, 1]]);
    for (let a = 0; a < 12; a++) {
      releases[a]?.open();
      assert.equal((await Promise.race([calls[a], turns(50)]))?.result, a, `call ${a} still waits`);
    }
    assert.deepEqual(
      served,
      Array.from({ length: 12 }, (_, a) => a),
    );
    assert.deepEqual(streams, [0, 1, 2, 3, 4, 5]);
    over.open();
    await Promise.all(reads);
    assert.deepEqual(
      streams,
      Array.from({ length: 46 }, (_, a) => a),
    );
  });

  it("may be cancelled, pass their deadline or lose their client while they wait; the rest go on", async () => {
    const world = manualWorld();
    const began = gate();
    const release = gate();
    const served: number[] = [];
    await using pair = await startPair(
      {
        async add({ a }) {
          served.push(a);
          if (a === 0) {
            began.open();
            await release.opened;
          }
          return { result: a };
        },
      },
      { isInProcess: true, server: { world, limits: { streamsPerConnectionMax: 1 } }, client: { world } },
    );
    const first = pair.client.add({ a: 0 });
    await began.opened;
    const controller = new AbortController();
    const aborted = assertFails(pair.client.add({ a: 1 }, { signal: controller.signal }), "CANCELLED");
    const late = assertFails(pair.client.add({ a: 2 }, { timeoutMs: 50 }), "DEADLINE_EXCEEDED");
    const patient = pair.client.add({ a: 3 });
    controller.abort();
    assert.equal((await aborted).reached, "no");
    world.advance(60);
    const error = await late;
    assert.equal(error.reached, "no");
    assert.match(error.text, /while no peer was ready|waiting/);
    release.open();
    assert.deepEqual([(await first).result, (await patient).result], [0, 3]);
    assert.deepEqual(served, [0, 3]);
  });

  it("fail after 10 s with what the peers were doing", async () => {
    const world = manualWorld();
    const began = gate();
    await using pair = await startPair(
      {
        add() {
          began.open();
          return new Promise(() => {});
        },
      },
      { isInProcess: true, server: { world, limits: { streamsPerConnectionMax: 1 } }, client: { world } },
    );
    const first = assertFails(pair.client.add({}), "UNAVAILABLE");
    await began.opened;
    const second = assertFails(pair.client.add({}), "UNAVAILABLE");
    world.advance(10_100);
    const error = await second;
    assert.equal(error.reason, "NO_PEER");
    assert.equal(error.reached, "no");
    await pair.client.$close({ timeoutMs: 0 });
    await first;
  });

  it("are refused at once when ten thousand wait already", async () => {
    const world = manualWorld();
    const began = gate();
    await using pair = await startPair(
      {
        add() {
          began.open();
          return new Promise(() => {});
        },
      },
      { isInProcess: true, server: { world, limits: { streamsPerConnectionMax: 1 } }, client: { world } },
    );
    const codes = new Map<string, number>();
    const count = (error: unknown): void => {
      const { reason } = error as { reason: string };
      codes.set(reason, (codes.get(reason) ?? 0) + 1);
    };
    const calls = [pair.client.add({}).catch(count)];
    await began.opened;
    for (let i = 0; i < 10_000; i++) calls.push(pair.client.add({}).catch(count));
    const error = await assertFails(pair.client.add({}), "RESOURCE_EXHAUSTED");
    assert.equal(error.reason, "STREAM_LIMIT");
    assert.equal(error.reached, "no");
    await pair.client.$close({ timeoutMs: 0 });
    await Promise.all(calls);
    assert.deepEqual([codes.get("CLIENT_CLOSED"), codes.get("STREAM_LIMIT")], [10_000, undefined]);
  });
});

describe("a connection that is lost", () => {
  it("is made again for the next call, and the peer's state is seen meanwhile", async () => {
    await using server = benchServer();
    const { port, address } = await server.listen(0);
    await using client = createClient(Bench, address);
    await client.add({});
    assert.equal(client.$channel.peers()[0]?.health, "ready");
    await server.close({ timeoutMs: 0 });
    await assertFails(client.add({}), "UNAVAILABLE");
    await using next = benchServer();
    await next.listen(port);
    await client.$channel.ready();
    assert.equal((await client.add({ a: 1 })).result, 1);
  });

  it("to one of several peers moves its calls to the others", async () => {
    const servers = [benchServer(), benchServer(), benchServer()];
    const addresses = await Promise.all(servers.map(async (server) => (await server.listen(0)).address));
    await using client = createClient(Bench, addresses);
    await Promise.all(Array.from({ length: 30 }, () => client.add({})));
    await servers[0]?.close({ timeoutMs: 0 });
    for (let a = 0; a < 30; a++) assert.equal((await client.add({ a })).result, a);
    await Promise.all(servers.map((server) => server.close({ timeoutMs: 0 })));
  });

  it("under many peers shares calls evenly among those that are ready", async () => {
    const counts = [0, 0, 0, 0];
    const servers = counts.map((_, i) => benchServer({ add: () => (counts[i]!++, {}) }));
    const addresses = await Promise.all(servers.map(async (server) => (await server.listen(0)).address));
    await using client = createClient(Bench, addresses, { balance: "round-robin" });
    await client.$channel.ready();
    while (client.$channel.peers().some(({ health }) => health !== "ready")) await turns(1);
    for (let i = 0; i < 400; i++) await client.add({});
    assert.deepEqual(counts, [100, 100, 100, 100]);
    await Promise.all(servers.map((server) => server.close({ timeoutMs: 0 })));
  });
});

describe("one channel", () => {
  it("carries several clients over one connection to each peer", async () => {
    const peers = new Set<string>();
    await using server = benchServer({ add: (_, call) => (peers.add(call.peer.address), {}) });
    await using channel = createChannel((await server.listen(0)).address);
    const clients = Array.from({ length: 5 }, () => channel.client(Bench));
    await Promise.all(clients.flatMap((client) => [client.add({}), client.add({})]));
    assert.equal(peers.size, 1);
    assert.equal(clients[0]?.$channel, channel);
  });
});

describe("a world's timers", () => {
  it("are all given back when calls, clients and servers have ended", async () => {
    const world = manualWorld();
    const release = gate();
    {
      await using pair = await startPair(
        {
          async *down(_, call) {
            yield {};
            await release.opened;
            call.setTrailer("x-a", "1");
          },
        },
        { isInProcess: true, server: { world }, client: { world } },
      );
      await Promise.all(Array.from({ length: 300 }, (_, a) => pair.client.add({ a }, { timeoutMs: 1_000 + a })));
      const streams = [pair.client.down({}), pair.client.down({}, { timeoutMs: 500 }), pair.client.down({})];
      for await (const _ of streams[2] ?? []) break;
      release.open();
      await Promise.all(streams.slice(0, 2).map((stream) => all(stream)));
    }
    await turns(10);
    assert.equal(runtimeOf(world).wheel.size, 0);
  });
});

describe("calls that wait for the first connections", () => {
  it("are spread over the peers, though one of them is ready a moment before the others", async () => {
    await using cluster = createCluster();
    const servedBy: number[] = [];
    cluster.serve("shop", 4, (server, index) => probe(server, { unary: () => (servedBy.push(index), {}) }));
    cluster.simulation.link("client", "shop/0", { latencyMs: 0.1, jitterMs: 0 });
    const client = cluster.client(Probe, "shop");
    await cluster.settle(Promise.all(Array.from({ length: 80 }, () => client.unary({}))));
    const atFirst = servedBy.filter((index) => index === 0).length;
    assert.ok(atFirst <= 40, `${atFirst} of 80 at the peer that was ready first`);
    assert.equal(new Set(servedBy).size, 4);
  });

  it("do not wait for a peer that is not there: the second look comes after 10 ms", async () => {
    await using cluster = createCluster();
    cluster.serve("shop", 2, (server) => probe(server));
    cluster.simulation.partition("client", "shop/1");
    const client = cluster.client(Probe, "shop");
    const startMs = cluster.simulation.nowMs;
    await cluster.settle(Promise.all(Array.from({ length: 80 }, () => client.unary({}))));
    const tookMs = cluster.simulation.nowMs - startMs;
    assert.ok(tookMs < 20, `${tookMs} ms`);
  });
});
