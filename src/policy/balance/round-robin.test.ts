import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { Candidate } from "./candidate.ts";
import { balancerOf, countPicks, readyPeer, readyPeers } from "./testdata/fleet.ts";

describe("round robin", () => {
  it("gives each peer its turn, from wherever it begins", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 50 }), fc.nat(), fc.integer({ min: 1, max: 5 }), (count, seed, rounds) => {
        const peers = readyPeers(count);
        const balancer = balancerOf("round-robin", peers, { seed });
        for (let round = 0; round < rounds; round += 1)
          assert.deepEqual(countPicks(balancer, peers, count), new Array<number>(count).fill(1));
      }),
    );
  });

  it("begins anywhere: clients do not march in step", () => {
    const firsts = new Set<number>();
    for (let seed = 1; seed <= 60; seed += 1) {
      const peers = readyPeers(5);
      firsts.add(peers.indexOf(balancerOf("round-robin", peers, { seed }).pick(0, undefined) as Candidate));
    }
    assert.equal(firsts.size, 5);
  });

  it("skips those that cannot be used and spreads over the rest", () => {
    const usable = fc.array(fc.boolean(), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(usable, fc.nat(), (usables, seed) => {
        const peers = readyPeers(usables.length);
        const gate = { admits: (peer: Candidate) => usables[peers.indexOf(peer)] === true };
        const balancer = balancerOf("round-robin", peers, { seed, gate });
        const left = usables.filter(Boolean).length;
        const counts = countPicks(balancer, peers, left * 3);
        assert.deepEqual(
          counts,
          usables.map((isUsable) => (isUsable ? 3 : 0)),
        );
      }),
    );
  });

  it("does not lose its place over a moment in which none could be used, nor over peers that come and go", () => {
    const peers = readyPeers(4);
    const [one, two, three, four] = peers as [Candidate, Candidate, Candidate, Candidate];
    const balancer = balancerOf("round-robin", peers);
    const turns = [0, 1, 2, 3].map(() => balancer.pick(0, undefined) as Candidate);
    const after = (peer: Candidate): Candidate => turns[(turns.indexOf(peer) + 1) % 4] as Candidate;
    let last = turns[3] as Candidate;
    assert.equal(balancer.pick(0, peers), undefined);
    assert.equal((last = balancer.pick(0, undefined) as Candidate), turns[0]);
    for (const peer of peers) peer.isReady = false;
    balancer.changed(peers, 0);
    assert.equal(balancer.pick(0, undefined), undefined);
    for (const peer of peers) peer.isReady = true;
    const extra = readyPeer();
    balancer.changed([extra, one, two, three, four], 0);
    const expected = after(last);
    assert.equal(balancer.pick(0, [extra]), expected);
    const next = after(expected);
    balancer.changed(
      peers.filter((peer) => peer !== next),
      0,
    );
    assert.equal(balancer.pick(0, undefined), after(next), "the one whose turn it was has gone");
  });

  it("asks each peer once at most for one pick", () => {
    let asked = 0;
    const gate = {
      admits: () => {
        asked += 1;
        return false;
      },
    };
    balancerOf("round-robin", readyPeers(10), { gate }).pick(0, undefined);
    assert.equal(asked, 10);
  });
});
