import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createChannel } from "holdfast";
import { createCluster } from "holdfast/testing";
import { ServingStatus } from "../../test/calls/health-service.ts";
import { ROUND_TRIP_MS, servers, serveShop } from "../../test/calls/health-shop.ts";
import { Probe, timed } from "../../test/simulation/probe-cluster.ts";

const { NOT_SERVING } = ServingStatus;

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
