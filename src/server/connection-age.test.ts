import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { RpcError } from "../call/error.ts";
import { createCluster } from "../testing/cluster.ts";
import { steadyLoad } from "../../test/scenarios/steady-load.ts";
import { pause, Probe, probe } from "../../test/simulation/probe-cluster.ts";
import { limitAge } from "./connection-age.ts";
import { createServer } from "./create-server.ts";

const alone = { policy: { retry: false, hedge: false } } as const;

describe("a connection that is old", () => {
  it("is drained at its age +-10 %, and no call that may not be repeated is lost by it", async () => {
    await using cluster = createCluster({ seed: 5 });
    cluster.serve(
      "shop",
      1,
      (server) => {
        const world = cluster.simulation.host("shop/0");
        return probe(server, {
          unary: async ({ body }, call) => {
            await pause(world, 30, call.signal);
            return { body };
          },
        });
      },
      { limits: { connectionAgeMsMax: 10_000 } },
    );
    const client = cluster.client(Probe, "shop", alone);
    const openedMs: number[] = [];
    client.$on("connection.changed", ({ state }) => state === "open" && openedMs.push(cluster.simulation.nowMs));
    const load = steadyLoad(cluster.world, 100, () => client.unary({}, { timeoutMs: 1_000 }));
    await cluster.advance(100_000);
    load.stop();
    await cluster.settle(load.drained());
    assert.deepEqual(load.tally.failures, []);
    assert.ok(load.tally.ok >= 9_900, `${load.tally.ok} calls`);
    const ages = openedMs.slice(1).map((ms, i) => ms - (openedMs[i] as number));
    assert.ok(ages.length >= 8, `${ages.length} connections in 100 s`);
    assert.ok(
      ages.every((age) => age > 8_990 && age < 11_010),
      ages.join(" "),
    );
    assert.ok(Math.max(...ages) - Math.min(...ages) > 100, "they do not end in step");
    assert.ok(load.tally.slowestMs < 60, `a call waited ${load.tally.slowestMs} ms for the next connection`);
  });

  it("tells handlers by draining, lets calls go on for the grace, and then cuts them with words that say why", async () => {
    await using cluster = createCluster();
    const told: [what: string, atMs: number][] = [];
    cluster.serve(
      "shop",
      1,
      (server) =>
        probe(server, {
          unary: (_, call) =>
            new Promise((_resolve, reject) => {
              const note = (what: string) => () => void told.push([what, cluster.simulation.nowMs]);
              call.draining.addEventListener("abort", note("draining"));
              call.signal.addEventListener("abort", note("cut"));
              call.signal.addEventListener("abort", () => reject(call.signal.reason as Error));
            }),
        }),
      { limits: { connectionAgeMsMax: 10_000, connectionAgeGraceMs: 3_000 } },
    );
    const client = cluster.client(Probe, "shop", alone);
    const error = await cluster.settle(
      client.unary({}, { timeoutMs: 60_000 }).catch((thrown: unknown) => thrown),
      { limitMs: 60_000 },
    );
    assert.ok(error instanceof RpcError && error.code === "UNAVAILABLE", String(error));
    assert.match(error.message, /the grace of its connection, which was too old, was over/);
    const [[first, drainedMs] = ["", 0], [second, cutMs] = ["", 0]] = told;
    assert.deepEqual([first, second], ["draining", "cut"]);
    assert.ok(drainedMs > 9_000 && drainedMs < 11_020, `${drainedMs}`);
    assert.ok(cutMs - drainedMs > 2_980 && cutMs - drainedMs < 3_020, `${cutMs - drainedMs}`);
  });

  it("never is, without a limit, and then draws nothing from chance", async () => {
    const never = (): never => assert.fail("drawn");
    const connection = { limitAge: never } as never;
    limitAge(connection, { connectionAgeMsMax: Infinity, connectionAgeGraceMs: 0 }, {
      float: never,
      uint32: never,
    } as never);
    await using cluster = createCluster();
    cluster.serve("shop", 1, (server) => probe(server));
    const client = cluster.client(Probe, "shop", alone);
    let opened = 0;
    client.$on("connection.changed", ({ state }) => {
      if (state === "open") opened += 1;
    });
    for (let hour = 0; hour < 5; hour++) {
      await cluster.settle(client.unary({}));
      await cluster.advance(3_600_000);
    }
    assert.equal(opened, 1);
  });

  it("takes no limit that cannot be", () => {
    for (const connectionAgeMsMax of [0, 999, Number.NaN, -1])
      assert.throws(() => createServer({ limits: { connectionAgeMsMax } }), /limits\.connectionAgeMsMax/);
    assert.throws(() => createServer({ limits: { connectionAgeGraceMs: -1 } }), RangeError);
  });
});
