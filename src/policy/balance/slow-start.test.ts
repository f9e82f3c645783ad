import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { seededRandom } from "../../world/seeded-random.ts";
import type { Candidate } from "./candidate.ts";
import { SlowStart } from "./slow-start.ts";
import { balancerOf, countPicks, kinds, readyPeer, readyPeers } from "./testdata/fleet.ts";

function readySince(readySinceMs: number): Candidate {
  const peer = readyPeer();
  peer.readySinceMs = readySinceMs;
  return peer;
}

/** Share of passed turns, of many. */
function passed(slowStart: SlowStart, peer: Candidate, nowMs: number): number {
  const random = seededRandom(3);
  let passes = 0;
  for (let i = 0; i < 20_000; i += 1) if (slowStart.passes(peer, nowMs, random)) passes += 1;
  return passes / 20_000;
}

describe("slow start", () => {
  it("rises from a tenth to all, in a straight line", () => {
    const slowStart = new SlowStart(5_000);
    const peer = readySince(1_000);
    const factors = [1_000, 1_250, 1_500, 2_000, 3_500, 5_999, 6_000, 9_000].map((at) => slowStart.factor(peer, at));
    assert.deepEqual(factors, [0.1, 0.1, 0.1, 0.2, 0.5, 4_999 / 5_000, 1, 1]);
  });

  it("is on until the youngest is through, and never where all became ready together", () => {
    const slowStart = new SlowStart(5_000);
    assert.equal(slowStart.isOn(0), false);
    slowStart.changed([readySince(-Infinity), readySince(1_000), readySince(3_000)]);
    assert.equal(slowStart.isOn(7_999), true);
    assert.equal(slowStart.isOn(8_000), false);
    slowStart.changed([readySince(3_000), readySince(3_000)]);
    assert.equal(slowStart.isOn(3_001), false);
    slowStart.changed([]);
    assert.equal(slowStart.isOn(3_001), false);
  });

  it("lets turns pass in proportion to what is lacking against the eldest", () => {
    const slowStart = new SlowStart(5_000);
    const [old, young] = [readySince(-Infinity), readySince(0)];
    slowStart.changed([old, young]);
    assert.equal(passed(slowStart, old, 1_000), 0);
    assert.ok(Math.abs(passed(slowStart, young, 1_000) - 0.8) < 0.02);
    const [elder, younger] = [readySince(0), readySince(1_000)];
    slowStart.changed([elder, younger]);
    assert.equal(passed(slowStart, elder, 2_000), 0, "the eldest of new ones takes every turn");
    assert.ok(Math.abs(passed(slowStart, younger, 2_000) - 0.5) < 0.02);
  });

  it("is off at 0 ms", () => {
    const slowStart = new SlowStart(0);
    const peer = readySince(1_000);
    slowStart.changed([readySince(-Infinity), peer]);
    assert.equal(slowStart.isOn(1_000), false);
    assert.equal(slowStart.factor(peer, 1_000), 1);
  });

  for (const kind of kinds) {
    it(`lets a newcomer of ten take less at first, and its whole share after 5 s: ${kind}`, () => {
      const peers = readyPeers(10);
      const [newcomer] = peers as [Candidate];
      newcomer.readySinceMs = 100_000;
      // Without calls in flight all loads are the same, but for slow start.
      const balancer = balancerOf(kind, peers, { nowMs: 100_000 });
      const shareAt = (nowMs: number): number => (countPicks(balancer, peers, 20_000, { nowMs })[0] ?? 0) / 20_000;
      const [atFirst, half, after] = [shareAt(100_000), shareAt(102_500), shareAt(105_000)];
      assert.ok(atFirst <= 0.015, `${atFirst} at first`);
      // Two choices compare, so that the lesser one of an idle pair is never taken; the others take it in proportion.
      const isCompared = kind === "p2c-ewma" || kind === "least-loaded";
      assert.ok(isCompared ? half < 0.03 : Math.abs(half - 0.5 / 9.5) < 0.01, `${half} after 2.5 s`);
      assert.ok(Math.abs(after - 0.1) < 0.01, `${after} after 5 s`);
    });

    it(`does not keep the last one back: ${kind}`, () => {
      const peers = [readySince(1_000), readySince(-Infinity)];
      const [newcomer, old] = peers as [Candidate, Candidate];
      const balancer = balancerOf(kind, peers, { nowMs: 1_000 });
      for (let i = 0; i < 100; i += 1) assert.equal(balancer.pick(1_000, [old]), newcomer);
    });
  }
});
