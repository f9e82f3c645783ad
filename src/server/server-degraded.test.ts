import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { RpcError } from "holdfast";
import { createCluster } from "holdfast/testing";
import { Bench, benchServer } from "../../test/calls/bench-service.ts";
import { turns } from "../../test/calls/gate.ts";
import { manualWorld } from "../../test/calls/manual-world.ts";
import { framed, rawClient } from "../../test/calls/raw-peer.ts";
import { Probe, probe } from "../../test/simulation/probe-cluster.ts";
import { createClient } from "../client/create-client.ts";
import type { Server } from "./create-server.ts";

const EMPTY = framed(new Uint8Array(0));

describe("a server one of whose dependencies fails", () => {
  it("says so in every answer, whatever its status, and says nothing when it is well", async () => {
    const handlers = {
      add: () => {
        throw new RpcError("NOT_FOUND", "none");
      },
    };
    const world = manualWorld();
    await using down = benchServer(handlers, { world, checks: { database: () => false } });
    await using well = benchServer(handlers, { world, checks: { database: () => true } });
    for (const server of [down, well]) {
      const { address } = await server.listen(0);
      const expected = server === down ? "degraded" : undefined;
      for (let second = 0; second < 5; second++) {
        await turns(1);
        world.advance(1_200);
      }
      assert.equal(server.status().health, server === down ? "DEGRADED" : "SERVING");
      await using raw = await rawClient(address);
      const answers = [
        await raw.request("/bench.v1.Bench/Echo", EMPTY),
        await raw.request("/bench.v1.Bench/Down", EMPTY),
        await raw.request("/bench.v1.Bench/Add", EMPTY),
        await raw.request("/bench.v1.Bench/Nothing", EMPTY),
        await raw.request("/bench.v1.Bench/Add", EMPTY, { "grpc-timeout": "soon" }),
      ];
      const codes = answers.map(({ header, trailer }) => trailer["grpc-status"] ?? header["grpc-status"]);
      assert.deepEqual(codes, ["0", "0", "5", "12", "13"]);
      for (const { header, trailer } of answers) {
        assert.equal(header["holdfast-health"], expected);
        assert.equal(trailer["holdfast-health"], undefined, "once");
      }
    }
  });

  it("gets half of the calls that it would get, until its answers say nothing of it, and peers() says why", async () => {
    await using cluster = createCluster();
    const counts = [0, 0];
    let isDown = false;
    const count = (at: number) => (server: Server) =>
      probe(server, { unary: () => ((counts[at] = (counts[at] ?? 0) + 1), {}) });
    cluster.serve("first", 1, count(0), { checks: { database: () => !isDown } });
    cluster.serve("second", 1, count(1));
    const client = createClient(Probe, [...cluster.target("first"), ...cluster.target("second")], {
      world: cluster.world,
      plaintext: true,
      balance: "weighted",
      policy: { hedge: false },
    });
    const calls = async (number: number): Promise<number[]> => {
      counts.fill(0);
      for (let i = 0; i < number; i++) await cluster.settle(client.unary({}));
      return [...counts];
    };
    const whys = (): string[] => client.$channel.peers().map(({ why }) => why);
    await calls(10);
    assert.deepEqual(whys(), ["ready", "ready"]);
    assert.deepEqual(await calls(60), [30, 30]);
    const changes: string[] = [];
    using _ = client.$on("peer.changed", ({ why }) => changes.push(why));
    isDown = true;
    await cluster.advance(40_000);
    assert.equal(cluster.server("first", 0)?.status().health, "DEGRADED");
    await calls(10);
    assert.deepEqual(whys(), ["ready; it says that it is degraded: half the weight", "ready"]);
    assert.deepEqual(await calls(60), [20, 40]);
    isDown = false;
    await cluster.advance(40_000);
    await calls(10);
    assert.deepEqual(whys(), ["ready", "ready"]);
    assert.deepEqual(await calls(60), [30, 30]);
    assert.deepEqual(changes, ["ready; it says that it is degraded: half the weight", "ready"]);
    await cluster.settle(client.$close());
  });

  it("that is down for all replicas takes none of them out: all serve, and every call is answered", async () => {
    await using cluster = createCluster();
    let isDown = false;
    cluster.serve("shop", 3, (server) => probe(server), { checks: { database: () => !isDown } });
    const client = cluster.client(Probe, "shop", { health: { service: "" }, policy: { retry: false, hedge: false } });
    await cluster.settle(client.unary({}));
    const ofPeers = new Set<string>();
    using _ = client.$on("peer.changed", ({ health }) => ofPeers.add(health));
    isDown = true;
    await cluster.advance(40_000);
    for (let i = 0; i < 30; i++) await cluster.settle(client.unary({}));
    const statuses = [0, 1, 2].map((at) => cluster.server("shop", at)?.status());
    for (const status of statuses) {
      assert.deepEqual([status?.health, status?.services[Probe.typeName]], ["DEGRADED", "SERVING"]);
      assert.ok((status?.calls.finished ?? 0) > 0);
    }
    assert.deepEqual([...ofPeers], ["ready"]);
    isDown = false;
    await cluster.advance(40_000);
    assert.equal(cluster.server("shop", 0)?.status().health, "SERVING");
  });

  it("that its owner called essential takes out the replicas for which it fails, and those alone", async () => {
    await using cluster = createCluster();
    let isDown = false;
    const essential = { disk: { check: () => !isDown, isEssential: true } };
    cluster.serve("ill", 1, (server) => probe(server), { checks: essential });
    cluster.serve("well", 2, (server) => probe(server), { checks: { disk: { check: () => true, isEssential: true } } });
    const client = createClient(Probe, [...cluster.target("ill"), ...cluster.target("well")], {
      world: cluster.world,
      plaintext: true,
      health: { service: "" },
    });
    await cluster.settle(client.unary({}));
    isDown = true;
    await cluster.advance(40_000);
    assert.equal(cluster.server("ill", 0)?.status().health, "NOT_SERVING");
    assert.deepEqual(
      client.$channel.peers().map(({ health }) => health),
      ["not-serving", "ready", "ready"],
    );
    const before = cluster.server("ill", 0)?.status().methods[0]?.started;
    for (let i = 0; i < 30; i++) await cluster.settle(client.unary({}));
    assert.equal(cluster.server("ill", 0)?.status().methods[0]?.started, before);
    isDown = false;
    await cluster.advance(40_000);
    assert.deepEqual(
      client.$channel.peers().map(({ health }) => health),
      ["ready", "ready", "ready"],
    );
    await cluster.settle(client.$close());
  });

  it("is asked about from the first client in its own process on, though no door is open", async () => {
    let asked = 0;
    await using server = benchServer({}, { checks: { database: () => ((asked += 1), true) } });
    await turns(2);
    assert.equal(asked, 0);
    await using client = createClient(Bench, server);
    await client.add({});
    assert.equal(asked, 1);
  });
});

describe("setHealth", () => {
  it("stands above the checks until the drain, for a service and for the whole server", async () => {
    await using cluster = createCluster();
    cluster.serve("shop", 2, (server) => probe(server));
    const client = cluster.client(Probe, "shop", { health: { service: Probe.typeName } });
    await cluster.settle(client.unary({}));
    cluster.server("shop", 0)?.setHealth(Probe.typeName, "NOT_SERVING");
    await cluster.advance(100);
    assert.deepEqual(
      client.$channel.peers().map(({ health }) => health),
      ["not-serving", "ready"],
    );
    const status = cluster.server("shop", 0)?.status();
    assert.deepEqual([status?.health, status?.services[Probe.typeName]], ["SERVING", "NOT_SERVING"]);
    cluster.server("shop", 0)?.setHealth(Probe.typeName, "SERVING");
    await cluster.advance(100);
    assert.deepEqual(
      client.$channel.peers().map(({ health }) => health),
      ["ready", "ready"],
    );
    assert.throws(() => cluster.server("shop", 0)?.setHealth("shop.v1.Nothing", "SERVING"), RangeError);
    assert.throws(() => cluster.server("shop", 0)?.setHealth("", "DEGRADED" as never), TypeError);
  });
});
