import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Cluster, createCluster, type Injection } from "holdfast/testing";
import { pause, probe, SafeProbe } from "../simulation/probe-cluster.ts";
import { AttemptLog } from "./attempt-log.ts";
import { type LoadTally, steadyLoad } from "./steady-load.ts";

const STALL_MS = 1_000;
const WARM_MS = 2_000;

interface Stall {
  readonly faults: readonly Injection[];
  readonly timeoutMs: number;
  readonly serverMs: number;
  /** Whether every call is good: its answer waits in the socket when the process goes on. */
  readonly losesNone: boolean;
}

const FREEZE: Injection = { kind: "stall", peer: "client", stallMs: STALL_MS };
/** The kernel of a machine that is paused takes nothing either: what was sent to it is lost, and comes again later. */
const PAUSE: readonly Injection[] = [FREEZE, { kind: "partition", between: ["client", "shop"], forMs: STALL_MS }];

const STALLS: Readonly<Record<string, Stall>> = {
  // For the process the two are the same: nothing runs, the kernel goes on.
  "whose loop is blocked": { faults: [FREEZE], timeoutMs: 5_000, serverMs: 5, losesNone: true },
  "whose process is stopped while deadlines pass": { faults: [FREEZE], timeoutMs: 500, serverMs: 5, losesNone: true },
  "whose process is stopped while its calls take 250 ms": {
    faults: [FREEZE],
    timeoutMs: 500,
    serverMs: 250,
    losesNone: true,
  },
  "whose machine is paused": { faults: PAUSE, timeoutMs: 5_000, serverMs: 5, losesNone: true },
  "whose machine is paused while deadlines pass": { faults: PAUSE, timeoutMs: 500, serverMs: 250, losesNone: false },
};

interface Stalled {
  readonly log: AttemptLog;
  readonly tally: LoadTally;
  /** Peers that are not "ready" 100 ms after the stall. */
  readonly ill: readonly string[];
}

/** A client under load whose process does nothing for a while, beginning at a moment that differs by seed. */
async function stall(
  size: number,
  seed: number,
  faults: readonly Injection[],
  timeoutMs: number,
  serverMs: number,
): Promise<Stalled> {
  await using cluster = createCluster({ seed });
  serve(cluster, size, serverMs);
  const client = cluster.client(SafeProbe, "shop", { policy: { timeoutMs } });
  const log = new AttemptLog(client, cluster.simulation, cluster.world);
  const load = steadyLoad(cluster.world, 20 * size, () => client.unary({}));
  await cluster.advance(WARM_MS + cluster.world.random.float() * 100);
  cluster.inject(...faults);
  await cluster.advance(STALL_MS + 100);
  const ill = client.$channel
    .peers()
    .filter(({ health }) => health !== "ready")
    .map(({ address, health, why }) => `${address} is ${health}: ${why}`);
  await cluster.advance(3_000);
  load.stop();
  await cluster.settle(load.drained());
  return { log, tally: load.tally, ill };
}

function serve(cluster: Cluster, replicas: number, serverMs: number): void {
  cluster.serve("shop", replicas, (server, index) => {
    const world = cluster.simulation.host(`shop/${index}`);
    return probe(server, {
      unary: async ({ body }, call) => {
        await pause(world, serverMs, call.signal);
        return { body };
      },
    });
  });
}

for (const size of [2, 3, 5, 50]) {
  describe(`a client of ${size} peers`, () => {
    for (const [name, { faults, timeoutMs, serverMs, losesNone }] of Object.entries(STALLS)) {
      it(`${name} for 1 s: it suspects, condemns and ejects nobody, and blames no call on a peer`, async () => {
        for (const seed of size === 50 ? [1] : [1, 2, 3]) {
          const { log, tally, ill } = await stall(size, seed, faults, timeoutMs, serverMs);
          assert.equal(log.named("stall").length, 1, `seed ${seed}: the stall is told of once`);
          assert.deepEqual(log.named("condemned"), [], `seed ${seed}`);
          assert.deepEqual(log.named("ejection"), [], `seed ${seed}`);
          assert.deepEqual(ill, [], `seed ${seed}: a tenth of a second after the stall`);
          assert.ok(
            log.named("suspected").length <= size / 50,
            `seed ${seed}: ${log.named("suspected").length} suspected`,
          );
          const faultsMet = [...tally.failures.flatMap((failure) => failure.faults), ...log.faults()];
          const blamed = faultsMet.filter(({ blame }) => blame === "peer" || blame === "network");
          assert.deepEqual(blamed, [], `seed ${seed}`);
          if (losesNone) assert.deepEqual(tally.failures.map(String), [], `seed ${seed}`);
          assert.ok(tally.ok > 100, `seed ${seed}: ${tally.ok} good calls`);
        }
      });
    }
  });
}

it("finds a peer that died while the client stood still, and blames it alone", async () => {
  for (const seed of [1, 2, 3]) {
    await using cluster = createCluster({ seed });
    serve(cluster, 5, 5);
    const client = cluster.client(SafeProbe, "shop", { balance: "round-robin" });
    const log = new AttemptLog(client, cluster.simulation, cluster.world);
    const load = steadyLoad(cluster.world, 100, () => client.unary({}));
    await cluster.advance(WARM_MS);
    cluster.inject({ kind: "stall", peer: "client", stallMs: STALL_MS }, { kind: "freeze", peer: "shop/0", atMs: 500 });
    await cluster.advance(10_000);
    load.stop();
    await cluster.settle(load.drained());
    const victim = cluster.target("shop")[0] as string;
    assert.deepEqual(load.tally.failures.map(String), [], `seed ${seed}`);
    const opinions = [...log.named("suspected"), ...log.named("condemned"), ...log.named("ejection")];
    assert.deepEqual([...new Set(opinions.map(({ address }) => address))], [victim], `seed ${seed}`);
    // All times are stretched by the stall, five-fold at first, and less as it is forgotten.
    const condemnedAfterMs = log.when("condemned", victim) - (WARM_MS + STALL_MS);
    assert.ok(condemnedAfterMs < 6_500, `seed ${seed}: condemned ${condemnedAfterMs} ms after the stall`);
  }
});

it("sees through stalls that come again and again, as with a machine that is short of CPU", async () => {
  await using cluster = createCluster({ seed: 7 });
  serve(cluster, 5, 5);
  const client = cluster.client(SafeProbe, "shop");
  const log = new AttemptLog(client, cluster.simulation, cluster.world);
  const load = steadyLoad(cluster.world, 100, () => client.unary({}));
  await cluster.advance(WARM_MS);
  const { random } = cluster.world;
  for (let atMs = 0; atMs < 60_000; atMs += 400 + random.float() * 1_000)
    cluster.inject({ kind: "stall", peer: "client", atMs, stallMs: 50 + random.float() * 500 });
  await cluster.advance(65_000);
  load.stop();
  await cluster.settle(load.drained());
  const opinions = [...log.named("suspected"), ...log.named("condemned"), ...log.named("ejection")];
  assert.deepEqual(opinions, []);
  assert.deepEqual(load.tally.failures.map(String), []);
});
