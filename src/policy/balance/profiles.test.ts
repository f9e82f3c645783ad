/**
 * Balancers under the failures that they are for, in virtual time: thousands of calls a second, one peer among several that is slow,
 * fails fast, falls silent or comes back.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { BalanceKind } from "./balancer.ts";
import type { Candidate } from "./candidate.ts";
import {
  around,
  type Behaviour,
  type Finding,
  newAttempt,
  observe,
  readyPeers,
  runScenario,
} from "./testdata/fleet.ts";
import { balancerOf, countPicks } from "./testdata/fleet.ts";

const well = around(167, 5);

function fleetWith(count: number, behaviour: Behaviour): readonly Behaviour[] {
  return Array.from({ length: count }, (_, index) => (index === 0 ? behaviour : well));
}

/** "Beyond Round Robin" (2016): one of 11 peers takes 2 s instead of 167 ms between the seconds 15 and 45, at 1,000 calls/s. */
const slowFor30s: Behaviour = (nowMs, random) =>
  nowMs >= 15_000 && nowMs < 45_000 ? { afterMs: 2_000 } : well(nowMs, random);

function slowPeer(kind: BalanceKind, seed: number, copyAfterMs?: number): Finding {
  return runScenario({
    kind,
    seed,
    perSecond: 1_000,
    durationMs: 60_000,
    behaviours: fleetWith(11, slowFor30s),
    ...(copyAfterMs === undefined ? {} : { copyAfterMs }),
  });
}

function inTime(findings: readonly Finding[]): number {
  const latencies = findings.flatMap(({ latenciesMs }) => latenciesMs);
  return latencies.filter((latencyMs) => latencyMs <= 1_000).length / latencies.length;
}

function picksBetween(finding: Finding, peer: number, from: number, to: number): number {
  return (finding.picks[peer] ?? []).slice(from, to).reduce((sum, picks) => sum + picks, 0);
}

describe("one of eleven peers takes 2 s instead of 167 ms for 30 s", () => {
  it("makes every 22nd call late by round robin, 0.5 % by least loaded, and 0.07 % by peak EWMA", () => {
    const share = (kind: BalanceKind, seeds: readonly number[]): number =>
      inTime(seeds.map((seed) => slowPeer(kind, seed)));
    const roundRobin = share("round-robin", [1]);
    const leastLoaded = share("least-loaded", [1, 2]);
    const peakEwma = share("p2c-ewma", [1, 2, 3]);
    assert.ok(Math.abs(roundRobin - 0.9545) < 0.001, `${roundRobin}`);
    assert.ok(leastLoaded > 0.994 && leastLoaded < 0.996, `${leastLoaded}`);
    assert.ok(peakEwma > 0.9993, `${peakEwma}`);
  });

  it("makes none late with copies after 250 ms, for less than 0.1 % more calls", () => {
    for (const seed of [1, 2, 3]) {
      const finding = slowPeer("p2c-ewma", seed, 250);
      assert.equal(inTime([finding]), 1);
      assert.ok(finding.copies <= 60, `${finding.copies} copies of 60,000 calls`);
    }
  });

  it("is left within its first second, and is not asked more than once or twice a second from then on", () => {
    const finding = slowPeer("p2c-ewma", 4);
    assert.ok(picksBetween(finding, 0, 15, 16) <= 30);
    assert.ok(picksBetween(finding, 0, 16, 45) <= 45, `${picksBetween(finding, 0, 16, 45)}`);
  });

  it("gets its share back once it has recovered", () => {
    const behaviours = fleetWith(5, (nowMs, random) => (nowMs < 5_000 ? { afterMs: 2_000 } : well(nowMs, random)));
    const finding = runScenario({ kind: "p2c-ewma", seed: 1, perSecond: 300, durationMs: 65_000, behaviours });
    assert.ok(picksBetween(finding, 0, 1, 5) <= 30, `${picksBetween(finding, 0, 1, 5)}`);
    const share = picksBetween(finding, 0, 55, 65) / 3_000;
    assert.ok(share > 0.15 && share < 0.25, `${share}`);
  });
});

describe("a peer that fails in 1 ms where the others answer in 167 ms", () => {
  for (const count of [2, 3, 5, 11]) {
    it(`does not win among ${count}, at 1, 10 and 1,000 calls/s`, () => {
      for (const perSecond of [1, 10, 1_000]) {
        const behaviours = fleetWith(count, () => ({ afterMs: 1, isFailure: true }));
        const durationMs = perSecond === 1_000 ? 20_000 : 200_000;
        const { failures, latenciesMs } = runScenario({ kind: "p2c-ewma", seed: 1, perSecond, durationMs, behaviours });
        const share = failures / latenciesMs.length;
        // Seldom calls leave time to forgive, so that it is tried again; many calls make each of the others wait for many.
        const most = perSecond === 1 ? 0.05 : 0.01;
        assert.ok(share <= most, `${share} of the calls at ${perSecond}/s`);
      }
    });
  }

  it("is told apart from a slow one also where every peer fails one call in a hundred", () => {
    const failing =
      (behaviour: Behaviour): Behaviour =>
      (nowMs, random) =>
        random.float() < 0.01 ? { afterMs: 5, isFailure: true } : behaviour(nowMs, random);
    const behaviours = fleetWith(11, slowFor30s).map(failing);
    const finding = runScenario({ kind: "p2c-ewma", seed: 1, perSecond: 1_000, durationMs: 60_000, behaviours });
    assert.ok(inTime([finding]) > 0.9985, `${inTime([finding])}`);
  });

  it("wins where failures are not told: what it is that the computed latency prevents", () => {
    const behaviours = fleetWith(5, () => ({ afterMs: 1 }));
    const finding = runScenario({ kind: "p2c-ewma", seed: 1, perSecond: 100, durationMs: 20_000, behaviours });
    assert.ok(picksBetween(finding, 0, 10, 20) > 350, `${picksBetween(finding, 0, 10, 20)}`);
  });

  it("of every fifth call only is left all the same", () => {
    const behaviours = fleetWith(5, (nowMs, random) =>
      random.float() < 0.2 ? { afterMs: 1, isFailure: true } : well(nowMs, random),
    );
    const finding = runScenario({ kind: "p2c-ewma", seed: 1, perSecond: 500, durationMs: 30_000, behaviours });
    assert.ok(finding.failures <= 0.005 * 15_000, `${finding.failures} of 15,000; by round robin 600`);
  });

  it("is forgiven a single failure in about 7 s", () => {
    let isFirst = true;
    const behaviours = fleetWith(5, (nowMs, random) => {
      if (nowMs < 5_000 || !isFirst) return well(nowMs, random);
      isFirst = false;
      return { afterMs: 1, isFailure: true };
    });
    const finding = runScenario({ kind: "p2c-ewma", seed: 1, perSecond: 50, durationMs: 30_000, behaviours });
    assert.equal(finding.failures, 1);
    const share = picksBetween(finding, 0, 15, 30) / 750;
    assert.ok(share > 0.14 && share < 0.26, `${share}`);
  });
});

describe("a peer that falls silent", () => {
  it("is left by the age of its oldest call, before any of its calls has ended", () => {
    const peers = readyPeers(5);
    const [silent] = peers as [Candidate];
    const balancer = balancerOf("p2c-ewma", peers);
    for (const peer of peers) observe(peer, 10, 0);
    const before = countPicks(balancer, peers, 1_000, { nowMs: 1 })[0] ?? 0;
    silent.began(newAttempt(), 0);
    const after = countPicks(balancer, peers, 1_000, { nowMs: 1_000 })[0] ?? 0;
    assert.ok(before > 150, `${before}`);
    assert.equal(after, 0);
    assert.equal(silent.costMs, 10, "nothing was observed of it since");
  });

  it("takes no more than what was under way, of 1,000 calls/s", () => {
    const behaviours = fleetWith(5, (nowMs, random) => (nowMs >= 5_000 ? { afterMs: 30_000 } : well(nowMs, random)));
    const finding = runScenario({ kind: "p2c-ewma", seed: 2, perSecond: 1_000, durationMs: 15_000, behaviours });
    assert.ok(picksBetween(finding, 0, 5, 15) <= 60, `${picksBetween(finding, 0, 5, 15)}`);
  });
});

describe("a newcomer", () => {
  for (const kind of ["p2c-ewma", "round-robin", "weighted", "random"] as const) {
    it(`ramps up over 5 s, is neither flooded nor starved: ${kind}`, () => {
      const behaviours = fleetWith(5, well);
      const finding = runScenario({
        kind,
        seed: 3,
        perSecond: 500,
        durationMs: 40_000,
        behaviours,
        beforeTick: (nowMs, peers, balancer) => {
          const [newcomer] = peers as [Candidate];
          if (nowMs !== 0 && nowMs !== 10_000) return;
          newcomer.isReady = nowMs === 10_000;
          newcomer.readySinceMs = nowMs;
          balancer.changed(peers, nowMs);
        },
      });
      const seconds = (finding.picks[0] ?? []).slice(10);
      const share = (from: number, to: number): number =>
        picksBetween(finding, 0, 10 + from, 10 + to) / ((to - from) * 500);
      assert.ok(share(0, 1) > 0 && share(0, 1) < 0.1, `${seconds.join()}`);
      assert.ok(share(0, 1) < share(2, 3) && share(2, 3) < share(5, 10), `${seconds.join()}`);
      assert.ok(Math.abs(share(8, 30) - 0.2) < 0.03, `${share(8, 30)}`);
      assert.ok(
        seconds.every((picks) => picks < 160),
        `${seconds.join()}`,
      );
    });
  }
});
