import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { Random } from "../../world/random.ts";
import { seededRandom } from "../../world/seeded-random.ts";
import { type BalanceKind, createBalancer } from "./balancer.ts";
import { Candidate } from "./candidate.ts";
import {
  balancerOf,
  countPicks,
  fail,
  kinds,
  newAttempt,
  observe,
  openGate,
  readyPeer,
  readyPeers,
} from "./testdata/fleet.ts";

/** A balancer of two or three peers may need chance once, to begin somewhere; later picks must not. */
function exhausted(draws: number): Random {
  let left = draws;
  const draw = (): number => {
    left -= 1;
    if (left < 0) throw new Error("chance is not needed here");
    return 0;
  };
  return { uint32: draw, float: draw };
}

/** A peer in any state, and whether the gate admits it. */
interface State {
  readonly weight: number;
  readonly tier: number;
  readonly zone: string | undefined;
  readonly isReady: boolean;
  readonly isHealthy: boolean;
  readonly isAdmitted: boolean;
  readonly isExcluded: boolean;
  readonly readySinceMs: number;
  readonly inFlight: number;
  readonly latencyMs: number;
}

const state: fc.Arbitrary<State> = fc.record({
  weight: fc.constantFrom(0.001, 1, 3, 1_000),
  tier: fc.nat({ max: 2 }),
  zone: fc.constantFrom("a", "b", undefined),
  isReady: fc.boolean(),
  isHealthy: fc.boolean(),
  isAdmitted: fc.boolean(),
  isExcluded: fc.boolean(),
  readySinceMs: fc.constantFrom(Number.NEGATIVE_INFINITY, 0, 4_000, 9_999),
  inFlight: fc.nat({ max: 3 }),
  latencyMs: fc.constantFrom(0, 1, 5_000),
});
/** The same peers in a row of states, as one balancer is told of them. */
const states = fc.integer({ min: 1, max: 12 }).chain((count) => {
  const all = fc.array(state, { minLength: count, maxLength: count });
  return fc.array(all, { minLength: 1, maxLength: 4 });
});

function put(peer: Candidate, facts: State, nowMs: number): void {
  const { weight, tier, zone, isReady, isHealthy, readySinceMs, inFlight, latencyMs } = facts;
  Object.assign(peer, { weight, tier, zone, isReady, isHealthy, readySinceMs });
  observe(peer, latencyMs, nowMs);
  for (let i = 0; i < inFlight; i += 1) peer.began(newAttempt(), nowMs - i);
}

function contract(kind: BalanceKind): void {
  describe(`a balancer, ${kind}`, () => {
    it("picks somebody whenever somebody may take the call, and never anybody else", () => {
      fc.assert(
        fc.property(states, fc.constantFrom("a", undefined), fc.nat(), (given, zone, seed) => {
          const peers = (given[0] ?? []).map(() => new Candidate());
          const admitted = new Set<Candidate>();
          const gate = { admits: (peer: Candidate) => admitted.has(peer) };
          const balancer = createBalancer({ kind, random: seededRandom(seed), gate, zone });
          given.forEach((facts, step) => {
            const nowMs = 10_000 + step;
            admitted.clear();
            peers.forEach((peer, index) => {
              put(peer, facts[index] as State, nowMs);
              if (facts[index]?.isAdmitted === true) admitted.add(peer);
            });
            balancer.changed(peers, nowMs);
            const excluded = peers.filter((_, index) => facts[index]?.isExcluded === true);
            const ready = peers.filter(({ isReady }) => isReady);
            const healthy = ready.filter(({ isHealthy }) => isHealthy);
            const isPanicking = healthy.length * 2 < ready.length;
            assert.equal(balancer.isPanicking, isPanicking);
            const fit = (isPanicking ? ready : healthy).filter(
              (peer) => admitted.has(peer) && !excluded.includes(peer),
            );
            for (let i = 0; i < 20; i += 1) {
              const picked = balancer.pick(nowMs, excluded);
              if (fit.length === 0) assert.equal(picked, undefined);
              else assert.ok(picked !== undefined && fit.includes(picked), "somebody who may not take it, or nobody");
            }
          });
        }),
        { numRuns: 150 },
      );
    });

    for (const count of [1, 2, 3, 5, 50]) {
      it(`gives each of ${count} equal peers its share`, () => {
        const peers = readyPeers(count);
        for (const peer of peers) observe(peer, 10, 0);
        const picks = 2_000 * count;
        const counts = countPicks(balancerOf(kind, peers), peers, picks);
        assert.equal(
          counts.reduce((sum, each) => sum + each, 0),
          picks,
        );
        const chiSquare = counts.reduce((sum, each) => sum + (each - 2_000) ** 2 / 2_000, 0);
        // Chi square has the mean count - 1 and twice that as variance; six deviations, and the seed never changes.
        assert.ok(chiSquare <= count - 1 + 6 * Math.sqrt(2 * (count - 1)), `${chiSquare}: ${counts.join()}`);
      });

      it(`finds the one of ${count} peers that is left, whoever it is`, () => {
        const peers = readyPeers(count);
        for (const left of peers) {
          const others = peers.filter((peer) => peer !== left);
          const balancer = balancerOf(kind, peers);
          for (let i = 0; i < 5; i += 1) assert.equal(balancer.pick(0, others), left);
          const gated = balancerOf(kind, peers, { gate: { admits: (peer) => peer === left } });
          for (let i = 0; i < 5; i += 1) assert.equal(gated.pick(0, undefined), left);
          assert.equal(gated.pick(0, [left]), undefined);
        }
      });
    }

    it("needs no chance for one peer", () => {
      const [peer] = readyPeers(1) as [Candidate];
      const balancer = createBalancer({ kind, random: exhausted(2), gate: openGate });
      balancer.changed([peer], 0);
      for (let i = 0; i < 10; i += 1) assert.equal(balancer.pick(i, undefined), peer);
    });

    it("picks nobody before it is told of anybody, nor after all have gone", () => {
      const balancer = createBalancer({ kind, random: seededRandom(1), gate: openGate });
      assert.equal(balancer.pick(0, undefined), undefined);
      balancer.changed(readyPeers(3), 0);
      assert.notEqual(balancer.pick(0, undefined), undefined);
      balancer.changed([], 0);
      assert.equal(balancer.pick(0, undefined), undefined);
      assert.equal(balancer.isPanicking, false);
    });

    it("does not pick a peer that is no longer ready, even before it is told", () => {
      const peers = readyPeers(4);
      const [gone] = peers as [Candidate];
      const balancer = balancerOf(kind, peers);
      gone.isReady = false;
      assert.equal(countPicks(balancer, peers, 1_000)[0], 0);
    });

    it("does not pick who is thought ill, as long as half are well", () => {
      const peers = readyPeers(4);
      const [one, two] = peers as [Candidate, Candidate];
      one.isHealthy = false;
      two.isHealthy = false;
      const balancer = balancerOf(kind, peers);
      assert.equal(balancer.isPanicking, false);
      assert.deepEqual(countPicks(balancer, peers, 1_000).slice(0, 2), [0, 0]);
    });

    it("forgets opinions and no facts when fewer than half of the ready ones are thought well", () => {
      const peers = readyPeers(5);
      peers.forEach((peer, index) => (peer.isHealthy = index >= 3));
      (peers[4] as Candidate).isReady = false;
      const balancer = balancerOf(kind, peers);
      assert.equal(balancer.isPanicking, true, "one of four is well");
      const counts = countPicks(balancer, peers, 4_000);
      assert.ok(
        counts.slice(0, 4).every((count) => count > 800),
        counts.join(),
      );
      assert.equal(counts[4], 0);
      (peers[0] as Candidate).isHealthy = true;
      balancer.changed(peers, 0);
      assert.equal(balancer.isPanicking, false, "two of four are well");
      assert.equal(countPicks(balancer, peers, 100)[1], 0);
    });

    it("fails open: the last peer is picked whatever is thought of it", () => {
      for (const count of [1, 2, 3]) {
        const peers = readyPeers(count);
        for (const peer of peers) peer.isHealthy = false;
        const balancer = balancerOf(kind, peers);
        assert.equal(balancer.isPanicking, true);
        assert.ok(countPicks(balancer, peers, 300).every((picks) => picks > 50));
      }
      const [well, ill] = readyPeers(2) as [Candidate, Candidate];
      ill.isHealthy = false;
      const balancer = balancerOf(kind, [well, ill]);
      assert.equal(balancer.isPanicking, false, "one of two is half");
      well.isReady = false;
      balancer.changed([well, ill], 0);
      assert.equal(balancer.isPanicking, true);
      assert.equal(balancer.pick(0, undefined), ill);
    });

    it("survives a peer that loops between ready and not ready at every pick", () => {
      const peers = readyPeers(3);
      const [flapping] = peers as [Candidate];
      const balancer = balancerOf(kind, peers);
      const counts = new Map<Candidate, number>();
      for (let i = 0; i < 3_000; i += 1) {
        flapping.isReady = i % 2 === 0;
        balancer.changed(peers, i);
        const picked = balancer.pick(i, undefined) as Candidate;
        assert.ok(picked.isReady);
        counts.set(picked, (counts.get(picked) ?? 0) + 1);
      }
      const [, one = 0, other = 0] = peers.map((peer) => counts.get(peer));
      assert.ok(Math.min(one, other) > 900, `${one}, ${other}`);
    });

    it("asks the gate about each peer a bounded number of times when nobody is admitted", () => {
      const peers = readyPeers(1_000);
      let asked = 0;
      const gate = {
        admits: () => {
          asked += 1;
          return false;
        },
      };
      const balancer = balancerOf(kind, peers, { gate });
      assert.equal(balancer.pick(0, undefined), undefined);
      assert.ok(asked <= 1_000 + 10, `${asked}`);
    });

    it("tells the gate the time that it was told", () => {
      const times: number[] = [];
      const gate = { admits: (_peer: Candidate, nowMs: number) => times.push(nowMs) > 0 };
      balancerOf(kind, readyPeers(3), { gate }).pick(42.5, undefined);
      assert.deepEqual(times, [42.5]);
    });

    it("leaves out whose weight or tier cannot be, and goes on with the others", () => {
      const peers = readyPeers(2);
      const balancer = balancerOf(kind, peers);
      const broken = readyPeer();
      const wrong = [0, Number.NaN, -1, Infinity].map((weight) => ({ weight, tier: 0 }));
      for (const facts of [
        ...wrong,
        { weight: 1, tier: 0.5 },
        { weight: 1, tier: -1 },
        { weight: 1, tier: Number.NaN },
      ]) {
        Object.assign(broken, facts);
        balancer.changed([broken, ...peers], 0);
        for (let i = 0; i < 20; i++) assert.ok(peers.includes(balancer.pick(0, undefined) as Candidate));
        balancer.changed([broken], 0);
        assert.equal(balancer.pick(0, undefined), undefined);
      }
      Object.assign(broken, { weight: 1, tier: 0 });
      balancer.changed([broken], 0);
      assert.equal(balancer.pick(0, undefined), broken);
    });
  });
}

for (const kind of kinds) contract(kind);

describe("two choices", () => {
  it("need no chance for two peers, and take the lesser load", () => {
    const peers = readyPeers(2);
    const [cheap, dear] = peers as [Candidate, Candidate];
    const balancer = createBalancer({ kind: "p2c-ewma", random: exhausted(1), gate: openGate });
    balancer.changed(peers, 0);
    observe(cheap, 10, 0);
    observe(dear, 20, 0);
    assert.deepEqual(countPicks(balancer, peers, 10), [10, 0]);
    cheap.began(newAttempt(), 0);
    cheap.began(newAttempt(), 0);
    assert.deepEqual(countPicks(balancer, peers, 10), [0, 10]);
  });

  it("take turns between two equal ones, who begins is chance", () => {
    const firsts = new Set<number>();
    for (let seed = 1; seed <= 20; seed += 1) {
      const peers = readyPeers(2);
      const balancer = balancerOf("least-loaded", peers, { seed });
      firsts.add(peers.indexOf(balancer.pick(0, undefined) as Candidate));
      assert.deepEqual(countPicks(balancer, peers, 10), [5, 5]);
    }
    assert.equal(firsts.size, 2);
  });

  it("never take the dearest of many, and the cheapest as often as it is drawn", () => {
    const peers = readyPeers(10);
    peers.forEach((peer, index) => observe(peer, 10 * (index + 1), 0));
    const counts = countPicks(balancerOf("p2c-ewma", peers), peers, 45_000);
    // Of 45 pairs the k-th cheapest is the better in 9 - k.
    counts.forEach((count, index) => assert.ok(Math.abs(count - 1_000 * (9 - index)) < 350, counts.join()));
    assert.equal(counts[9], 0);
  });

  it("by calls in flight alone do not look at latency, but at weight", () => {
    const peers = [readyPeer({ weight: 3 }), readyPeer()];
    const [strong, fast] = peers as [Candidate, Candidate];
    observe(strong, 500, 0);
    observe(fast, 1, 0);
    const balancer = balancerOf("least-loaded", peers);
    const taken = [0, 0];
    for (let i = 0; i < 40; i += 1) {
      const peer = balancer.pick(0, undefined) as Candidate;
      peer.began(newAttempt(), 0);
      taken[peers.indexOf(peer)]! += 1;
    }
    assert.deepEqual(taken, [30, 10]);
  });

  it("give a stronger peer more calls in flight, at the same latency", () => {
    const peers = [readyPeer({ weight: 2 }), readyPeer(), readyPeer()];
    for (const peer of peers) observe(peer, 10, 0);
    const balancer = balancerOf("p2c-ewma", peers);
    for (let i = 0; i < 400; i += 1) balancer.pick(0, undefined)?.began(newAttempt(), 0);
    const flights = peers.map(({ inFlight }) => inFlight);
    assert.ok(Math.abs((flights[0] ?? 0) - 200) <= 4, flights.join());
  });
});

describe("a fast-failing peer", () => {
  for (const count of [2, 3, 5, 50]) {
    it(`never looks better than one that answers, among ${count} (linkerd2#11669)`, () => {
      const peers = readyPeers(count);
      const [ill] = peers as [Candidate];
      const balancer = balancerOf("p2c-ewma", peers);
      let nowMs = 0;
      let failures = 0;
      for (let i = 0; i < 500 * count; i += 1) {
        const peer = balancer.pick(nowMs, undefined) as Candidate;
        nowMs += 10;
        if (peer !== ill) observe(peer, 100, nowMs);
        else {
          failures += 1;
          fail(ill, 1, nowMs);
        }
      }
      assert.ok(failures <= 500 / 10, `${failures} of ${500 * count} calls`);
    });
  }
});

describe("the options of a balancer", () => {
  it("are checked", () => {
    const create = (slowStartMs: number) => () =>
      createBalancer({ kind: "random", random: seededRandom(1), gate: openGate, slowStartMs });
    for (const slowStartMs of [-1, 3_600_001, Number.NaN])
      assert.throws(create(slowStartMs), {
        name: "RangeError",
        message: `slowStartMs must be 0..3600000, got ${slowStartMs}`,
      });
    assert.doesNotThrow(create(0));
  });
});
