import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Cluster, createCluster, type Injection } from "holdfast/testing";
import type { World } from "../../src/world/world.ts";
import { pause, Probe, probe, SafeProbe } from "../simulation/probe-cluster.ts";
import { AttemptLog } from "./attempt-log.ts";
import { steadyLoad } from "./steady-load.ts";

/** Every claim is made for fleets of these sizes. */
const SIZES = [2, 3, 5, 50] as const;
const SEEDS = [1, 2, 3] as const;
const WARM_MS = 2_000;
/** One call to the peer in 100 ms at least: what the times are promised for. */
const CALL_GAP_MS = 100;

interface Calls {
  readonly balance: "p2c-ewma" | "round-robin";
  readonly perPeerPerSecond: number;
}

/** Exactly ten calls a second to each; and the default, which has gaps of its own. */
const CALLS: readonly Calls[] = [
  { balance: "round-robin", perPeerPerSecond: 10 },
  { balance: "p2c-ewma", perPeerPerSecond: 25 },
];

const KILLED: Injection = { kind: "crash", peer: "shop/0" };
const SILENT: Readonly<Record<string, Injection>> = {
  "stopped (SIGSTOP)": { kind: "freeze", peer: "shop/0" },
  "cut off both ways": { kind: "partition", between: ["client", "shop/0"] },
  "without power": { kind: "crash", peer: "shop/0", isMachine: true },
};
const ONE_WAY: Readonly<Record<string, Injection>> = {
  "deaf: nothing reaches it": { kind: "partition", between: ["client", "shop/0"], isOneWay: true },
  "dumb: nothing of it arrives": { kind: "partition", between: ["shop/0", "client"], isOneWay: true },
};

/** Milliseconds since the fault; NaN for what did not happen. */
interface Found {
  readonly firstAttemptMs: number;
  readonly lastAttemptMs: number;
  readonly suspectMs: number;
  readonly condemnedMs: number;
  readonly failures: readonly string[];
  /** Opinions of the peers that are well. */
  readonly wronged: readonly string[];
}

/** One of `size` peers suffers a fault under load, at a moment that differs by seed. */
async function find(size: number, seed: number, fault: Injection, calls: Calls): Promise<Found> {
  await using cluster = createCluster({ seed });
  serve(cluster, size);
  const client = cluster.client(SafeProbe, "shop", { balance: calls.balance });
  const log = new AttemptLog(client, cluster.simulation, cluster.world);
  const load = steadyLoad(cluster.world, calls.perPeerPerSecond * size, () => client.unary({}));
  await cluster.advance(WARM_MS + cluster.world.random.float() * 2 * CALL_GAP_MS);
  const faultMs = cluster.simulation.nowMs;
  cluster.inject(fault);
  await cluster.advance(2_000);
  load.stop();
  await cluster.settle(load.drained());
  const victim = cluster.target("shop")[0] as string;
  const opinions = [...log.named("suspected"), ...log.named("condemned"), ...log.named("ejection")];
  return {
    firstAttemptMs: log.firstTo(victim, faultMs) - faultMs,
    lastAttemptMs: log.lastTo(victim, faultMs) - faultMs,
    suspectMs: log.when("suspected", victim, faultMs) - faultMs,
    condemnedMs: log.when("condemned", victim, faultMs) - faultMs,
    failures: load.tally.failures.map(({ verdict }) => verdict),
    wronged: opinions.filter(({ address }) => address !== victim).map(({ name, address }) => `${name} ${address}`),
  };
}

/** Calls take 2 ms. */
function serve(cluster: Cluster, replicas: number): void {
  cluster.serve("shop", replicas, (server, index) => {
    const world = cluster.simulation.host(`shop/${index}`);
    return probe(server, {
      unary: async ({ body }, call) => {
        await pause(world, 2, call.signal);
        return { body };
      },
    });
  });
}

/** A gap in the calls that is longer than promised is not the detector's. */
function assertSilenceFound(found: Found, what: string): void {
  const excessMs = Number.isFinite(found.firstAttemptMs) ? Math.max(0, found.firstAttemptMs - CALL_GAP_MS) : 0;
  assert.ok(found.suspectMs - excessMs <= 500, `${what}: suspect after ${found.suspectMs} ms`);
  assert.ok(found.lastAttemptMs - excessMs <= 500, `${what}: last attempt after ${found.lastAttemptMs} ms`);
  assert.ok(found.condemnedMs - excessMs <= 1_500, `${what}: condemned after ${found.condemnedMs} ms`);
  assert.deepEqual(found.failures, [], what);
  assert.deepEqual(found.wronged, [], what);
}

for (const size of SIZES) {
  describe(`a fleet of ${size} peers`, () => {
    it("sends nothing to a peer later than 10 ms after its process was killed, and loses no call", async () => {
      for (const seed of SEEDS) {
        for (const calls of CALLS) {
          const found = await find(size, seed, KILLED, calls);
          const what = `seed ${seed}, ${calls.balance}`;
          assert.ok(found.lastAttemptMs <= 10, `${what}: last attempt after ${found.lastAttemptMs} ms`);
          assert.deepEqual(found.failures, [], what);
          assert.deepEqual(found.wronged, [], what);
        }
      }
    });

    for (const [name, fault] of Object.entries(SILENT)) {
      it(`suspects a peer that is ${name} within 500 ms, condemns it within 1.5 s, and loses no call`, async () => {
        for (const seed of SEEDS)
          for (const calls of CALLS)
            assertSilenceFound(await find(size, seed, fault, calls), `seed ${seed}, ${calls.balance}`);
      });
    }

    it("replaces a connection that is reset within 10 ms, and loses no call to it", async () => {
      for (const seed of SEEDS) {
        await using cluster = createCluster({ seed });
        serve(cluster, size);
        const client = cluster.client(SafeProbe, "shop");
        const log = new AttemptLog(client, cluster.simulation, cluster.world);
        const load = steadyLoad(cluster.world, 33 * size, () => client.unary({}));
        await cluster.advance(WARM_MS);
        const [victim] = cluster.target("shop");
        cluster.inject({ kind: "reset", peer: "shop/0" });
        await cluster.advance(10);
        const health = log.named("peer.changed").filter(({ address, atMs }) => address === victim && atMs >= WARM_MS);
        assert.deepEqual(
          health.map(({ why }) => why),
          ["connecting", "ready"],
          `seed ${seed}`,
        );
        await cluster.advance(1_000);
        load.stop();
        await cluster.settle(load.drained());
        assert.deepEqual(load.tally.failures.map(String), [], `seed ${seed}`);
      }
    });

    for (const [name, fault] of Object.entries(ONE_WAY)) {
      it(`finds a peer that is ${name}, as fast as one that is cut off both ways`, async () => {
        for (const seed of SEEDS)
          for (const calls of CALLS)
            assertSilenceFound(await find(size, seed, fault, calls), `seed ${seed}, ${calls.balance}`);
      });
    }

    it("finds a silent peer also when each call gives up before silence can say anything", async () => {
      await using cluster = createCluster({ seed: 5 });
      serve(cluster, size);
      const client = cluster.client(SafeProbe, "shop", {
        balance: "round-robin",
        policy: { timeoutMs: 150, hedge: false },
      });
      const log = new AttemptLog(client, cluster.simulation, cluster.world);
      const load = steadyLoad(cluster.world, 10 * size, () => client.unary({}));
      await cluster.advance(WARM_MS);
      cluster.inject({ kind: "freeze", peer: "shop/0" });
      await cluster.advance(2_000);
      load.stop();
      await cluster.settle(load.drained());
      const victim = cluster.target("shop")[0] as string;
      // Four times the method's p99, which its own late calls have raised to their 150 ms.
      assert.ok(log.when("suspected", victim) <= WARM_MS + 700, `${log.when("suspected", victim)}`);
      assert.ok(log.when("condemned", victim) <= WARM_MS + 1_700, `${log.when("condemned", victim)}`);
      // The fifth is known to be late after 650 ms; two more are under way by then.
      assert.ok(load.tally.failures.length <= 8, `${load.tally.failures.length} calls were sent to it`);
    });

    it("does not keep from calls for long a peer that is slow and answers PINGs, though it loses each of its calls to a copy", async () => {
      await using cluster = createCluster({ seed: 6 });
      let isSlow = false;
      cluster.serve("shop", size, (server, index) => {
        const world = cluster.simulation.host(`shop/${index}`);
        return probe(server, {
          unary: async ({ body }, call) => {
            await pause(world, index === 0 && isSlow ? 2_000 : 2, call.signal);
            return { body };
          },
        });
      });
      const client = cluster.client(SafeProbe, "shop", { balance: "round-robin" });
      const log = new AttemptLog(client, cluster.simulation, cluster.world);
      const load = steadyLoad(cluster.world, 20 * size, () => client.unary({}));
      await cluster.advance(WARM_MS);
      isSlow = true;
      await cluster.advance(20_000);
      isSlow = false;
      await cluster.advance(20_000);
      load.stop();
      await cluster.settle(load.drained());
      const [slow] = cluster.target("shop");
      assert.deepEqual(log.named("condemned"), []);
      assert.deepEqual(load.tally.failures.map(String), []);
      const lately = log.attempts.filter(({ address, startedMs }) => address === slow && startedMs > WARM_MS + 35_000);
      assert.ok(lately.length > 50, `${lately.length} attempts in the last seconds`);
    });
  });
}

it("leaves alone a peer whose handler takes 8 s, though the PINGs that servers bear are spent: one before reuse, one since", async () => {
  await using cluster = createCluster({ seed: 7 });
  const world = (): World => cluster.simulation.host("shop/0");
  cluster.serve("shop", 1, (server) =>
    probe(server, {
      unary: async ({ delayMs }, call) => {
        await pause(world(), delayMs, call.signal);
        return {};
      },
    }),
  );
  const client = cluster.client(Probe, "shop");
  const log = new AttemptLog(client, cluster.simulation, cluster.world);
  await cluster.settle(client.unary({ delayMs: 1 }));
  await cluster.advance(10_000);
  await cluster.settle(client.unary({ delayMs: 8_000 }));
  assert.deepEqual(log.named("condemned"), []);
  assert.equal(log.named("suspected").length > 0, true);
});
