import assert from "node:assert/strict";
import { test } from "node:test";
import { createCluster } from "holdfast/testing";
import * as fc from "fast-check";
import { troubles } from "./fault-plan.ts";
import { planUniverse, reducedPlan, serviceName } from "./universe-plan.ts";

const seedOf = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });

test("a seed is one plan, and the plan is data", () => {
  fc.assert(
    fc.property(seedOf, (seed) => {
      const plan = planUniverse(seed);
      assert.deepEqual(planUniverse(seed), plan);
      assert.deepEqual(planUniverse(seed).faults, plan.faults);
      const { replicas } = plan.servers;
      assert.ok(replicas >= 2 && replicas <= 7 && plan.clients.length >= 1 && plan.clients.length <= 4);
    }),
  );
});

test("every fault is one that the simulation takes, is of a host that there is, and ends with the storm", async () => {
  await using cluster = createCluster();
  fc.assert(
    fc.property(seedOf, (seed) => {
      const { faults, clients, servers, stormMs } = planUniverse(seed);
      const hosts = new Set(clients.map(({ host }) => host));
      for (let index = 0; index < servers.replicas; index++) hosts.add(`${serviceName}/${index}`);
      for (const fault of faults) {
        if (fault.kind !== "drain") cluster.inject(fault);
        const peers = "between" in fault ? fault.between : fault.peer === undefined ? [] : [fault.peer];
        for (const peer of peers) assert.ok(hosts.has(peer), peer);
        const lastsMs = fault.kind === "stall" ? fault.stallMs : (fault.forMs ?? 0);
        assert.ok(fault.atMs >= 0 && fault.atMs + lastsMs <= stormMs, JSON.stringify(fault));
      }
      assert.deepEqual(
        faults.map(({ atMs }) => atMs),
        faults.map(({ atMs }) => atMs).sort((left, right) => left - right),
      );
    }),
  );
  assert.equal(cluster.simulation.nowMs, 0);
});

test("three hundred seeds know every kind of fault, and differ in what they know", () => {
  const plans = Array.from({ length: 300 }, (_, seed) => planUniverse(seed));
  const kinds = new Set(plans.flatMap(({ faults }) => faults.map(({ kind }) => kind)));
  assert.deepEqual([...kinds].sort(), [
    "clock-jump",
    "corrupt",
    "crash",
    "delay",
    "drain",
    "drop",
    "fail",
    "freeze",
    "partition",
    "reset",
    "restart",
    "stall",
    "truncate",
  ]);
  const characters = new Set(plans.map(({ faults }) => [...new Set(faults.map(({ kind }) => kind))].sort().join()));
  assert.ok(characters.size > 150, String(characters.size));
  assert.ok(Object.keys(troubles).length >= 20);
  const effects = new Set(plans.flatMap(({ clients }) => clients.flatMap((client) => client.effects)));
  const called = new Set(plans.flatMap(({ clients }) => clients.flatMap((client) => client.kinds)));
  assert.deepEqual([effects.size, called.size], [4, 4]);
  // Bits flip in few of them: little can be said about those.
  const corrupting = plans.filter(({ isCorrupting }) => isCorrupting).length;
  assert.ok(corrupting > 10 && corrupting < 60, String(corrupting));
});

test("a shorter storm leaves out what would begin after it", () => {
  const plan = planUniverse(5);
  const half = reducedPlan(plan, plan.faults, plan.stormMs / 2);
  assert.ok(half.faults.length < plan.faults.length && half.faults.every(({ atMs }) => atMs < plan.stormMs / 2));
  assert.deepEqual({ ...half, faults: [], stormMs: 0 }, { ...plan, faults: [], stormMs: 0 });
});

test("refuses what is no seed", () => {
  for (const seed of [-1, 1.5, Number.NaN, 2 ** 53]) assert.throws(() => planUniverse(seed), RangeError);
});
