import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createChannel, RpcError } from "holdfast";
import type { PeerInit, Resolver } from "holdfast/discover";
import { type Cluster, createCluster } from "holdfast/testing";
import { HealthBoard, ServingStatus } from "../../test/calls/health-service.ts";
import { failureOf, forever, pause, Probe, probe, timed } from "../../test/simulation/probe-cluster.ts";
import type { ServerOptions } from "../server/options.ts";
import { runtimeOf } from "../wire/transport/runtime.ts";
import { type Channel, HoldfastChannel } from "./channel.ts";
import type { ClientPeer } from "./client-peer.ts";

const { SERVING, NOT_SERVING, SERVICE_UNKNOWN, UNKNOWN } = ServingStatus;
/** In turn, so that a few calls show who is picked. */
const balance = "round-robin" as const;
const health = { service: "" } as const;
/** There and back in a cluster, and a little. */
const ROUND_TRIP_MS = 3;

interface Shop {
  readonly boards: readonly HealthBoard[];
  /** Which replica served each call. */
  readonly servedBy: number[];
}

/** Replicas with a health service each. */
function serveShop(cluster: Cluster, replicas: number, options?: Omit<ServerOptions, "world">): Shop {
  const boards = Array.from({ length: replicas }, () => new HealthBoard());
  const servedBy: number[] = [];
  cluster.serve(
    "shop",
    replicas,
    (server, index) => {
      const unary = async ({ body }: { body: Uint8Array }, call: { signal: AbortSignal }) => {
        servedBy.push(index);
        if (body.length > 0) await pause(cluster.simulation.host(`shop/${index}`), 500, call.signal);
        return {};
      };
      probe(server, {
        unary,
        async *download(request, call) {
          yield {};
          await forever(request, call);
        },
      });
      return (boards[index] as HealthBoard).add(server);
    },
    options,
  );
  return { boards, servedBy };
}

function peersOf(channel: Channel): readonly ClientPeer[] {
  assert.ok(channel instanceof HoldfastChannel);
  return channel.core.peers;
}

/** Peers that serve calls made one after the other. */
async function servers(cluster: Cluster, call: () => Promise<unknown>, { servedBy }: Shop): Promise<readonly number[]> {
  servedBy.length = 0;
  for (let i = 0; i < 30; i++) await cluster.settle(call());
  return [...new Set(servedBy)].sort((a, b) => a - b);
}

describe("a peer that says how it is", () => {
  it("gets no call from one round trip after NOT_SERVING on, and its share again after SERVING", async () => {
    for (const seed of [1, 2, 3, 4, 5]) {
      await using cluster = createCluster({ seed });
      const shop = serveShop(cluster, 3);
      const client = cluster.client(Probe, "shop", { health, balance });
      const call = () => client.unary({});
      await cluster.settle(call());
      await cluster.advance(ROUND_TRIP_MS);
      for (const status of [NOT_SERVING, SERVICE_UNKNOWN, UNKNOWN, 77 as ServingStatus]) {
        assert.deepEqual(await servers(cluster, call, shop), [0, 1, 2], `seed ${seed}`);
        shop.boards[1]?.say(status);
        await cluster.advance(ROUND_TRIP_MS);
        assert.deepEqual(await servers(cluster, call, shop), [0, 2], `seed ${seed}, status ${status}`);
        shop.boards[1]?.say(SERVING);
        await cluster.advance(ROUND_TRIP_MS);
        assert.equal(client.$channel.peers()[1]?.health, "ready");
        // Its share comes back step by step.
        await cluster.advance(5_000);
      }
    }
  });

  it("finishes the calls that it has", async () => {
    await using cluster = createCluster();
    const shop = serveShop(cluster, 1);
    const client = cluster.client(Probe, "shop", { health, balance });
    const call = client.unary({ body: Buffer.alloc(1) });
    await cluster.advance(100);
    assert.deepEqual(shop.servedBy, [0]);
    shop.boards[0]?.say(NOT_SERVING);
    await cluster.settle(call);
    assert.deepEqual(shop.servedBy, [0]);
  });

  it("is named in peers(), in events and in the error of a call that finds nobody", async () => {
    await using cluster = createCluster();
    const shop = serveShop(cluster, 2);
    const client = cluster.client(Probe, "shop", { health: { service: "shop.v1.Shop" } });
    const seen: string[] = [];
    client.$on("peer.changed", ({ peer, health: word, why }) => seen.push(`${peer.id.split(":")[0]} ${word}: ${why}`));
    shop.boards[0]?.say(SERVICE_UNKNOWN);
    await cluster.settle(client.unary({}));
    await cluster.advance(ROUND_TRIP_MS);
    assert.deepEqual(
      shop.boards.map(({ asked }) => asked),
      [["shop.v1.Shop"], ["shop.v1.Shop"]],
    );
    const why = "its health service says SERVICE_UNKNOWN of shop.v1.Shop";
    assert.deepEqual(
      client.$channel.peers().map((peer) => [peer.health, peer.why]),
      [
        ["not-serving", why],
        ["ready", "ready"],
      ],
    );
    assert.ok(seen.includes(`10.0.0.1 not-serving: ${why}`), seen.join("\n"));
    cluster.simulation.crash("shop/1");
    shop.boards[0]?.say(SERVING);
    await cluster.advance(20);
    assert.ok(seen.includes("10.0.0.1 ready: ready"), seen.join("\n"));
  });

  it("that says nothing yet is connecting: a call waits for its first word", async () => {
    await using cluster = createCluster();
    const shop = serveShop(cluster, 1);
    const client = cluster.client(Probe, "shop", { health, balance });
    const { tookMs } = await timed(cluster, client.unary({}));
    // Connect, SETTINGS, Watch, and the call.
    assert.ok(tookMs < 6, String(tookMs));
    assert.equal(shop.boards[0]?.open, 1);
  });

  it("that never says anything counts as serving after a second, for calls and for ready()", async () => {
    await using cluster = createCluster();
    const shop = serveShop(cluster, 2);
    for (const board of shop.boards) board.isSilent = true;
    const client = cluster.client(Probe, "shop", { health, balance });
    const ready = timed(cluster, client.$channel.ready());
    const call = timed(cluster, client.unary({}));
    await cluster.advance(900);
    assert.deepEqual(
      client.$channel.peers().map((peer) => [peer.health, peer.why]),
      Array.from({ length: 2 }, () => ["connecting", "its health service has not answered yet"]),
    );
    for (const { error, tookMs } of [await ready, await call]) {
      assert.equal(error, undefined);
      assert.ok(tookMs > 990 && tookMs < 1_020, String(tookMs));
    }
    assert.match(client.$channel.peers()[0]?.why ?? "", /^ready; its health service has not answered for 1\d\d\d ms$/);
    assert.deepEqual(
      shop.boards.map(({ open }) => open),
      [1, 1],
      "they may still say it",
    );
  });

  it("fails a call that does not wait as long as nobody has said that it serves", async () => {
    await using cluster = createCluster();
    const shop = serveShop(cluster, 1);
    for (const board of shop.boards) board.isSilent = true;
    const client = cluster.client(Probe, "shop", { health, policy: { mode: "failfast" } });
    void client.$channel.ready().catch(() => {});
    await cluster.advance(100);
    const error = await failureOf(client.unary({}));
    assert.equal(error.reason, "NO_PEER");
    assert.match(error.text, /connecting \(its health service has not answered yet\)/);
  });
});

describe("NOT_SERVING of more than half of the connected peers", () => {
  it("is forgotten: calls flow, and peers() still says what they said", async () => {
    await using cluster = createCluster();
    const shop = serveShop(cluster, 4);
    const client = cluster.client(Probe, "shop", { health, balance });
    const call = () => client.unary({});
    await cluster.settle(call());
    await cluster.advance(ROUND_TRIP_MS);
    shop.boards[0]?.say(NOT_SERVING);
    shop.boards[1]?.say(NOT_SERVING);
    await cluster.advance(ROUND_TRIP_MS);
    assert.deepEqual(await servers(cluster, call, shop), [2, 3], "half is not more than half");
    shop.boards[2]?.say(NOT_SERVING);
    await cluster.advance(6_000);
    assert.deepEqual(await servers(cluster, call, shop), [0, 1, 2, 3]);
    const said = "its health service says NOT_SERVING; called all the same, for more than half say so";
    assert.deepEqual(
      client.$channel.peers().map((peer) => [peer.health, peer.why]),
      [...Array.from({ length: 3 }, () => ["not-serving", said]), ["ready", "ready"]],
    );
    shop.boards[1]?.say(SERVING);
    await cluster.advance(6_000);
    assert.deepEqual(await servers(cluster, call, shop), [1, 3], "they are believed again");
  });

  it("does not stop the calls of one peer alone, nor of all", async () => {
    for (const replicas of [1, 2, 5]) {
      await using cluster = createCluster();
      const shop = serveShop(cluster, replicas);
      for (const board of shop.boards) board.say(NOT_SERVING);
      const client = cluster.client(Probe, "shop", { health, balance });
      const { error, tookMs } = await timed(cluster, client.unary({}));
      assert.equal(error, undefined);
      assert.ok(tookMs < 10, String(tookMs));
    }
  });

  it("counts the connected: those that are down have no vote", async () => {
    await using cluster = createCluster();
    const shop = serveShop(cluster, 5);
    const client = cluster.client(Probe, "shop", { health, balance });
    const call = () => client.unary({});
    await cluster.settle(call());
    await cluster.advance(ROUND_TRIP_MS);
    shop.boards[0]?.say(NOT_SERVING);
    shop.boards[1]?.say(NOT_SERVING);
    await cluster.advance(ROUND_TRIP_MS);
    assert.deepEqual(await servers(cluster, call, shop), [2, 3, 4]);
    cluster.simulation.crash("shop/2");
    cluster.simulation.crash("shop/3");
    await cluster.advance(6_000);
    assert.deepEqual(await servers(cluster, call, shop), [0, 1, 4], "two of three");
    cluster.simulation.restart("shop/2");
    await cluster.advance(20_000);
    assert.deepEqual(await servers(cluster, call, shop), [2, 4], "two of four");
  });
});

describe("a Watch", () => {
  it("of a server without the service is not asked for again on the connection, and calls flow at once", async () => {
    await using cluster = createCluster();
    const servedBy: number[] = [];
    cluster.serve("shop", 1, (server) => probe(server, { unary: () => (servedBy.push(0), {}) }));
    const client = cluster.client(Probe, "shop", { health, balance });
    const { tookMs } = await timed(cluster, client.unary({}));
    assert.ok(tookMs < 6, String(tookMs));
    await cluster.advance(300_000);
    const [peer] = client.$channel.peers();
    assert.deepEqual([peer?.health, peer?.why, peer?.streams], ["ready", "ready; it has no health service", 0]);
  });

  it("that dies is opened again, and until then its last word holds: no call waits", async () => {
    for (const [error, last] of [
      [new RpcError("UNAVAILABLE", "over"), SERVING],
      [new RpcError("INTERNAL", "over"), NOT_SERVING],
      [undefined, SERVING],
    ] as const) {
      await using cluster = createCluster();
      const shop = serveShop(cluster, 2);
      const client = cluster.client(Probe, "shop", { health, balance });
      const call = () => client.unary({});
      await cluster.settle(call());
      shop.boards[0]?.say(last);
      await cluster.advance(2_000);
      const before = await servers(cluster, call, shop);
      shop.boards[0]?.end(error);
      for (let i = 0; i < 20; i++) {
        const { tookMs } = await timed(cluster, call());
        assert.ok(tookMs < 2, String(tookMs));
      }
      assert.deepEqual(await servers(cluster, call, shop), before);
      assert.deepEqual(
        shop.boards.map(({ open }) => open),
        [1, 1],
      );
      assert.equal(shop.boards[0]?.asked.length, 2);
    }
  });

  it("that a server ends after each first message is opened once a second, not in a loop", async () => {
    await using cluster = createCluster();
    const shop = serveShop(cluster, 1);
    const client = cluster.client(Probe, "shop", { health, balance });
    await cluster.settle(client.unary({}));
    for (let i = 0; i < 1_000; i++) {
      shop.boards[0]?.end();
      await cluster.advance(10);
      assert.equal(client.$channel.peers()[0]?.health, "ready");
    }
    const asked = shop.boards[0]?.asked.length ?? 0;
    assert.ok(asked >= 10 && asked <= 11, `${asked} in 10 s`);
  });

  it("that fails without a word keeps its peer from calls, is asked for with growing waits, and comes back", async () => {
    await using cluster = createCluster();
    const shop = serveShop(cluster, 3);
    const [ill] = shop.boards;
    assert.ok(ill !== undefined);
    ill.failure = new RpcError("PERMISSION_DENIED", "not for you");
    const client = cluster.client(Probe, "shop", { health, balance });
    const call = () => client.unary({});
    await cluster.settle(call());
    await cluster.advance(ROUND_TRIP_MS);
    assert.deepEqual(await servers(cluster, call, shop), [1, 2]);
    assert.match(
      client.$channel.peers()[0]?.why ?? "",
      /^its health Watch ended: PERMISSION_DENIED: not for you; asked again in \d+ ms$/,
    );
    // 1 s x 1.6, +-20 %: at about 1, 2.6, 5.2, 9.3, 15.8 and 26.3 s.
    await cluster.advance(20_000);
    assert.ok(ill.asked.length >= 5 && ill.asked.length <= 7, String(ill.asked.length));
    ill.failure = undefined;
    await cluster.advance(25_000);
    assert.deepEqual(await servers(cluster, call, shop), [0, 1, 2]);
    assert.equal(ill.open, 1);
  });

  it("that failed and is silent when it is opened again says nothing against its peer", async () => {
    await using cluster = createCluster();
    const shop = serveShop(cluster, 3);
    const [ill] = shop.boards;
    assert.ok(ill !== undefined);
    ill.failure = new RpcError("UNAVAILABLE", "");
    const client = cluster.client(Probe, "shop", { health, balance });
    await cluster.settle(client.unary({}));
    await cluster.advance(500);
    assert.equal(client.$channel.peers()[0]?.health, "not-serving");
    ill.failure = undefined;
    ill.isSilent = true;
    await cluster.advance(2_500);
    assert.equal(client.$channel.peers()[0]?.health, "ready");
  });

  it("that is silent when it is opened again does not lift a NOT_SERVING", async () => {
    await using cluster = createCluster();
    const shop = serveShop(cluster, 3);
    const [ill] = shop.boards;
    const client = cluster.client(Probe, "shop", { health, balance });
    await cluster.settle(client.unary({}));
    ill?.say(NOT_SERVING);
    await cluster.advance(2_000);
    if (ill !== undefined) ill.isSilent = true;
    ill?.end();
    await cluster.advance(10_000);
    assert.equal(client.$channel.peers()[0]?.health, "not-serving");
  });

  it("is opened anew on the connection to a server that was started again, which has to speak for itself", async () => {
    await using cluster = createCluster();
    const shop = serveShop(cluster, 2);
    const client = cluster.client(Probe, "shop", { health, balance });
    const call = () => client.unary({});
    await cluster.settle(call());
    await cluster.advance(ROUND_TRIP_MS);
    shop.boards[0]?.say(NOT_SERVING);
    cluster.inject({ kind: "restart", peer: "shop/0", atMs: 0, forMs: 100 });
    await cluster.advance(5_000);
    assert.equal(shop.boards[0]?.open, 1);
    assert.deepEqual(await servers(cluster, call, shop), [1]);
    shop.boards[0]?.say(SERVING);
    await cluster.advance(6_000);
    assert.deepEqual(await servers(cluster, call, shop), [0, 1]);
  });

  it("leaves a connection whose server says goodbye: it does not hold up the drain", async () => {
    await using cluster = createCluster();
    const shop = serveShop(cluster, 2, { drain: { signals: [], propagationMs: 0 } });
    const client = cluster.client(Probe, "shop", { health, balance });
    await cluster.settle(client.unary({}));
    await cluster.advance(100);
    const { tookMs, error } = await timed(
      cluster,
      cluster.server("shop", 0)?.close() ?? Promise.reject(new Error("no server")),
    );
    assert.equal(error, undefined);
    assert.ok(tookMs < 1_500, String(tookMs));
    assert.equal(shop.boards[0]?.open, 0);
    for (let i = 0; i < 10; i++) assert.equal((await timed(cluster, client.unary({}))).error, undefined);
  });

  it("is one, however many connections there are, and goes to another when its own is lost: the word holds", async () => {
    await using cluster = createCluster();
    const shop = serveShop(cluster, 1, { limits: { streamsPerConnectionMax: 4 } });
    const [board] = shop.boards;
    const client = cluster.client(Probe, "shop", { health, balance });
    const calls = Array.from({ length: 12 }, () => client.unary({ body: Buffer.alloc(1) }));
    await cluster.advance(300);
    const [peer] = peersOf(client.$channel);
    assert.ok(peer !== undefined && peer.link.connections.length === 4);
    assert.equal(board?.asked.length, 1);
    await cluster.settle(Promise.all(calls));
    const own = peer.link.connections.find(({ aside }) => aside !== undefined);
    own?.destroy("by the test");
    assert.equal(peer.isReady, true);
    await cluster.advance(ROUND_TRIP_MS);
    assert.deepEqual([board?.asked.length, peer.health?.word], [2, "serving"]);
    board?.say(NOT_SERVING);
    await cluster.advance(ROUND_TRIP_MS);
    assert.equal(peer.health?.word, "denied");
    peer.link.connections.find(({ aside }) => aside !== undefined)?.destroy("by the test");
    assert.equal(peer.health?.word, "denied");
    await cluster.advance(ROUND_TRIP_MS);
    assert.deepEqual([board?.asked.length, peer.health?.word], [3, "denied"]);
  });
});

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
    const client = cluster.client(Probe, "shop", { health, balance });
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
          const client = cluster.client(Probe, "shop", { health, balance });
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
    const client = cluster.client(Probe, "shop", { health, balance });
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
    await cluster.settle(channel.client(Probe).unary({}));
    await cluster.advance(500);
    assert.deepEqual(
      shop.boards.map(({ open }) => open),
      [1, 1],
    );
    await cluster.advance(2_000);
    assert.deepEqual(
      shop.boards.map(({ open }) => open),
      [0, 1],
    );
    await cluster.settle(channel.close());
  });
});

describe("who turns the health Watch on", () => {
  const configOf = (serviceName: string): object => ({ healthCheckConfig: { serviceName } });

  it("nobody, by default", async () => {
    await using cluster = createCluster();
    const shop = serveShop(cluster, 1);
    const client = cluster.client(Probe, "shop");
    await cluster.settle(client.unary({}));
    await cluster.advance(100);
    assert.deepEqual(shop.boards[0]?.asked, []);
    assert.doesNotMatch(String(client.$explain("unary")), /health/);
  });

  it("a client's service config, and of several the first; $explain says so", async () => {
    await using cluster = createCluster();
    const shop = serveShop(cluster, 1);
    const channel = createChannel(cluster.target("shop"), { world: cluster.world, plaintext: true });
    const first = channel.client(Probe, { serviceConfig: configOf("shop.v1.Shop") });
    const second = channel.client(Probe, { serviceConfig: configOf("other") });
    const third = channel.client(Probe, { serviceConfig: configOf("shop.v1.Shop") });
    await cluster.settle(second.unary({}));
    assert.deepEqual(shop.boards[0]?.asked, ["shop.v1.Shop"]);
    const explained = [first, second, third].map((client) => client.$explain("unary"));
    for (const { layers } of explained) {
      const [value] = layers.find(({ layer }) => layer === "health")?.values ?? [];
      assert.deepEqual([value?.value, value?.where], ['"shop.v1.Shop"', "by serviceConfig.healthCheckConfig"]);
    }
    assert.deepEqual(
      explained.map(({ notes }) => notes),
      [
        [],
        [
          'serviceConfig.healthCheckConfig.serviceName "other" has no effect: ' +
            'the channel watches "shop.v1.Shop" (serviceConfig.healthCheckConfig)',
        ],
        [],
      ],
    );
    await cluster.settle(channel.close());
  });

  it("the channel's own option stands above every service config, false too", async () => {
    for (const option of [{ service: "a" }, false] as const) {
      await using cluster = createCluster();
      const shop = serveShop(cluster, 1);
      const client = cluster.client(Probe, "shop", { health: option, serviceConfig: configOf("b") });
      await cluster.settle(client.unary({}));
      await cluster.advance(100);
      assert.deepEqual(shop.boards[0]?.asked, option === false ? [] : ["a"]);
      const why = option === false ? "turned off by health" : 'the channel watches "a" (health)';
      assert.deepEqual(client.$explain("unary").notes, [
        `serviceConfig.healthCheckConfig.serviceName "b" has no effect: ${why}`,
      ]);
    }
  });

  it("a client of a channel that is in use: its peers keep their calls until they say otherwise", async () => {
    await using cluster = createCluster();
    const shop = serveShop(cluster, 2);
    shop.boards[0]?.say(NOT_SERVING);
    const channel = createChannel(cluster.target("shop"), { world: cluster.world, plaintext: true });
    const first = channel.client(Probe);
    const call = () => first.unary({});
    assert.deepEqual(await servers(cluster, call, shop), [0, 1]);
    channel.client(Probe, { serviceConfig: configOf("") });
    assert.equal((await timed(cluster, call())).error, undefined);
    await cluster.advance(ROUND_TRIP_MS);
    assert.deepEqual(await servers(cluster, call, shop), [1]);
    await cluster.settle(channel.close());
  });

  it("no client that cannot be made", async () => {
    await using cluster = createCluster();
    const shop = serveShop(cluster, 1);
    const channel = createChannel(cluster.target("shop"), { world: cluster.world, plaintext: true });
    const wrong = { unari: {} } as object;
    assert.throws(() => channel.client(Probe, { serviceConfig: configOf(""), methods: wrong }), /methods\.unari/);
    await cluster.settle(channel.client(Probe).unary({}));
    assert.deepEqual(shop.boards[0]?.asked, []);
    await cluster.settle(channel.close());
  });
});
