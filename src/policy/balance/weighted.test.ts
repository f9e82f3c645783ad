import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { Random } from "../../world/random.ts";
import { type Balancer, createBalancer } from "./balancer.ts";
import type { Candidate } from "./candidate.ts";
import { balancerOf, countPicks, openGate, readyPeer } from "./testdata/fleet.ts";

/** Begins at generation 0 and index 0, as gRPC's tests do. */
const fromTheStart: Random = { uint32: () => 0, float: () => 0 };

function weighing(weights: readonly number[]): readonly Candidate[] {
  return weights.map((weight) => readyPeer({ weight }));
}

function sequenceOf(balancer: Balancer<Candidate>, peers: readonly Candidate[], length: number): readonly number[] {
  return Array.from({ length }, () => peers.indexOf(balancer.pick(0, undefined) as Candidate));
}

/** gRPC's `StaticStrideScheduler::Pick`, as gRFC A58 words it, but for where neighbours begin. */
function gRpcSequence(weights: readonly number[], length: number): readonly number[] {
  const max = 65_535;
  const greatest = Math.max(...weights);
  const scaled = weights.map((weight) => Math.round((weight / greatest) * max));
  const picked: number[] = [];
  for (let sequence = 0; picked.length < length; sequence += 1) {
    const index = sequence % weights.length;
    const generation = Math.floor(sequence / weights.length);
    const weight = scaled[index] ?? 0;
    if ((weight * generation + index * 40_503) % max >= max - weight) picked.push(index);
  }
  return picked;
}

describe("weighted round robin", () => {
  it("is gRPC's static stride scheduler, choice by choice", () => {
    const weights = fc.array(fc.integer({ min: 1, max: 1_000 }), { minLength: 2, maxLength: 8 });
    fc.assert(
      fc.property(weights, (given) => {
        const peers = weighing(given);
        const balancer = createBalancer({ kind: "weighted", random: fromTheStart, gate: openGate });
        balancer.changed(peers, 0);
        assert.deepEqual(sequenceOf(balancer, peers, 300), gRpcSequence(given, 300));
      }),
    );
  });

  it("is smooth: in any stretch of choices each has its share, within two and what the others' rounding moves", () => {
    const weights = fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 2, maxLength: 12 });
    fc.assert(
      fc.property(
        weights,
        fc.nat(),
        fc.nat({ max: 300 }),
        fc.integer({ min: 1, max: 500 }),
        (given, seed, from, length) => {
          const peers = weighing(given);
          const sequence = sequenceOf(balancerOf("weighted", peers, { seed }), peers, from + length).slice(from);
          const sum = given.reduce((before, weight) => before + weight, 0);
          given.forEach((weight, index) => {
            const taken = sequence.filter((each) => each === index).length;
            const share = weight / sum;
            const off = Math.abs(taken - length * share);
            assert.ok(off <= 2.1 + given.length * share, `${index} of ${given.join()}: ${taken} of ${length}`);
          });
        },
      ),
    );
  });

  it("never gives one that weighs half of all two turns more than its half, however long it goes on", () => {
    const peers = weighing([4, 2, 1, 1]);
    const sequence = sequenceOf(balancerOf("weighted", peers), peers, 80_000);
    let heavy = 0;
    sequence.forEach((index, at) => {
      heavy += index === 0 ? 1 : 0;
      assert.ok(Math.abs(heavy - (at + 1) / 2) <= 2, `${heavy} of ${at + 1}`);
    });
    const counts = [0, 1, 2, 3].map((index) => sequence.filter((each) => each === index).length);
    assert.ok(
      counts.every((count, index) => Math.abs(count - [40_000, 20_000, 10_000, 10_000][index]!) <= 4),
      counts.join(),
    );
  });

  it("of equal weights is round robin", () => {
    const peers = weighing([3, 3, 3, 3, 3]);
    const counts = countPicks(balancerOf("weighted", peers), peers, 500);
    assert.deepEqual(counts, [100, 100, 100, 100, 100]);
  });

  it("keeps to the weights where one outweighs a hundred others, smoothly, and without going through all of them", () => {
    const peers = weighing([1_000, ...new Array<number>(100).fill(1)]);
    const sequence = sequenceOf(balancerOf("weighted", peers), peers, 110_000);
    let heavy = 0;
    sequence.forEach((index, at) => {
      heavy += index === 0 ? 1 : 0;
      const off = Math.abs(heavy - ((at + 1) * 1_000) / 1_100);
      // A light stride of 786.4 is rounded to 786: 5 in 100,000 of all choices.
      assert.ok(off <= 5 + at * 5e-5, `${heavy} of ${at + 1}`);
    });
    for (let index = 1; index <= 100; index += 1) {
      const taken = sequence.filter((each) => each === index).length;
      assert.ok(Math.abs(taken - 100) <= 3, `${index} was chosen ${taken} times`);
    }
  });

  it("lets the parts of a heavy one take turns that are as even as one's", () => {
    for (const weight of [130, 260, 520, 900]) {
      const peers = weighing([1_000, weight, ...new Array<number>(100).fill(1)]);
      const share = weight / (1_100 + weight);
      let taken = 0;
      let [least, most] = [0, 0];
      sequenceOf(balancerOf("weighted", peers), peers, 20_000).forEach((index, at) => {
        taken += index === 1 ? 1 : 0;
        least = Math.min(least, taken - (at + 1) * share);
        most = Math.max(most, taken - (at + 1) * share);
      });
      // Were they to begin together: 4.6 for 520, 5 for 900.
      assert.ok(most - least <= 3.2, `${weight}: from ${least} to ${most} off its share`);
    }
  });

  it("does not starve a peer, whatever the weights", () => {
    const peers = weighing([1e12, 1e-6, 1]);
    const counts = countPicks(balancerOf("weighted", peers), peers, 300_000);
    assert.ok(
      counts.every((count) => count >= 3),
      counts.join(),
    );
    assert.ok((counts[0] ?? 0) > 299_900, counts.join());
  });

  it("keeps its place when others come and go at every turn", () => {
    const peers = weighing([2, 1, 1]);
    const extra = readyPeer();
    const balancer = balancerOf("weighted", peers);
    const counts = new Map<Candidate, number>();
    for (let i = 0; i < 4_000; i += 1) {
      balancer.changed(i % 2 === 0 ? peers : [extra, ...peers], 0);
      const peer = balancer.pick(0, [extra]) as Candidate;
      counts.set(peer, (counts.get(peer) ?? 0) + 1);
    }
    const [heavy = 0, one = 0, other = 0] = peers.map((peer) => counts.get(peer));
    assert.ok(
      Math.abs(heavy - 2_000) < 200 && Math.abs(one - 1_000) < 200 && Math.abs(other - 1_000) < 200,
      [...counts.values()].join(),
    );
  });

  it("follows a weight that its owner changed, from the next change on", () => {
    const peers = weighing([1, 1]);
    const balancer = balancerOf("weighted", peers);
    (peers[0] as Candidate).weight = 3;
    balancer.changed(peers, 0);
    const [heavy = 0, light = 0] = countPicks(balancer, peers, 4_000);
    assert.ok(Math.abs(heavy - 3_000) <= 2 && Math.abs(light - 1_000) <= 2, `${heavy}, ${light}`);
  });
});
