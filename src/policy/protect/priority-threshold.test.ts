import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { LEVELS } from "./principal.ts";
import { PriorityThreshold } from "./priority-threshold.ts";
import type { PriorityRank } from "./refusal.ts";

/** Offers a call of each rank and level per millisecond for so long, and begins `begun` of them; the keys that were taken on in the last millisecond. */
function offered(threshold: PriorityThreshold, ms: number, begun: number, ranks: readonly PriorityRank[]): number[] {
  let taken: number[] = [];
  for (let nowMs = 0; nowMs < ms; nowMs++) {
    taken = [];
    for (const rank of ranks) {
      for (let level = 0; level < LEVELS; level++) {
        if (threshold.admits(rank, level, nowMs)) taken.push(rank * LEVELS + level);
      }
    }
    for (let i = 0; i < begun; i++) threshold.countBegun();
  }
  return taken;
}

describe("the threshold of priorities and levels", () => {
  it("takes on all until it knows better", () => {
    const threshold = new PriorityThreshold();
    threshold.reset(0);
    assert.equal(offered(threshold, 49, 1, [0, 1, 2]).length, 3 * LEVELS);
  });

  it("refuses the sheddable first, then the worse levels of the normal, and always the same ones", () => {
    const threshold = new PriorityThreshold();
    threshold.reset(0);
    // 384 a millisecond, 20 begun: five times that is taken on, the critical and none else.
    const taken = offered(threshold, 500, 20, [0, 1, 2]);
    assert.ok(taken.length >= 80 && taken.length <= 128, `${taken.length}`);
    assert.deepEqual(taken, Array.from(taken.keys()));
  });

  it("refuses nothing where all are of one level, however many they are", () => {
    const threshold = new PriorityThreshold();
    threshold.reset(0);
    for (let nowMs = 0; nowMs < 1_000; nowMs += 0.1) assert.ok(threshold.admits(1, 5, nowMs));
  });

  it("refuses nothing when nothing at all was begun: it would have no reason ever to stop", () => {
    const threshold = new PriorityThreshold();
    threshold.reset(0);
    assert.equal(offered(threshold, 500, 0, [2]).length, LEVELS);
  });

  it("lets go when what is begun grows, and when it is reset", () => {
    const threshold = new PriorityThreshold();
    threshold.reset(0);
    offered(threshold, 500, 2, [2]);
    assert.ok(!threshold.admits(2, 127, 500));
    for (let i = 0; i < 100_000; i++) threshold.countBegun();
    threshold.admits(2, 0, 600);
    assert.ok(threshold.admits(2, 127, 601));
    offered(threshold, 500, 2, [2]);
    threshold.reset(1_000);
    assert.ok(threshold.admits(2, 127, 1_000));
  });
});
