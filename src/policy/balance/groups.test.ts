import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Random } from "../../world/random.ts";
import { createBalancer } from "./balancer.ts";
import type { Candidate } from "./candidate.ts";
import { balancerOf, countPicks, kinds, openGate, readyPeer } from "./testdata/fleet.ts";

function inTier(tier: number, count: number, usable = count): readonly Candidate[] {
  return Array.from({ length: count }, (_, index) => {
    const peer = readyPeer({ tier });
    peer.isReady = index < usable;
    return peer;
  });
}

function inZone(zone: string, count: number, usable = count): readonly Candidate[] {
  return Array.from({ length: count }, (_, index) => {
    const peer = readyPeer({ zone });
    peer.isReady = index < usable;
    return peer;
  });
}

/** What share of 20,000 picks each group of peers gets. */
function sharesOf(
  groups: readonly (readonly Candidate[])[],
  facts?: Parameters<typeof balancerOf>[2] & { readonly excluded?: readonly Candidate[] },
): readonly number[] {
  const peers = groups.flat();
  const balancer = balancerOf("p2c-ewma", peers, facts);
  const counts = countPicks(balancer, peers, 20_000, { excluded: facts?.excluded ?? [] });
  return groups.map((group) => group.reduce((sum, peer) => sum + (counts[peers.indexOf(peer)] ?? 0), 0) / 20_000);
}

function near(actual: readonly number[], expected: readonly number[]): void {
  const isNear = actual.every((share, index) => Math.abs(share - (expected[index] ?? 0)) < 0.015);
  assert.ok(isNear && actual.length === expected.length, `${actual.join()} is not ${expected.join()}`);
}

describe("tiers", () => {
  it("of lower number take everything, until fewer than 72 % of them can be used", () => {
    assert.deepEqual(sharesOf([inTier(0, 4), inTier(1, 4)]), [1, 0]);
    assert.deepEqual(sharesOf([inTier(0, 4, 3), inTier(1, 4)]), [1, 0]);
  });

  it("spill over by Envoy's numbers: half of the first is 70 %, a quarter 35 %, none is nothing", () => {
    near(sharesOf([inTier(0, 4, 2), inTier(1, 4)]), [0.7, 0.3]);
    near(sharesOf([inTier(0, 4, 1), inTier(1, 4)]), [0.35, 0.65]);
    assert.deepEqual(sharesOf([inTier(0, 4, 0), inTier(1, 4)]), [0, 1]);
    near(sharesOf([inTier(0, 4, 0), inTier(1, 4, 2), inTier(7, 1)]), [0, 0.7, 0.3]);
    near(sharesOf([inTier(0, 4, 1), inTier(1, 4, 1)]), [0.5, 0.5]);
  });

  it("count an opinion like a fact, while opinions count", () => {
    const first = inTier(0, 4);
    for (const peer of first.slice(0, 2)) peer.isHealthy = false;
    near(sharesOf([first, inTier(1, 4)]), [0.7, 0.3]);
    for (const peer of first) peer.isHealthy = false;
    assert.deepEqual(sharesOf([first, inTier(1, 4)]), [0, 1]);
    assert.deepEqual(sharesOf([first, inTier(1, 3)]), [1, 0], "fewer than half are well: opinions are forgotten");
  });

  it("are tried in order when the chosen one gives nobody", () => {
    const first = inTier(0, 2);
    const second = inTier(1, 2);
    const third = inTier(2, 2);
    near(sharesOf([first, second, third], { excluded: first }), [0, 1, 0]);
    near(sharesOf([first, second, third], { excluded: [...first, ...second] }), [0, 0, 1]);
    near(sharesOf([first, second, third], { gate: { admits: (peer) => third.includes(peer) } }), [0, 0, 1]);
  });

  it("may change while calls go on", () => {
    const [one, two] = inTier(0, 2) as [Candidate, Candidate];
    const balancer = balancerOf("p2c-ewma", [one, two]);
    two.tier = 1;
    balancer.changed([one, two], 0);
    assert.deepEqual(countPicks(balancer, [one, two], 100), [100, 0]);
    one.tier = 9;
    balancer.changed([one, two], 0);
    assert.deepEqual(countPicks(balancer, [one, two], 100), [0, 100]);
  });

  for (const kind of kinds) {
    it(`spill over with every kind of balancing: ${kind}`, () => {
      const peers = [...inTier(0, 4, 2), ...inTier(1, 2)];
      const counts = countPicks(balancerOf(kind, peers), peers, 20_000);
      near(
        [counts[0]! / 20_000, counts[1]! / 20_000, counts[4]! / 20_000, counts[5]! / 20_000],
        [0.35, 0.35, 0.15, 0.15],
      );
    });
  }
});

describe("the own zone", () => {
  it("takes everything while 72 % of it can be used", () => {
    assert.deepEqual(sharesOf([inZone("a", 4), inZone("b", 8)], { zone: "a" }), [1, 0]);
    assert.deepEqual(sharesOf([inZone("a", 4, 3), inZone("b", 8)], { zone: "a" }), [1, 0]);
  });

  it("spills over to the other zones, which are one group", () => {
    near(sharesOf([inZone("a", 4, 2), inZone("b", 1), inZone("c", 3)], { zone: "a" }), [0.7, 0.075, 0.225]);
    assert.deepEqual(sharesOf([inZone("a", 4, 0), inZone("b", 4)], { zone: "a" }), [0, 1]);
  });

  it("is no preference where nobody lives in it, or we do not know where we are", () => {
    near(sharesOf([inZone("a", 4), inZone("b", 4)], { zone: "z" }), [0.5, 0.5]);
    near(sharesOf([inZone("a", 4), inZone("b", 4)]), [0.5, 0.5]);
    const nowhere = Array.from({ length: 4 }, () => readyPeer());
    near(sharesOf([nowhere, inZone("b", 4)]), [0.5, 0.5]);
  });

  it("is left for a retry when all of it were tried, or it admits nobody", () => {
    const own = inZone("a", 3);
    const others = inZone("b", 3);
    near(sharesOf([own, others], { zone: "a", excluded: own }), [0, 1]);
    near(sharesOf([own, others], { zone: "a", gate: { admits: (peer) => !own.includes(peer) } }), [0, 1]);
  });

  it("goes before the others of its tier and after the tiers before", () => {
    const wanted = inZone("b", 2);
    const own = inZone("a", 2);
    const rest = inZone("b", 2);
    for (const peer of [...own, ...rest]) peer.tier = 1;
    assert.deepEqual(sharesOf([wanted, own, rest], { zone: "a" }), [1, 0, 0]);
    (wanted[0] as Candidate).isReady = false;
    near(sharesOf([wanted, own, rest], { zone: "a" }), [0.7, 0.3, 0]);
    (own[0] as Candidate).isReady = false;
    near(sharesOf([wanted, own, rest], { zone: "a" }), [0.7, 0.3 * 0.7, 0.3 * 0.3]);
  });
});

describe("the draw between groups", () => {
  function countingRandom(): Random & { floats: number } {
    const random = {
      floats: 0,
      uint32: () => 0,
      float: () => {
        random.floats += 1;
        return 0.999;
      },
    };
    return random;
  }

  it("costs nothing where one group takes everything, and one number otherwise", () => {
    const random = countingRandom();
    const balancer = createBalancer<Candidate>({ kind: "round-robin", random, gate: openGate });
    const first = inTier(0, 2);
    const second = inTier(1, 2);
    balancer.changed(first, 0);
    balancer.pick(0, undefined);
    balancer.changed([...first, ...second], 0);
    balancer.pick(0, undefined);
    assert.equal(random.floats, 0);
    (first[0] as Candidate).isReady = false;
    balancer.changed([...first, ...second], 0);
    assert.ok(second.includes(balancer.pick(0, undefined) as Candidate));
    assert.equal(random.floats, 1);
  });
});
