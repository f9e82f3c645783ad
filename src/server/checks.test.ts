import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createCluster } from "holdfast/testing";
import { gate, turns } from "../../test/calls/gate.ts";
import { manualWorld } from "../../test/calls/manual-world.ts";
import { pause, Probe, probe } from "../../test/simulation/probe-cluster.ts";
import { Health } from "../schema/gen/grpc/health/v1/health_pb.ts";
import { createSimulation } from "../testing/index.ts";
import { type ChecksOptions, resolveChecks } from "./check-options.ts";
import { type CheckReport, Checks } from "./checks.ts";
import { HealthBoard } from "./health.ts";
import { HealthService } from "./health-service.ts";

const TEN_SECONDS = 10_000;

interface Rig {
  readonly checks: Checks;
  readonly words: string[];
  advance(ms: number): Promise<void>;
  readonly timers: number;
  readonly first: CheckReport;
}

function rig(given: ChecksOptions): Rig {
  const world = manualWorld();
  const words: string[] = [];
  const checks = new Checks(world, resolveChecks(given), (word) => words.push(word));
  return {
    checks,
    words,
    async advance(ms) {
      for (let left = ms; left > 0; left -= 100) {
        world.advance(Math.min(100, left));
        await turns(1);
      }
    },
    get timers() {
      return world.waiting;
    },
    get first() {
      return checks.report()[0] as CheckReport;
    },
  };
}

describe("dependency checks", () => {
  it("without any the server serves, and no timer is set", () => {
    const { checks, timers } = rig({});
    assert.equal(checks.word, "passing");
    checks.start();
    assert.equal(timers, 0);
  });

  it("an essential one is pending until it has passed; a server that starts is asked about again within a second or so", async () => {
    let isThere = false;
    const { checks, words, advance } = rig({ database: { check: () => isThere, isEssential: true } });
    assert.equal(checks.word, "pending");
    checks.start();
    await advance(5_000);
    assert.equal(checks.word, "pending");
    isThere = true;
    await advance(1_200);
    assert.deepEqual(words, ["passing"]);
  });

  it("fails by throwing, rejecting, giving false or hanging, and passes with anything else", async () => {
    const failures: readonly (readonly [check: (signal: AbortSignal) => unknown, why: RegExp])[] = [
      [() => assert.fail("no database"), /^no database$/],
      [() => Promise.reject(new Error("refused")), /^refused$/],
      [() => false, /^it gave false$/],
      [async () => Promise.resolve(false), /^it gave false$/],
      [() => new Promise(() => {}), /^it (took longer than 2000 ms|still runs, \d+ ms after it began)$/],
      [() => Promise.reject("a text"), /^it threw "a text"$/],
      [() => Promise.reject(new Proxy(new Error("x"), { get: () => assert.fail() })), /cannot be read/],
      [() => Promise.reject(new Error("x".repeat(10_000))), /^x{200}$/],
    ];
    for (const [check, why] of failures) {
      const one = rig({ database: check });
      one.checks.start();
      await one.advance(2 * TEN_SECONDS);
      assert.equal(one.checks.word, "degraded");
      assert.match(one.first.why ?? "", why);
      one.checks.stop();
    }
    for (const value of [undefined, null, 0, "", true, { rows: [] }]) {
      const one = rig({ database: () => value });
      one.checks.start();
      await one.advance(2 * TEN_SECONDS);
      assert.equal(one.checks.word, "passing");
      assert.equal(one.first.why, undefined);
      one.checks.stop();
    }
  });

  it("one failure changes nothing, the second does, and one success mends it", async () => {
    let failures = 0;
    const runs: boolean[] = [];
    const { checks, words, advance } = rig({
      database: () => {
        runs.push(failures === 0);
        if (failures > 0) {
          failures -= 1;
          throw new Error("down");
        }
      },
    });
    checks.start();
    await advance(5 * TEN_SECONDS);
    failures = 1;
    await advance(5 * TEN_SECONDS);
    assert.deepEqual(words, []);
    failures = 2;
    await advance(5 * TEN_SECONDS);
    assert.deepEqual(words, ["degraded", "passing"]);
    assert.ok(runs.length >= 13 && runs.length <= 18, `${runs.length} runs in 150 s`);
  });

  it("aborts the signal at the timeout, and does not run a check again that goes on all the same", async () => {
    const release = gate();
    let running = 0;
    let most = 0;
    let runs = 0;
    const reasons: unknown[] = [];
    const { checks, words, advance, first } = rig({
      stubborn: async (signal) => {
        runs += 1;
        running += 1;
        most = Math.max(most, running);
        signal.addEventListener("abort", () => reasons.push(signal.reason));
        await release.opened;
        running -= 1;
      },
    });
    assert.equal(first.tookMs, undefined);
    checks.start();
    await advance(1_900);
    assert.equal(reasons.length, 0);
    await advance(200);
    assert.match(String(reasons[0]), /the check "stubborn" was given up: it took longer than 2000 ms/);
    await advance(5 * TEN_SECONDS);
    assert.deepEqual([runs, most, words], [1, 1, ["degraded"]]);
    release.open();
    await advance(1);
    assert.deepEqual(words, ["degraded"], "an answer that late says nothing of now");
    await advance(2 * TEN_SECONDS);
    assert.deepEqual(words, ["degraded", "passing"]);
    assert.ok(runs > 1);
    assert.equal(most, 1);
  });

  it("an answer that lay in a socket while this process stood still counts", async () => {
    await using cluster = createCluster();
    cluster.serve("database", 1, (server) => {
      const world = cluster.simulation.host("database/0");
      return probe(server, { unary: (_, { signal }) => pause(world, 1_000, signal).then(() => ({})) });
    });
    const database = cluster.client(Probe, "database", { host: "asker" });
    const given = { database: { check: () => database.unary({}), isEssential: true } };
    const checks = new Checks(cluster.simulation.host("asker"), resolveChecks(given), () => {});
    checks.start();
    await cluster.advance(500);
    cluster.simulation.freeze("asker");
    await cluster.advance(5_000);
    cluster.simulation.thaw("asker");
    await cluster.advance(1);
    assert.deepEqual(
      checks.report().map(({ hasPassed, failuresInARow, why }) => [hasPassed, failuresInARow, why]),
      [[true, 0, undefined]],
    );
    checks.stop();
    await cluster.settle(database.$close({ timeoutMs: 0 }));
  });

  it("stop aborts what runs, sets no timer more, and tells nothing more", async () => {
    const signals: AbortSignal[] = [];
    const one = rig({
      database: {
        check: (signal) => new Promise((_, reject) => signals.push(signal) && signal.addEventListener("abort", reject)),
        isEssential: true,
      },
    });
    one.checks.start();
    one.checks.start();
    await one.advance(100);
    assert.equal(signals.length, 1);
    one.checks.stop();
    assert.equal(signals[0]?.aborted, true);
    assert.equal(one.timers, 0);
    await one.advance(5 * TEN_SECONDS);
    assert.deepEqual([signals.length, one.words, one.timers], [1, [], 0]);
    const never = rig({ database: () => assert.fail("not run") });
    never.checks.stop();
    never.checks.start();
    await never.advance(TEN_SECONDS);
    assert.equal(never.first.failuresInARow, 0);
  });

  it("replicas that start together do not ask together, after the first time", async () => {
    const runs: number[][] = [];
    for (let replica = 0; replica < 50; replica++) {
      const simulation = createSimulation({ seed: replica });
      const own: number[] = [];
      const check = (): void => void own.push(simulation.nowMs);
      new Checks(simulation.host("a"), resolveChecks({ database: check }), () => {}).start();
      await simulation.advance(2 * TEN_SECONDS);
      runs.push(own);
    }
    assert.ok(runs.every(([first]) => first !== undefined && first < 1));
    const perSecond = new Map<number, number>();
    for (const [, second = 0] of runs) {
      const bin = Math.floor(second / 1_000);
      perSecond.set(bin, (perSecond.get(bin) ?? 0) + 1);
    }
    assert.ok(Math.max(...perSecond.values()) <= 12, `of 50 in one second: ${Math.max(...perSecond.values())}`);
  });

  it("reports each by name, frozen", async () => {
    const one = rig({ disk: { check: () => {}, isEssential: true }, database: () => assert.fail("down") });
    one.checks.start();
    await one.advance(500);
    const report = one.checks.report();
    assert.deepEqual(
      report.map(({ name, isEssential, hasPassed, failuresInARow, why }) => [
        name,
        isEssential,
        hasPassed,
        failuresInARow,
        why,
      ]),
      [
        ["disk", true, true, 0, undefined],
        ["database", false, false, 1, "down"],
      ],
    );
    assert.ok(Object.isFrozen(report) && report.every((row) => Object.isFrozen(row)));
    assert.ok(report.every(({ ageMs = -1, tookMs = -1 }) => ageMs >= 0 && tookMs >= 0));
    one.checks.stop();
  });
});

describe("a dependency blip on all replicas", () => {
  for (const isEssential of [false, true]) {
    it(
      isEssential ? "of an essential one denies on all, and is forgotten for all" : "of any other takes no replica out",
      async () => {
        await using cluster = createCluster();
        let isDown = false;
        const boards: HealthBoard[] = [];
        const servedBy = new Set<number>();
        cluster.serve("shop", 5, (server, index) => {
          const world = cluster.simulation.host(`shop/${index}`);
          const board = new HealthBoard();
          boards.push(board);
          const checks = new Checks(world, resolveChecks({ database: { check: () => !isDown, isEssential } }), (word) =>
            board.checksChanged(word),
          );
          board.checksChanged(checks.word);
          checks.start();
          probe(server, { unary: () => (servedBy.add(index), {}) });
          return server.service(Health, new HealthService(board));
        });
        const client = cluster.client(Probe, "shop", { health: { service: "" }, balance: "round-robin" });
        const turned: string[] = [];
        await cluster.settle(client.unary({}));
        await cluster.advance(1_000);
        client.$on("peer.changed", ({ health }) => turned.push(health));
        isDown = true;
        await cluster.advance(30_000);
        assert.deepEqual(
          boards.map(({ server }) => server),
          Array.from({ length: 5 }, () => (isEssential ? "NOT_SERVING" : "DEGRADED")),
        );
        servedBy.clear();
        for (let i = 0; i < 20; i++) await cluster.settle(client.unary({}));
        assert.equal(servedBy.size, 5);
        if (!isEssential) assert.deepEqual(turned, []);
        isDown = false;
        await cluster.advance(12_000);
        assert.ok(boards.every(({ server }) => server === "SERVING"));
        await cluster.settle(client.$close({ timeoutMs: 0 }));
      },
    );
  }
});
