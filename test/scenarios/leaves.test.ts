import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type LeafFault, type LeavesResult, playLeaves } from "./leaves.ts";

const faults: readonly LeafFault[] = ["killed", "stopped", "unavailable", "hanging"];
const seeds = [1, 2];
const usual = { rootsPerSecond: 10, timeoutMs: 1_000, forMs: 24_000, faultMs: [3_000, 9_000] } as const;

function assertAllWell({ roots, singles }: LeavesResult): void {
  assert.deepEqual([...roots.examples, ...singles.examples], []);
  assert.equal(roots.failed + roots.late, 0);
  assert.equal(singles.failed + singles.late, 0);
}

describe("a root call needs 100 leaf calls, and one of five leaf servers is ill for 6 s", () => {
  for (const fault of faults) {
    it(`and ${fault}: the root succeeds as often as a single call does, always, before, during and after it`, async () => {
      for (const seed of seeds) {
        const result = await playLeaves({ ...usual, seed, fault });
        assertAllWell(result);
        assert.equal(result.roots.calls, 240);
        assert.equal(result.leafCalls, 24_000);
        assert.equal(result.extraRoots, 0, "a root was repeated");
        assert.ok(result.extraShare > 0 && result.extraShare < 0.01, `${result.extraShare} more leaf calls`);
        assert.ok(result.reachedAfter > 0, "nobody came back to it");
        // The dead and the stopped run no handler.
        if (fault === "unavailable" || fault === "hanging") assert.ok(result.reachedIll >= 5, "nobody met the fault");
      }
    });

    it(`and ${fault} for good: nothing else changes`, async () => {
      const result = await playLeaves({ ...usual, seed: 4, fault, faultMs: [3_000, 60_000] });
      assertAllWell(result);
      assert.ok(result.extraShare > 0 && result.extraShare < 0.01, `${result.extraShare} more leaf calls`);
    });
  }

  it("without any of it next to no root succeeds where the fault is met: the fault bites", async () => {
    const result = await playLeaves({ ...usual, seed: 1, fault: "unavailable", policy: { preset: "none" } });
    // 60 of the 240 fall into the fault.
    assert.equal(result.roots.failed, 60);
    assert.ok(result.singles.failed > 40, `${result.singles.failed} of 300 single calls`);
  });

  it("a copy that the budget refuses is asked for again: one root a second, more hang at once than may be copied", async () => {
    for (const seed of seeds) {
      const plan = { rootsPerSecond: 1, timeoutMs: 30_000, forMs: 20_000, faultMs: [3_000, 60_000] } as const;
      const { roots, extraShare } = await playLeaves({ ...plan, seed, fault: "hanging" });
      assert.equal(roots.failed, 0);
      // The one that met the fault first waited for the budget, whose window is 10 s; nobody waited for a deadline.
      assert.ok(roots.late >= 1 && roots.quantileMs(1) < 12_000, `${roots.late} late, ${roots.quantileMs(1)} ms`);
      assert.ok(extraShare <= 0.02, `${extraShare} more leaf calls`);
    }
  });

  it("ill from the first call on and the first that is ready: spoils the first roots, whose budget is small, and no more", async () => {
    let spoilt = 0;
    for (const seed of [1, 2, 3, 4, 5, 6]) {
      const { roots } = await playLeaves({ ...usual, forMs: 6_000, faultMs: [0, 60_000], seed, fault: "unavailable" });
      assert.ok(roots.failed <= 3, `seed ${seed}: ${roots.failed} of 60 failed`);
      spoilt += roots.failed;
    }
    assert.ok(spoilt > 0, "no seed has the ill server ready first: this shows nothing");
  });
});
