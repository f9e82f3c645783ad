import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { RpcError } from "holdfast";
import { createSwitches } from "holdfast/policy";
import { createCluster } from "holdfast/testing";
import { ServingStatus, withoutHealth } from "../../test/calls/health-service.ts";
import { peersOf, ROUND_TRIP_MS, servers, serveShop } from "../../test/calls/health-shop.ts";
import { failureOf, Probe, probe, timed } from "../../test/simulation/probe-cluster.ts";

const { SERVING, NOT_SERVING, SERVICE_UNKNOWN, UNKNOWN } = ServingStatus;
/** In turn, so that a few calls show who is picked. */
const balance = "round-robin" as const;
const health = { service: "" } as const;

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

  it("is believed all the same while the switch panic is off", async () => {
    await using cluster = createCluster();
    const shop = serveShop(cluster, 2);
    for (const board of shop.boards) board.say(NOT_SERVING);
    const switches = createSwitches({ states: { panic: "off" }, world: cluster.world });
    const client = cluster.client(Probe, "shop", { health, switches });
    const call = timed(cluster, client.unary({}));
    await cluster.advance(5_000);
    assert.deepEqual(shop.servedBy, []);
    assert.equal(client.$channel.peers()[0]?.why, "its health service says NOT_SERVING");
    switches.set("panic", "on");
    assert.equal((await call).error, undefined);
    switches.set("panic", "off");
    const { error } = await timed(cluster, client.unary({}));
    assert.equal(error?.reason, "NO_PEER");
    assert.match(error?.text ?? "", /not-serving \(its health service says NOT_SERVING\)/);
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
    cluster.serve("shop", 1, (server) => withoutHealth(probe(server, { unary: () => (servedBy.push(0), {}) })));
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

  it("that failed after a NOT_SERVING, and is silent when it is opened again, does not hold on to that word", async () => {
    await using cluster = createCluster();
    const shop = serveShop(cluster, 3);
    const [ill] = shop.boards;
    assert.ok(ill !== undefined);
    ill.say(NOT_SERVING);
    const client = cluster.client(Probe, "shop", { health, balance });
    await cluster.settle(client.unary({}));
    await cluster.advance(2_000);
    ill.failure = new RpcError("UNAVAILABLE", "");
    // The first is opened at once, the next after a wait.
    ill.end();
    await cluster.advance(500);
    assert.match(client.$channel.peers()[0]?.why ?? "", /Watch ended: UNAVAILABLE/);
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

  it("is what a server that was started again is waited for, although it served before", async () => {
    await using cluster = createCluster();
    const shop = serveShop(cluster, 2);
    const client = cluster.client(Probe, "shop", { health, balance });
    const call = () => client.unary({});
    await cluster.settle(call());
    await cluster.advance(ROUND_TRIP_MS);
    if (shop.boards[0] !== undefined) shop.boards[0].isSilent = true;
    cluster.inject({ kind: "restart", peer: "shop/0", atMs: 0, forMs: 100 });
    const isAwaited = (): boolean => client.$channel.peers()[0]?.why === "its health service has not answered yet";
    for (let ms = 0; ms < 5_000 && !isAwaited(); ms += 10) await cluster.advance(10);
    assert.equal(client.$channel.peers()[0]?.health, "connecting");
    assert.deepEqual(await servers(cluster, call, shop), [1]);
  });

  it("of a peer that is kept from calls and silent is doubted: the connection is given up without an answer", async () => {
    await using cluster = createCluster();
    const shop = serveShop(cluster, 3);
    const client = cluster.client(Probe, "shop", { health, balance });
    await cluster.settle(client.unary({}));
    shop.boards[0]?.say(NOT_SERVING);
    await cluster.advance(1_000);
    cluster.simulation.partition("client", "shop/0");
    const seen: string[] = [];
    client.$on("connection.changed", ({ state, why }) => seen.push(`${state}: ${why}`));
    await cluster.advance(58_000);
    assert.deepEqual(seen, []);
    await cluster.advance(4_000);
    assert.equal(seen.length, 1);
    assert.match(seen[0] ?? "", /^closed: the idle peer did not answer a PING within 10\d\d ms$/);
    assert.equal(client.$channel.peers()[0]?.health, "connecting");
  });

  it("of a peer that is kept from calls does not hold for ever on a dead connection: within about a minute it is found out", async () => {
    for (const seed of [1, 2, 3]) {
      await using cluster = createCluster({ seed });
      const shop = serveShop(cluster, 3);
      const client = cluster.client(Probe, "shop", { health, balance });
      const call = () => client.unary({});
      await cluster.settle(call());
      shop.boards[0]?.say(NOT_SERVING);
      await cluster.advance(1_000);
      cluster.simulation.crash("shop/0", { isMachine: true });
      shop.boards[0]?.say(SERVING);
      await cluster.advance(1_000);
      cluster.simulation.restart("shop/0");
      await cluster.advance(10_000);
      assert.deepEqual(await servers(cluster, call, shop), [1, 2], "nobody has told the client");
      await cluster.advance(65_000);
      assert.deepEqual(await servers(cluster, call, shop), [0, 1, 2], `seed ${seed}`);
    }
  });

  it("of a peer that is kept from calls and lives stays as it is, however long that lasts", async () => {
    await using cluster = createCluster();
    const shop = serveShop(cluster, 3);
    const client = cluster.client(Probe, "shop", { health, balance });
    await cluster.settle(client.unary({}));
    shop.boards[0]?.say(NOT_SERVING);
    await cluster.advance(1_000);
    const seen: string[] = [];
    client.$on("peer.changed", ({ health: word }) => seen.push(word));
    client.$on("connection.changed", ({ peer, state }) => seen.push(`${peer.id} ${state}`));
    await cluster.advance(3_600_000);
    // The others' connections are idle: nobody asks them anything.
    assert.deepEqual(seen, []);
    const asked = shop.boards.map((board) => board.asked.length);
    assert.ok((asked[0] ?? 0) >= 58 && (asked[0] ?? 0) <= 61, `asked once a minute: ${asked.join()}`);
    assert.deepEqual(asked.slice(1), [1, 1]);
    assert.equal(shop.boards[0]?.open, 1);
    assert.equal(client.$channel.peers()[0]?.connections, 1);
    shop.boards[0]?.say(SERVING);
    await cluster.advance(ROUND_TRIP_MS);
    assert.deepEqual(seen, ["ready"]);
  });

  it("leaves a connection whose server says goodbye at once, while calls there go on", async () => {
    await using cluster = createCluster();
    const shop = serveShop(cluster, 1, { drain: { signals: [], propagationMs: 0 } });
    const client = cluster.client(Probe, "shop", { health, balance });
    const call = client.unary({ body: Buffer.alloc(1) });
    await cluster.advance(100);
    const closed = cluster.server("shop", 0)?.close();
    await cluster.advance(ROUND_TRIP_MS);
    assert.deepEqual([shop.boards[0]?.open, shop.boards[0]?.asked.length], [0, 1]);
    await cluster.settle(Promise.all([call, closed]));
    assert.deepEqual(shop.servedBy, [0]);
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
