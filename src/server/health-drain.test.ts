import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createCluster } from "holdfast/testing";
import { Probe, probe } from "../../test/simulation/probe-cluster.ts";
import { Health } from "../schema/gen/grpc/health/v1/health_pb.ts";
import { HealthBoard } from "./health.ts";
import { HealthService } from "./health-service.ts";

const PROPAGATION_MS = 5_000;

describe("health while a server drains", () => {
  it("is told first: no call comes from then on, and its Watches hold nothing up", async () => {
    await using cluster = createCluster();
    const servedBy: number[] = [];
    const boards: HealthBoard[] = [];
    const services: HealthService[] = [];
    cluster.serve("shop", 2, (server, index) => {
      const board = new HealthBoard();
      boards[index] = board;
      services[index] = new HealthService(board);
      probe(server, { unary: () => (servedBy.push(index), {}) });
      return server.service(Health, services[index] as HealthService);
    });
    const client = cluster.client(Probe, "shop", { health: { service: "" }, balance: "round-robin" });
    await cluster.settle(client.unary({}));
    await cluster.advance(100);
    assert.deepEqual(
      services.map(({ watches }) => watches),
      [1, 1],
    );

    const closing = cluster.server("shop", 0)?.close() ?? assert.fail();
    boards[0]?.phaseChanged("draining");
    await cluster.advance(10);
    servedBy.length = 0;
    for (let i = 0; i < 20; i++) await cluster.settle(client.unary({}));
    assert.deepEqual([...new Set(servedBy)], [1]);

    await cluster.advance(PROPAGATION_MS - 100);
    services[0]?.end();
    const { cut, tookMs } = await cluster.settle(closing);
    boards[0]?.phaseChanged("closed");
    assert.deepEqual(cut, []);
    assert.ok(tookMs < PROPAGATION_MS + 1_000, `${tookMs} ms`);
    for (let i = 0; i < 20; i++) await cluster.settle(client.unary({}));
    await cluster.settle(client.$close({ timeoutMs: 0 }));
  });
});
