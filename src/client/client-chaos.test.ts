import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { CallFaultLayer, CallFaultLimit, type CallFaultPlan } from "holdfast/chaos";
import { createCluster } from "holdfast/testing";
import { Bench, type BenchClient, benchServer } from "../../test/calls/bench-service.ts";
import { manualWorld } from "../../test/calls/manual-world.ts";
import { assertFails } from "../../test/calls/failure.ts";
import { Probe, probe } from "../../test/simulation/probe-cluster.ts";
import { seededRandom } from "../world/seeded-random.ts";
import { createClient } from "./create-client.ts";

const ONE_ATTEMPT = { retry: false, hedge: false } as const;

/** A client whose attempts suffer, of a server that counts its calls. */
async function withFaults(
  plans: readonly CallFaultPlan[],
  work: (client: BenchClient, served: () => number, world: ReturnType<typeof manualWorld>) => Promise<void>,
): Promise<void> {
  const world = manualWorld();
  let served = 0;
  await using server = benchServer({ add: ({ a }) => ((served += 1), { result: a }) }, { world });
  const { address } = await server.listen(0);
  const chaos = new CallFaultLayer(plans, seededRandom(1), world.clock.monotonicMs());
  const client = createClient(Bench, address, { world, chaos, policy: ONE_ATTEMPT });
  await work(client, () => served, world);
  await client.$close({ timeoutMs: 0 });
}

describe("a chaos layer", () => {
  it("lets an attempt fail before anything is sent", () =>
    withFaults([{ kind: "fail", code: "UNAVAILABLE" }], async (client, served, world) => {
      const error = await assertFails(world.settle(client.add({})), "UNAVAILABLE");
      assert.match(error.text, /chaos/);
      assert.equal(served(), 0);
    }));

  it("delays an attempt, and lets it arrive whole", () =>
    withFaults([{ kind: "delay", delayMs: 500 }], async (client, served, world) => {
      const startMs = world.clock.monotonicMs();
      assert.equal((await world.settle(client.add({ a: 7 }))).result, 7);
      assert.ok(world.clock.monotonicMs() - startMs >= 500);
      assert.equal(served(), 1);
    }));

  it("gives an attempt that it delayed until the peer was gone to another one, whatever its effect: it never left", async () => {
    await using cluster = createCluster();
    const served: number[] = [];
    cluster.serve("shop", 2, (server, index) => probe(server, { unary: () => (served.push(index), {}) }));
    const plan: CallFaultPlan = { kind: "delay", delayMs: 500, forMs: 2_000 };
    const chaos = new CallFaultLayer([plan], seededRandom(1), cluster.world.clock.monotonicMs());
    // Probe says nothing of its methods' effects, so nothing is repeated that could have begun.
    const client = cluster.client(Probe, "shop", { chaos });
    await cluster.settle(client.$channel.ready());
    const call = client.unary({});
    await cluster.advance(100);
    const busy = client.$channel.peers().findIndex(({ inFlight }) => inFlight === 1);
    cluster.inject({ kind: "crash", peer: `shop/${busy}` });
    await cluster.settle(call);
    assert.deepEqual(served, [1 - busy]);
    const attempts = cluster.records("/holdfast.interop.v1.Probe/Unary")[0]?.attempts ?? [];
    assert.deepEqual(
      attempts.map(({ code, why }) => `${why} ${code}`),
      ["first UNAVAILABLE", "retry OK"],
    );
  });

  it("drops an attempt, which ends at its call's deadline and leaves nothing in flight", () =>
    withFaults([{ kind: "drop" }], async (client, served, world) => {
      await assertFails(world.settle(client.add({}, { timeoutMs: 200 })), "DEADLINE_EXCEEDED");
      assert.equal(served(), 0);
      assert.equal(client.$channel.peers()[0]?.inFlight, 0);
    }));

  it("cuts a reply short: the call fails and the connection lives on", () =>
    withFaults([{ kind: "truncate", share: 1, forMs: 100 }], async (client, served, world) => {
      await assertFails(world.settle(client.add({ a: 7 })), "DATA_LOSS");
      world.advance(200);
      assert.equal((await world.settle(client.add({ a: 8 }))).result, 8);
      assert.equal(served(), 2);
    }));

  for (const kind of ["delay", "fail", "drop", "corrupt"] as const) {
    it(`counts an attempt that meets "${kind}" against its limit until the attempt has ended, and no longer`, async () => {
      const world = manualWorld();
      const limit = new CallFaultLimit(1);
      await using server = benchServer({ add: ({ a }) => ({ result: a }) }, { world });
      const { address } = await server.listen(0);
      const rest = kind === "delay" ? { delayMs: 50 } : kind === "fail" ? { code: "ABORTED" as const } : {};
      const chaos = new CallFaultLayer([{ kind, ...rest }], seededRandom(1), world.clock.monotonicMs(), limit);
      const client = createClient(Bench, address, { world, chaos, policy: ONE_ATTEMPT });
      for (let round = 0; round < 3; round++) {
        const call = client.add({ a: 7 }, { timeoutMs: 200 }).then(
          () => "OK",
          () => "failed",
        );
        assert.equal(await world.settle(call), kind === "delay" ? "OK" : "failed", `round ${round}`);
        assert.equal(limit.active, 0);
      }
      await client.$close({ timeoutMs: 0 });
    });
  }

  it("is seen by repeats: many attempts fail, and every call succeeds", async () => {
    await using server = benchServer();
    const { address } = await server.listen(0);
    const chaos = new CallFaultLayer([{ kind: "fail", code: "UNAVAILABLE", share: 0.4 }], seededRandom(3), 0);
    await using client = createClient(Bench, address, {
      chaos,
      policy: { retry: { attemptsMax: 10, backoff: { kind: "constant", baseMs: 1 } } },
      budget: { perSecondMin: 1000 },
    });
    for (let a = 0; a < 30; a++) assert.equal((await client.add({ a })).result, a);
    const [row] = client.$channel.reliability();
    assert.equal(row?.failures, 0);
    assert.ok((row?.attemptReliability ?? 1) < 0.8 && (row?.attemptReliability ?? 0) > 0.4);
  });
});
