import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { describe, it } from "node:test";
import { promisify } from "node:util";
import { createChannel, RpcError } from "holdfast";
import type { PeerInit, Resolver } from "holdfast/discover";
import { createCluster } from "holdfast/testing";
import { peersOf, ROUND_TRIP_MS, serveShop } from "../../test/calls/health-shop.ts";
import { pause, Probe, timed } from "../../test/simulation/probe-cluster.ts";
import { runtimeOf } from "../wire/transport/runtime.ts";

const health = { service: "" } as const;

/** Nobody closes the client. The server is in the process, and has no socket that would keep it alive. */
const PROGRAM = `
  import { createClient, createServer } from "holdfast";
  import { HealthBoard } from "./test/calls/health-service.ts";
  import { Bench, benchHandlers } from "./test/calls/bench-service.ts";
  const board = new HealthBoard();
  const server = board.add(createServer({ drain: { signals: [] } }).service(Bench, benchHandlers));
  const client = createClient(Bench, server, { health: { service: "" } });
  await client.add({ a: 1, b: 2 });
  console.log(board.open);
`;

describe("a Watch is no call", () => {
  it("it is not opened where the peer allows one stream, and leaves one where it allows two", async () => {
    for (const [streamsPerConnectionMax, watches] of [
      [1, 0],
      [2, 1],
    ] as const) {
      await using cluster = createCluster();
      const shop = serveShop(cluster, 1, { limits: { streamsPerConnectionMax } });
      const client = cluster.client(Probe, "shop", { health, connections: { perPeerMax: 1 } });
      for (let i = 0; i < 3; i++) await cluster.settle(client.unary({}));
      assert.equal(shop.boards[0]?.open, watches);
      const reply = client.download({})[Symbol.asyncIterator]();
      assert.equal((await cluster.settle(reply.next())).done, false);
      void reply.return?.();
      await cluster.settle(client.$close({ timeoutMs: 0 }));
    }
  });

  it("it is none of the long streams, which may hold three quarters", async () => {
    await using cluster = createCluster();
    serveShop(cluster, 1, { limits: { streamsPerConnectionMax: 8 } });
    const client = cluster.client(Probe, "shop", { health, connections: { perPeerMax: 1 } });
    const streams = Array.from({ length: 8 }, () => client.download({})[Symbol.asyncIterator]());
    const firsts = Promise.all(streams.slice(0, 6).map((stream) => stream.next()));
    for (const stream of streams.slice(6)) void stream.next().catch(() => {});
    await cluster.settle(firsts);
    assert.equal(client.$channel.peers()[0]?.inFlight, 6);
    await cluster.settle(client.unary({}));
    await cluster.settle(client.$close({ timeoutMs: 0 }));
  });

  it("its silence is nobody's fault: no suspicion, no PING, however long", async () => {
    await using cluster = createCluster();
    serveShop(cluster, 1);
    const client = cluster.client(Probe, "shop", { health, connections: { keepaliveMs: 10_000 } });
    const events: string[] = [];
    client.$on("*", ({ name }) => events.push(name));
    await cluster.settle(client.unary({}));
    await cluster.advance(100);
    const [connection] = peersOf(client.$channel)[0]?.link.connections ?? [];
    const heardAtMs = connection?.receivedAtMs;
    events.length = 0;
    await cluster.advance(300_000);
    assert.deepEqual(events, []);
    assert.equal(connection?.receivedAtMs, heardAtMs, "not even an answer to a PING");
    assert.equal(connection?.aside?.stream.isClosed, false);
  });

  it("a connection that has no call beside it is idle, and is checked before the next one", async () => {
    await using cluster = createCluster();
    serveShop(cluster, 1);
    const client = cluster.client(Probe, "shop", { health });
    await cluster.settle(client.unary({}));
    await cluster.advance(60_000);
    assert.ok(Number.isNaN(client.$channel.peers()[0]?.rttMs));
    await cluster.settle(client.unary({}));
    assert.ok((client.$channel.peers()[0]?.rttMs ?? 0) > 0.9);
  });

  it("interceptors, records and counters do not see it", async () => {
    await using cluster = createCluster();
    const boards = serveShop(cluster, 2).boards;
    const seen: string[] = [];
    const client = cluster.client(Probe, "shop", {
      health,
      interceptors: [
        (next) => (call) => {
          seen.push(`call ${call.method.path}`);
          return next(call);
        },
      ],
    });
    client.$on("call.ended", ({ record }) => seen.push(`record ${record.method.path}`));
    client.$on("attempt.ended", ({ code }) => seen.push(`attempt ${code}`));
    await cluster.settle(client.unary({}));
    await cluster.advance(5_000);
    for (const board of boards) board.end(new RpcError("INTERNAL", ""));
    await cluster.advance(5_000);
    assert.deepEqual(
      seen.filter((line) => line.includes("ealth")),
      [],
    );
    assert.deepEqual(
      seen.filter((line) => line.startsWith("attempt")),
      ["attempt OK"],
    );
    assert.deepEqual(
      client.$channel.reliability().map(({ calls }) => calls),
      [1],
    );
    assert.deepEqual(
      boards.map(({ asked }) => asked.length),
      [2, 2],
    );
  });

  it("it ends when the channel closes, gently or not, at every moment of its life, and leaves no timer", async () => {
    for (const untilMs of [0, 1, 2, 3, 4, 50, 500, 1_500, 3_000]) {
      for (const kind of ["answers", "silent", "fails", "ends"]) {
        for (const timeoutMs of [0, 5_000]) {
          await using cluster = createCluster();
          const shop = serveShop(cluster, 2);
          for (const board of shop.boards) {
            board.isSilent = kind === "silent";
            board.failure = kind === "fails" ? new RpcError("UNAVAILABLE", "") : undefined;
          }
          const client = cluster.client(Probe, "shop", { health });
          const call = client.unary({}).catch(() => {});
          await cluster.advance(untilMs);
          if (kind === "ends") for (const board of shop.boards) board.end();
          const closed = client.$close({ timeoutMs });
          await cluster.settle(Promise.all([call, closed]));
          await cluster.advance(1_500);
          const where = `${kind}, closed after ${untilMs} ms, ${timeoutMs}`;
          assert.deepEqual(
            shop.boards.map(({ open }) => open),
            [0, 0],
            where,
          );
          assert.equal(runtimeOf(cluster.world).wheel.size, 0, where);
        }
      }
    }
  });

  it("it ends at once when a channel closes gently, while a call goes on", async () => {
    await using cluster = createCluster();
    const shop = serveShop(cluster, 1);
    const client = cluster.client(Probe, "shop", { health });
    const call = client.unary({ body: Buffer.alloc(1) });
    await cluster.advance(100);
    const closed = client.$close();
    await cluster.advance(ROUND_TRIP_MS);
    assert.equal(shop.boards[0]?.open, 0);
    const { error } = await timed(cluster, call);
    assert.equal(error, undefined);
    await cluster.settle(closed);
  });

  it("it ends when a resolver names its peer no more", async () => {
    await using cluster = createCluster();
    const shop = serveShop(cluster, 2);
    const lists: readonly (readonly PeerInit[])[] = [
      cluster.target("shop").map((address) => ({ address })),
      cluster
        .target("shop")
        .slice(1)
        .map((address) => ({ address })),
    ];
    const resolver: Resolver = {
      name: "scripted",
      async *watch({ world, signal }) {
        for (const list of lists) {
          yield list;
          await pause(world, 1_000, signal);
        }
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
      },
    };
    const channel = createChannel(resolver, { world: cluster.world, plaintext: true, health });
    const client = channel.client(Probe);
    await cluster.settle(client.unary({}));
    await cluster.advance(500);
    // One that is there does not keep the other.
    const streams = [0, 1].map(() => client.download({})[Symbol.asyncIterator]());
    await cluster.settle(Promise.all(streams.map((stream) => stream.next())));
    assert.deepEqual(
      shop.boards.map(({ open }) => open),
      [1, 1],
    );
    await cluster.advance(2_000);
    assert.deepEqual(
      shop.boards.map(({ open }) => open),
      [0, 1],
    );
    for (const stream of streams) void stream.return?.();
    await cluster.settle(channel.close());
  });

  it("it does not keep a process alive", async () => {
    const node = ["--conditions=holdfast-source", "--input-type=module-typescript", "-e", PROGRAM];
    const { stdout } = await promisify(execFile)(process.execPath, node, { timeout: 20_000 });
    assert.equal(stdout, "1\n");
  });
});
