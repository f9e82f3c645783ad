/** Whatever servers, network and health services do: when it is quiet again, what is believed is what is said. */
import assert from "node:assert/strict";
import { it } from "node:test";
import { RpcError } from "holdfast";
import { type Cluster, createCluster } from "holdfast/testing";
import { type HealthBoard, ServingStatus } from "../../test/calls/health-service.ts";
import { peersOf, servers, serveShop } from "../../test/calls/health-shop.ts";
import { around, between, happens, oneOf } from "../../test/simulation/chance.ts";
import { SafeProbe } from "../../test/simulation/probe-cluster.ts";
import type { Random } from "../world/random.ts";
import { runtimeOf } from "../wire/transport/runtime.ts";

const REPLICAS = 4;
const { SERVING, NOT_SERVING, SERVICE_UNKNOWN } = ServingStatus;

/** One thing that happens to one replica. */
function disturb(random: Random, cluster: Cluster, boards: readonly HealthBoard[]): void {
  const index = between(random, 0, REPLICAS - 1);
  const board = boards[index] as HealthBoard;
  const peer = `shop/${index}`;
  const forMs = around(random, 400);
  switch (between(random, 0, 7)) {
    case 0:
      return board.end(happens(random, 0.5) ? new RpcError("UNAVAILABLE", "over") : undefined);
    case 1:
      board.isSilent = happens(random, 0.5);
      return board.end();
    case 2:
      board.failure = happens(random, 0.5) ? new RpcError("INTERNAL", "no") : undefined;
      return board.end();
    case 3:
      if (!cluster.simulation.isRunning(peer)) return;
      return cluster.inject({ kind: "restart", peer, atMs: 0, forMs });
    case 4:
      return cluster.inject({ kind: "partition", between: ["client", peer], atMs: 0, forMs });
    case 5:
      if (!cluster.simulation.isRunning(peer)) return;
      return cluster.inject({ kind: "freeze", peer, atMs: 0, forMs });
    default:
      return board.say(oneOf(random, [SERVING, SERVING, NOT_SERVING, SERVICE_UNKNOWN]));
  }
}

for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) {
  it(`after two minutes of faults each peer's last word is what counts, one Watch each (seed ${seed})`, async () => {
    await using cluster = createCluster({ seed });
    const shop = serveShop(cluster, REPLICAS, { drain: { signals: [], propagationMs: 0 } });
    const { boards } = shop;
    const client = cluster.client(SafeProbe, "shop", { health: { service: "" }, balance: "round-robin" });
    const random = cluster.simulation.host("chance").random;
    let ended = 0;
    let called = 0;
    for (let turn = 0; turn < 400; turn++) {
      disturb(random, cluster, boards);
      called += 1;
      void client.unary({}, { timeoutMs: 5_000 }).then(
        () => (ended += 1),
        () => (ended += 1),
      );
      await cluster.advance(around(random, 300));
    }
    for (const board of boards) {
      board.isSilent = false;
      board.failure = undefined;
      board.end();
    }
    boards.forEach((board, index) => board.say(index < 2 ? NOT_SERVING : SERVING));
    // Backoff has grown to two minutes at most. A connection that nobody uses may be dead without a word.
    for (let second = 0; second < 150; second++) {
      await cluster.settle(client.unary({}));
      await cluster.advance(1_000);
    }
    assert.equal(ended, called, "every call has its end");
    const words = peersOf(client.$channel).map(({ health }) => health?.word);
    assert.deepEqual(words, ["denied", "denied", "serving", "serving"]);
    assert.deepEqual(
      boards.map(({ open }) => open),
      [1, 1, 1, 1],
    );
    assert.deepEqual(await servers(cluster, () => client.unary({}), shop), [2, 3]);
    await cluster.settle(client.$close());
    await cluster.advance(2_000);
    assert.deepEqual(
      boards.map(({ open }) => open),
      [0, 0, 0, 0],
    );
    assert.equal(runtimeOf(cluster.world).wheel.size, 0);
  });
}
