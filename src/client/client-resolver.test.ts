import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Channel, type ChannelOptions, type Client, createChannel } from "holdfast";
import type { PeerInit, Resolver } from "holdfast/discover";
import { type Cluster, createCluster } from "holdfast/testing";
import { failureOf, pause, Probe, probe } from "../../test/simulation/probe-cluster.ts";

/** A resolver that yields what the test gives it. */
function scripted(): { readonly resolver: Resolver; give(list: readonly PeerInit[] | Error): void; watches(): number } {
  let wake: () => void = () => {};
  let watches = 0;
  const lists: (readonly PeerInit[] | Error)[] = [];
  const resolver: Resolver = {
    name: "scripted",
    async *watch({ signal }) {
      watches += 1;
      signal.addEventListener("abort", () => wake());
      while (!signal.aborted) {
        const next = lists.shift();
        if (next instanceof Error) throw next;
        if (next !== undefined) yield next;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
    },
  };
  const give = (list: readonly PeerInit[] | Error): void => {
    lists.push(list);
    wake();
  };
  return { resolver, give, watches: () => watches };
}

describe("a resolver as a target", () => {
  it("makes and ends peers as its list changes, lets calls in flight end, and holds the last good list", async () => {
    await using cluster = createCluster();
    const servedBy: number[] = [];
    cluster.serve("shop", 3, (server, index) =>
      probe(server, {
        unary: async ({ body }, call) => {
          servedBy.push(index);
          if (body.length > 0) await pause(cluster.simulation.host(`shop/${index}`), 500, call.signal);
          return {};
        },
      }),
    );
    const addresses = cluster.target("shop");
    const peer = (index: number): PeerInit => ({ address: addresses[index] ?? "", id: `shop/${index}`, zone: "eu-1" });
    const { resolver, give, watches } = scripted();
    const channel = createChannel(resolver, { world: cluster.world, plaintext: true });
    const client = channel.client(Probe);
    const first = client.unary({});
    give([peer(0)]);
    await cluster.settle(first);
    assert.deepEqual(
      channel.peers().map(({ id, zone, health }) => [id, zone, health]),
      [["shop/0", "eu-1", "ready"]],
    );
    const long = client.unary({ body: Buffer.alloc(1) });
    await cluster.advance(20);
    give([peer(1), peer(2)]);
    await cluster.advance(20);
    servedBy.length = 0;
    for (let i = 0; i < 10; i++) await cluster.settle(client.unary({}));
    assert.deepEqual(new Set(servedBy), new Set([1, 2]));
    await cluster.settle(long);

    give([]);
    give(new Error("the registry is down"));
    await cluster.advance(5_000);
    assert.deepEqual(
      channel.peers().map(({ id }) => id),
      ["shop/1", "shop/2"],
    );
    assert.equal(watches(), 2, "it is asked again");
    give([peer(0)]);
    await cluster.advance(20);
    servedBy.length = 0;
    await cluster.settle(client.unary({}));
    assert.deepEqual(servedBy, [0]);
    await cluster.settle(channel.close({ timeoutMs: 0 }));
    assert.equal((await failureOf(client.unary({}))).reason, "CLIENT_CLOSED");
  });

  it("that names no peer yet lets calls wait, and refuses a list with what is no address", async () => {
    await using cluster = createCluster();
    cluster.serve("shop", 1, (server) => probe(server));
    const { resolver, give } = scripted();
    const channel = createChannel(resolver, { world: cluster.world, plaintext: true });
    const client = channel.client(Probe);
    const call = failureOf(client.unary({}, { timeoutMs: 30_000 }));
    give([{ address: "no port" }]);
    const error = await cluster.settle(call);
    assert.equal(error.reason, "NO_PEER");
    assert.match(error.text, /there are no peers: the resolver "scripted" gave a list that is refused: .*no port/);
    await cluster.settle(channel.close({ timeoutMs: 0 }));
  });
});

interface Shop extends AsyncDisposable {
  readonly cluster: Cluster;
  readonly channel: Channel;
  readonly client: Client<typeof Probe>;
  /** Which replica served each call. */
  readonly servedBy: number[];
  peer(index: number, facts?: Partial<PeerInit>): PeerInit;
  give(list: readonly PeerInit[] | Error): void;
  ids(): readonly string[];
}

/** A shop of so many replicas behind a scripted resolver. */
function openShop(replicas: number, options: ChannelOptions = {}): Shop {
  const cluster = createCluster();
  const servedBy: number[] = [];
  cluster.serve("shop", replicas, (server, index) =>
    probe(server, {
      unary: async ({ body }, call) => {
        servedBy.push(index);
        if (body.length > 0) await pause(cluster.simulation.host(`shop/${index}`), 500, call.signal);
        return {};
      },
    }),
  );
  const addresses = cluster.target("shop");
  const { resolver, give } = scripted();
  const channel = createChannel(resolver, { world: cluster.world, plaintext: true, ...options });
  return {
    cluster,
    channel,
    client: channel.client(Probe),
    servedBy,
    peer: (index, facts) => ({ address: addresses[index] ?? "", id: `shop/${index}`, ...facts }),
    give,
    ids: () => channel.peers().map(({ id }) => id),
    async [Symbol.asyncDispose]() {
      await cluster.settle(channel.close({ timeoutMs: 0 }));
      await cluster[Symbol.asyncDispose]();
    },
  };
}

describe("what a resolver says of a peer", () => {
  it("may be the weight 0: it gets no new calls, and those in flight end", async () => {
    await using shop = openShop(2);
    const { cluster, client, give, peer, servedBy } = shop;
    const first = client.unary({ body: Buffer.alloc(1) });
    give([peer(0)]);
    await cluster.advance(20);
    give([peer(0, { weight: 0 }), peer(1)]);
    await cluster.advance(20);
    servedBy.length = 0;
    for (let i = 0; i < 10; i++) await cluster.settle(client.unary({}));
    assert.deepEqual(new Set(servedBy), new Set([1]));
    await cluster.settle(first);
    give([peer(0), peer(1)]);
    await cluster.advance(20);
    assert.deepEqual(shop.ids(), ["shop/0", "shop/1"]);
  });

  const wrong: readonly [Partial<PeerInit>, RegExp][] = [
    [{ weight: Number.NaN }, /peer "shop\/0" .*weight must be a finite number >= 0, got NaN/],
    [{ weight: -1 }, /peer "shop\/0" .*weight .*got -1/],
    [{ tier: 0.5 }, /peer "shop\/0" .*tier must be an integer in 0\.\.127, got 0\.5/],
    [{ tier: 128 }, /tier .*got 128/],
    [{ id: 7 as never }, /id must be a text that is not empty, got/],
    [{ zone: 7 as never }, /peer "shop\/0" .*zone must be a text, got/],
    [{ version: null as never }, /peer "shop\/0" .*version must be a text, got null/],
  ];
  for (const [facts, text] of wrong) {
    it(`and cannot be leaves the whole list out, never a call: ${String(Object.entries(facts))}`, async () => {
      await using shop = openShop(2);
      const { cluster, client, give, peer } = shop;
      const first = client.unary({});
      give([peer(0), peer(1)]);
      await cluster.settle(first);
      give([peer(1, { weight: 7 }), peer(0, facts)]);
      await cluster.advance(20);
      for (let i = 0; i < 4; i++) await cluster.settle(client.unary({}));
      assert.deepEqual(shop.ids(), ["shop/0", "shop/1"]);
      cluster.inject({ kind: "crash", peer: "shop/0" });
      cluster.inject({ kind: "crash", peer: "shop/1" });
      await cluster.advance(11_000);
      assert.match((await cluster.settle(failureOf(client.unary({})))).text, text);
    });
  }

  it("may be another zone and version: both are taken over, and its connection stays", async () => {
    await using shop = openShop(1);
    const { cluster, client, channel, give, peer } = shop;
    const seen: string[] = [];
    channel.on("connection.changed", ({ state }) => seen.push(state));
    const first = client.unary({});
    give([peer(0, { zone: "a", version: "1" })]);
    await cluster.settle(first);
    seen.length = 0;
    give([peer(0, { zone: "b", version: "2" })]);
    await cluster.advance(20);
    assert.deepEqual(
      channel.peers().map(({ zone, version }) => [zone, version]),
      [["b", "2"]],
    );
    assert.deepEqual(seen, []);
  });

  it("may be another address for the same id: that is another peer, and calls in flight at the old one end", async () => {
    await using shop = openShop(2);
    const { cluster, client, channel, give, peer, servedBy } = shop;
    const long = client.unary({ body: Buffer.alloc(1) });
    give([peer(0, { id: "a" })]);
    await cluster.advance(20);
    give([peer(1, { id: "a" })]);
    await cluster.advance(20);
    for (let i = 0; i < 3; i++) await cluster.settle(client.unary({}));
    assert.deepEqual(servedBy, [0, 1, 1, 1]);
    await cluster.settle(long);
    assert.deepEqual(
      channel.peers().map(({ id, address, health }) => [id, address, health]),
      [["a", peer(1).address, "ready"]],
    );
  });

  it("may name the same peer twice: the first counts, and there is one connection", async () => {
    await using shop = openShop(2);
    const { cluster, client, channel, give, peer, servedBy } = shop;
    const opened: string[] = [];
    channel.on("connection.changed", ({ state, peer: { id } }) => {
      if (state === "open") opened.push(id);
    });
    const first = client.unary({});
    const twice = [peer(0), peer(1), peer(0, { zone: "x" }), { ...peer(1), id: "shop/0" }];
    give(twice);
    await cluster.settle(first);
    give(twice.map((each) => ({ ...each, weight: 2 })));
    await cluster.advance(1_000);
    assert.deepEqual(shop.ids(), ["shop/0", "shop/1"]);
    assert.deepEqual(opened.sort(), ["shop/0", "shop/1"]);
    give([peer(1)]);
    await cluster.advance(20);
    servedBy.length = 0;
    for (let i = 0; i < 6; i++) await cluster.settle(client.unary({}));
    assert.deepEqual(new Set(servedBy), new Set([1]));
  });
});

describe("what a resolver gives again and again", () => {
  it("is no news of a peer that is dead: an equal list ends no backoff, another version does", async () => {
    await using shop = openShop(2);
    const { cluster, client, channel, give, peer } = shop;
    const first = client.unary({});
    give([peer(0), peer(1)]);
    await cluster.settle(first);
    const failed: number[] = [];
    const resolved: unknown[] = [];
    channel.on("connection.changed", ({ state, peer: { id } }) => {
      if (state === "closed" && id === "shop/0") failed.push(cluster.simulation.nowMs);
    });
    channel.on("peers.resolved", (event) => resolved.push(event));
    cluster.inject({ kind: "crash", peer: "shop/0" });
    await cluster.advance(60_000);
    failed.length = 0;
    for (let second = 0; second < 10; second++) {
      give([peer(0), peer(1)]);
      await cluster.advance(1_000);
    }
    assert.ok(failed.length <= 2, `${failed.length} dials within 10 s`);
    assert.deepEqual(resolved, []);
    cluster.simulation.restart("shop/0");
    give([peer(0, { version: "2" }), peer(1)]);
    await cluster.advance(20);
    assert.equal(channel.peers()[0]?.health, "ready");
  });

  it("and is empty is held back, and told", async () => {
    await using shop = openShop(1);
    const { cluster, client, channel, give, peer } = shop;
    const first = client.unary({});
    give([peer(0)]);
    await cluster.settle(first);
    const held: unknown[] = [];
    channel.on("peers.resolved", ({ removed, isHeldBack }) => held.push([removed, isHeldBack]));
    give([]);
    give([peer(0, { weight: 0 })]);
    await cluster.advance(20);
    assert.deepEqual(shop.ids(), ["shop/0"]);
    assert.deepEqual(held, [
      [[peer(0).address], true],
      [[peer(0).address], true],
    ]);
  });
});

describe("a resolver that fails", () => {
  it("is named, with what it said, by the call that found no peer, and is the cause of a channel that is not ready", async () => {
    await using shop = openShop(1);
    const { cluster, client, channel, give } = shop;
    const broken = new Error("the registry is down");
    const call = failureOf(client.unary({}, { timeoutMs: 30_000 }));
    const ready = failureOf(channel.ready({ timeoutMs: 500 }));
    give(broken);
    assert.equal((await cluster.settle(ready)).cause, broken);
    const error = await cluster.settle(call);
    assert.equal(error.cause, broken);
    assert.match(error.text, /no peers: the resolver "scripted" failed: the registry is down/);
  });
});
