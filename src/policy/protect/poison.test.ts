import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Quarantine } from "./poison.ts";

const PATH = "/shop.v1.Shop/Buy";

describe("the quarantine", () => {
  it("holds a request for a minute, and nothing else", () => {
    const quarantine = new Quarantine();
    assert.equal(quarantine.isEmpty, true);
    assert.equal(quarantine.holds(PATH, 7, 100, 0), false);
    quarantine.add(PATH, 7, 100, 1_000);
    assert.equal(quarantine.isEmpty, false);
    assert.equal(quarantine.holds(PATH, 7, 100, 60_999), true);
    for (const [path, hash, bytes] of [
      ["/shop.v1.Shop/Find", 7, 100],
      [PATH, 8, 100],
      [PATH, 7, 101],
    ] as const) {
      assert.equal(quarantine.holds(path, hash, bytes, 1_000), false);
    }
    assert.equal(quarantine.holds(PATH, 7, 100, 61_000), false);
    assert.equal(quarantine.isEmpty, true);
  });

  it("holds a request that was added again for a minute more", () => {
    const quarantine = new Quarantine();
    quarantine.add(PATH, 7, 100, 0);
    quarantine.add(PATH, 8, 100, 10_000);
    quarantine.add(PATH, 7, 100, 50_000);
    assert.equal(quarantine.holds(PATH, 7, 100, 100_000), true);
    assert.equal(quarantine.holds(PATH, 8, 100, 100_000), false);
  });

  it("does not mix up what reads alike when joined, nor part a hash from itself by its sign", () => {
    const quarantine = new Quarantine();
    quarantine.add("/a/b", 1, 23, 0);
    assert.equal(quarantine.holds("/a/b", 12, 3, 0), false);
    quarantine.add("/a/b", -1, 5, 0);
    assert.equal(quarantine.holds("/a/b", 0xffffffff, 5, 0), true);
  });

  it("drops the request that was added first when it is full", () => {
    const quarantine = new Quarantine();
    for (let i = 0; i < 1_024; i++) quarantine.add(PATH, i, 1, i);
    quarantine.add(PATH, 0, 1, 2_000);
    assert.equal(quarantine.holds(PATH, 1, 1, 2_000), true, "added again is not one more");
    quarantine.add(PATH, 5_000, 1, 2_000);
    assert.equal(quarantine.holds(PATH, 1, 1, 2_000), false);
    for (const hash of [0, 2, 1_023, 5_000]) assert.equal(quarantine.holds(PATH, hash, 1, 2_000), true);
    const small = new Quarantine({ entriesMax: 3 });
    for (const hash of [1, 2, 1, 3, 4]) small.add(PATH, hash, 1, 0);
    const held = [1, 2, 3, 4].filter((hash) => small.holds(PATH, hash, 1, 0));
    assert.deepEqual(held, [1, 3, 4], "what was added again is not the first any more");
  });

  it("agrees with a list of all that was ever added", () => {
    const step = fc.record({ waitMs: fc.nat({ max: 30_000 }), hash: fc.nat({ max: 12 }), isAdded: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), fc.integer({ min: 1, max: 6 }), (steps, entriesMax) => {
        const quarantine = new Quarantine({ holdMs: 60_000, entriesMax });
        let model: { hash: number; atMs: number }[] = [];
        let nowMs = 0;
        for (const { waitMs, hash, isAdded } of steps) {
          nowMs += waitMs;
          model = model.filter(({ atMs }) => nowMs - atMs < 60_000);
          const isHeld = model.some((one) => one.hash === hash);
          assert.equal(quarantine.holds(PATH, hash, 1, nowMs), isHeld);
          if (!isAdded) continue;
          quarantine.add(PATH, hash, 1, nowMs);
          model = [...model.filter((one) => one.hash !== hash), { hash, atMs: nowMs }].slice(-entriesMax);
          assert.equal(quarantine.isEmpty, false);
        }
      }),
    );
  });

  it("is not confused by a clock that jumps or goes back", () => {
    const quarantine = new Quarantine();
    quarantine.add(PATH, 1, 1, 100_000);
    quarantine.add(PATH, 2, 1, 10_000);
    assert.equal(quarantine.holds(PATH, 2, 1, 75_000), false);
    assert.equal(quarantine.holds(PATH, 1, 1, 75_000), true);
    assert.equal(quarantine.holds(PATH, 1, 1, 3.2e13), false);
    assert.equal(quarantine.isEmpty, true);
  });

  it("checks its options", () => {
    assert.throws(() => new Quarantine({ holdMs: 0 }), /poison\.holdMs must be 1000\.\.3_600_000, got 0/);
    assert.throws(() => new Quarantine({ entriesMax: 1.5 }), /poison\.entriesMax must be an integer in/);
  });
});
