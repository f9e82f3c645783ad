import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import { RpcError } from "holdfast";
import { type Cluster, createCluster } from "holdfast/testing";
import { pause, probe, SafeProbe } from "../simulation/probe-cluster.ts";
import { type SteadyLoad, steadyLoad } from "./steady-load.ts";

const SERVERS = 5;
const CLIENTS = 10;
const POISON = Buffer.from("poison");
const RESTART_MS = 1_000;
const WARM_MS = 2_000;

/** Five servers that die of one request, and are there again a second later. */
class PoisonedShop {
  /** Servers that were brought down by it. */
  crashes = 0;
  readonly cluster: Cluster;

  constructor(cluster: Cluster, handlerMs: number) {
    this.cluster = cluster;
    cluster.serve("shop", SERVERS, (server, index) => {
      const peer = `shop/${index}`;
      const world = cluster.simulation.host(peer);
      return probe(server, {
        unary: async ({ body }, call) => {
          if (POISON.equals(body)) {
            this.crashes += 1;
            cluster.inject({ kind: "restart", peer, forMs: RESTART_MS });
          }
          await pause(world, handlerMs, call.signal);
          return { body };
        },
      });
    });
  }

  get down(): number {
    let down = 0;
    for (let index = 0; index < SERVERS; index++) if (!this.cluster.simulation.isRunning(`shop/${index}`)) down += 1;
    return down;
  }

  /** Lets time pass; gives back how many servers were down at once, at most. */
  async watch(forMs: number): Promise<number> {
    let most = 0;
    for (let passedMs = 0; passedMs < forMs; passedMs += 5) {
      await this.cluster.advance(5);
      most = Math.max(most, this.down);
    }
    return most;
  }
}

interface PoisonedClient {
  readonly load: SteadyLoad;
  poison(): Promise<RpcError>;
}

/** A client on a host of its own that makes ordinary calls. */
function clientOf(
  cluster: Cluster,
  index: number,
  perSecond: number,
  bodyOf: (call: number) => string,
): PoisonedClient {
  const host = `client${index}`;
  const client = cluster.client(SafeProbe, "shop", { host });
  const call = (number: number): Promise<unknown> => client.unary({ body: Buffer.from(bodyOf(number)) });
  return {
    load: steadyLoad(cluster.simulation.host(host), perSecond, call, index),
    poison: async () => {
      try {
        await client.unary({ body: POISON });
      } catch (error) {
        return RpcError.from(error);
      }
      throw new Error("the poison was answered");
    },
  };
}

function clientsOf(cluster: Cluster, perSecond: number): readonly PoisonedClient[] {
  return Array.from({ length: CLIENTS }, (_, index) => clientOf(cluster, index, perSecond, () => "daily bread"));
}

/** How the calls that were no poison failed; they have all ended. */
async function failuresOf(cluster: Cluster, clients: readonly PoisonedClient[]): Promise<readonly string[]> {
  for (const { load } of clients) load.stop();
  for (const { load } of clients) await cluster.settle(load.drained());
  return clients.flatMap(({ load }) => load.tally.failures.map(({ verdict }) => verdict));
}

function assertPoison(error: RpcError, what: string): void {
  assert.equal(error.code, "INTERNAL", what);
  assert.equal(error.reason, "POISON_SUSPECT", what);
  assert.equal(error.isRepeatable, false, what);
}

describe("a call that kills its server", () => {
  it("brings down two of five, is refused by its client for 60 s without touching a server, and takes no other call with it", async () => {
    for (const seed of [1, 2, 3]) {
      await using cluster = createCluster({ seed });
      const shop = new PoisonedShop(cluster, 10);
      const clients = clientsOf(cluster, 50);
      const [sender] = clients;
      assert.ok(sender !== undefined);
      await cluster.advance(WARM_MS);
      assertPoison(await cluster.settle(sender.poison()), `seed ${seed}`);
      assert.equal(shop.crashes, 2, `seed ${seed}`);
      assert.ok((await shop.watch(3_000)) <= 2, `seed ${seed}: servers down at once`);

      const beganMs = cluster.simulation.nowMs;
      const refused = await cluster.settle(sender.poison());
      assertPoison(refused, `seed ${seed}, again`);
      assert.equal(refused.reached, "no");
      assert.equal(cluster.simulation.nowMs, beganMs, "refused at once");
      assert.deepEqual(await failuresOf(cluster, clients), [], `seed ${seed}`);
      await cluster.advance(56_000);
      assertPoison(await cluster.settle(sender.poison()), `seed ${seed}, 59 s later`);
      assert.equal(shop.crashes, 2, `seed ${seed}: no server saw it again`);
    }
  });

  it("is let through again when its minute is over", async () => {
    await using cluster = createCluster({ seed: 4 });
    const shop = new PoisonedShop(cluster, 10);
    const sender = clientOf(cluster, 0, 50, () => "daily bread");
    await cluster.advance(WARM_MS);
    assertPoison(await cluster.settle(sender.poison()), "first");
    await cluster.advance(61_000);
    assertPoison(await cluster.settle(sender.poison()), "a minute later");
    assert.equal(shop.crashes, 4);
    assert.deepEqual(await failuresOf(cluster, [sender]), []);
  });

  it("takes none of its own client's calls with it, though no two are alike and many are on the connections that die", async () => {
    let recovered = 0;
    for (const seed of [1, 2, 3, 4, 5]) {
      await using cluster = createCluster({ seed });
      const shop = new PoisonedShop(cluster, 20);
      // Twenty in flight, so that four or so are on each connection.
      const sender = clientOf(cluster, 0, 1_000, (number) => `order ${number}`);
      await cluster.advance(WARM_MS);
      assertPoison(await cluster.settle(sender.poison()), `seed ${seed}`);
      await cluster.advance(2_000);
      assert.equal(shop.crashes, 2);
      assert.deepEqual(await failuresOf(cluster, [sender]), [], `seed ${seed}`);
      if (sender.load.tally.slowestMs > 30) recovered += 1;
    }
    assert.ok(recovered > 0, "no call was on a connection that died");
  });

  it("sent by ten clients one after the other, has two of five down at once, and two for each client", async () => {
    await using cluster = createCluster({ seed: 1 });
    const shop = new PoisonedShop(cluster, 10);
    const clients = clientsOf(cluster, 20);
    await cluster.advance(WARM_MS);
    for (const [index, client] of clients.entries()) {
      assertPoison(await cluster.settle(client.poison()), `client ${index}`);
      assert.equal(shop.crashes, 2 * (index + 1), `client ${index}`);
      assert.ok((await shop.watch(3_000)) <= 2, `client ${index}: servers down at once`);
    }
    assert.deepEqual(await failuresOf(cluster, clients), []);
  });

  it("sent by ten clients at once, is over with one death for each, and all is well two seconds later", async (context: TestContext) => {
    for (const seed of [1, 2, 3]) {
      await using cluster = createCluster({ seed });
      const shop = new PoisonedShop(cluster, 10);
      const clients = clientsOf(cluster, 20);
      await cluster.advance(WARM_MS);
      const sent = Promise.all(clients.map(({ poison }) => poison()));
      // None can know of the others: each server that meets one of them dies.
      for (const [index, error] of (await cluster.settle(sent)).entries())
        assertPoison(error, `seed ${seed}, client ${index}`);
      await cluster.advance(2_000);
      const lost = clients.reduce((sum, { load }) => sum + load.tally.failures.length, 0);
      context.diagnostic(`seed ${seed}: ${shop.crashes} deaths of servers, ${lost} other calls lost`);
      assert.ok(shop.crashes <= CLIENTS, `seed ${seed}: ${shop.crashes} deaths`);
      await cluster.advance(5_000);
      assert.equal((await failuresOf(cluster, clients)).length, lost, `seed ${seed}: calls fail although it is over`);
    }
  });
});

describe("servers that die of something else", () => {
  it("make no suspect of a request that is like all others, when two die one after the other under it", async () => {
    for (const seed of [1, 2, 3]) {
      await using cluster = createCluster({ seed });
      const shop = new PoisonedShop(cluster, 10);
      const clients = clientsOf(cluster, 200);
      await cluster.advance(1_000);
      // The second one dies when the calls of the first have come to it.
      cluster.inject({ kind: "restart", peer: "shop/0" }, { kind: "restart", peer: "shop/1", atMs: 3 });
      await cluster.advance(2_000);
      assert.equal(shop.crashes, 0);
      assert.deepEqual(await failuresOf(cluster, clients), [], `seed ${seed}`);
    }
  });

  it("do not keep a client from the only request it has, when all of them die at once and come back", async () => {
    for (const seed of [1, 2, 3]) {
      await using cluster = createCluster({ seed });
      const shop = new PoisonedShop(cluster, 10);
      const clients = clientsOf(cluster, 100);
      await cluster.advance(1_000);
      cluster.inject({ kind: "restart", peer: "shop" });
      await cluster.advance(3_000);
      assert.equal(shop.down, 0);
      const lost = clients.reduce((sum, { load }) => sum + load.tally.failures.length, 0);
      await cluster.advance(2_000);
      assert.equal((await failuresOf(cluster, clients)).length, lost, `seed ${seed}: calls fail although it is over`);
    }
  });

  it("or whose connections break again and again lose no call: none goes back there while others have not had it", async () => {
    for (const seed of [1, 2, 3]) {
      await using cluster = createCluster({ seed });
      const shop = new PoisonedShop(cluster, 300);
      const sender = clientOf(cluster, 0, 200, (number) => `report ${number}`);
      await cluster.advance(3_000);
      const breaks = [0, 120, 240, 360, 480].map((atMs) => ({ kind: "reset", peer: "shop/2", atMs }) as const);
      cluster.inject(...breaks);
      await cluster.advance(3_000);
      assert.equal(shop.crashes, 0);
      assert.deepEqual(await failuresOf(cluster, [sender]), [], `seed ${seed}`);
    }
  });

  it("lose no call that takes long, though many were on the connection, and keep them waiting a quarter of a second at most", async () => {
    await using cluster = createCluster({ seed: 1 });
    cluster.serve("shop", SERVERS, (server, index) => {
      const world = cluster.simulation.host(`shop/${index}`);
      return probe(server, {
        unary: async ({ body }, call) => {
          await pause(world, 2_000, call.signal);
          return { body };
        },
      });
    });
    const sender = clientOf(cluster, 0, 100, (number) => `report ${number}`);
    await cluster.advance(5_000);
    cluster.inject({ kind: "crash", peer: "shop/2" });
    await cluster.advance(6_000);
    assert.deepEqual(await failuresOf(cluster, [sender]), []);
    const { slowestMs } = sender.load.tally;
    assert.ok(slowestMs > 3_500, "a call was far gone when its server died");
    assert.ok(slowestMs < 4_350, `${slowestMs} ms`);
  });
});
