import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Client } from "holdfast";
import { type Cluster, createCluster, type Injection } from "holdfast/testing";
import { Probe, probe } from "../simulation/probe-cluster.ts";

/** `Probe` says nothing of its methods: their effect is unknown, and what may have been sent is not sent again. */
interface IdleFleet {
  readonly cluster: Cluster;
  /** Makes one call; undefined: it was good. */
  call(): Promise<string | undefined>;
  slowestMs: number;
}

/** Every peer has been called, and each is idle. */
async function idleFleet(cluster: Cluster, size: number): Promise<IdleFleet> {
  cluster.serve("shop", size, (server) => probe(server));
  const client: Client<typeof Probe> = cluster.client(Probe, "shop");
  await cluster.settle(client.$channel.ready());
  const fleet: IdleFleet = {
    cluster,
    slowestMs: 0,
    call: async () => {
      const beganMs = cluster.simulation.nowMs;
      const outcome = await cluster.settle(
        client.unary({}).then(
          () => undefined,
          (error: unknown) => String(error),
        ),
      );
      fleet.slowestMs = Math.max(fleet.slowestMs, cluster.simulation.nowMs - beganMs);
      return outcome;
    },
  };
  for (let call = 0; call < 5 * size; call++) assert.equal(await fleet.call(), undefined);
  return fleet;
}

/** So many calls, each after a time of silence that calls for a check before reuse; gives back those that were lost. */
async function callNowAndThen(fleet: IdleFleet, calls: number, gapMs: number): Promise<readonly string[]> {
  const lost: string[] = [];
  fleet.slowestMs = 0;
  for (let call = 0; call < calls; call++) {
    await fleet.cluster.advance(gapMs);
    const outcome = await fleet.call();
    if (outcome !== undefined) lost.push(outcome);
  }
  return lost;
}

const GONE: Readonly<Record<string, (peer: string) => Injection>> = {
  "cut off": (peer) => ({ kind: "partition", between: ["client", peer] }),
  "without power": (peer) => ({ kind: "crash", peer, isMachine: true }),
  stopped: (peer) => ({ kind: "freeze", peer }),
};

for (const size of [2, 3, 5, 50]) {
  describe(`a fleet of ${size} idle peers`, () => {
    for (const [name, gone] of Object.entries(GONE)) {
      it(`loses no call, of effect unknown, to a peer that is ${name} while idle`, async () => {
        for (const seed of [1, 2, 3]) {
          await using cluster = createCluster({ seed });
          const fleet = await idleFleet(cluster, size);
          // Often enough that peers were asked for a sign of life before, without a call that followed.
          assert.deepEqual(await callNowAndThen(fleet, 8, 6_000), []);
          cluster.inject(gone("shop/0"));
          assert.deepEqual(await callNowAndThen(fleet, 20, 6_000), [], `seed ${seed}`);
          assert.ok(fleet.slowestMs < 500, `seed ${seed}: a call took ${fleet.slowestMs} ms`);
        }
      });
    }
  });
}

it("finds two of three idle peers that are gone, one after the other", async () => {
  for (const seed of [1, 2, 3]) {
    await using cluster = createCluster({ seed });
    const fleet = await idleFleet(cluster, 3);
    cluster.inject(
      { kind: "partition", between: ["client", "shop/0"] },
      { kind: "partition", between: ["client", "shop/2"] },
    );
    assert.deepEqual(await callNowAndThen(fleet, 10, 30_000), [], `seed ${seed}`);
    assert.ok(fleet.slowestMs < 500, `seed ${seed}: a call took ${fleet.slowestMs} ms`);
  }
});

it("waits for the only peer, which lost power while idle, and has started again since", async () => {
  await using cluster = createCluster({ seed: 4 });
  const fleet = await idleFleet(cluster, 1);
  cluster.inject({ kind: "crash", peer: "shop/0", isMachine: true, forMs: 3_000 });
  assert.deepEqual(await callNowAndThen(fleet, 5, 6_000), []);
  assert.ok(fleet.slowestMs < 1_100, `a call took ${fleet.slowestMs} ms`);
});

it("does not take its idle peers for dead when many calls come at once, time and again", async () => {
  await using cluster = createCluster({ seed: 5 });
  cluster.serve("shop", 5, (server) => probe(server));
  const client = cluster.client(Probe, "shop");
  const closed: string[] = [];
  client.$on("connection.changed", ({ state, why }) => {
    if (state === "closed" && why !== "the connection was drained") closed.push(why);
  });
  for (let burst = 0; burst < 20; burst++) {
    await cluster.advance(6_000);
    const beganMs = cluster.simulation.nowMs;
    await cluster.settle(Promise.all(Array.from({ length: 50 }, () => client.unary({}))));
    assert.ok(cluster.simulation.nowMs - beganMs < 20, `burst ${burst} took ${cluster.simulation.nowMs - beganMs} ms`);
  }
  assert.deepEqual(closed, []);
});

it("destroys an idle connection that may not be asked again, when no other can be made in its place", async () => {
  await using cluster = createCluster({ seed: 6 });
  cluster.serve("shop", 2, (server) => probe(server));
  const client = cluster.client(Probe, "shop", { connections: { connectTimeoutMs: 500 } });
  await cluster.settle(client.$channel.ready());
  // Both are asked at once by two calls, which go to whoever answers first: the other one has been asked in vain.
  for (let round = 0; round < 3; round++) {
    await cluster.advance(6_000);
    await cluster.settle(Promise.all([client.unary({}), client.unary({}), client.unary({})]));
  }
  await cluster.advance(6_000);
  cluster.inject(
    { kind: "partition", between: ["client", "shop/0"] },
    { kind: "partition", between: ["client", "shop/1"] },
  );
  await cluster.advance(10);
  const outcome = await cluster.settle(client.unary({}).then(String, String), { limitMs: 31_000 });
  assert.match(outcome, /UNAVAILABLE/);
  assert.deepEqual(
    client.$channel.peers().filter(({ health }) => health === "ready"),
    [],
    "nobody is thought ready",
  );
});
