import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { roundRobin } from "./round-robin.ts";

const ALL = (): boolean => true;

describe("round robin", () => {
  it("gives each peer its turn, from wherever it begins", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 50 }), fc.nat(), fc.integer({ min: 1, max: 5 }), (count, start, rounds) => {
        const balancer = roundRobin(start);
        const seen = new Array<number>(count).fill(0);
        for (let i = 0; i < count * rounds; i++) {
          const index = balancer.pick(count, ALL);
          assert.ok(Number.isInteger(index) && index >= 0 && index < count);
          seen[index] = (seen[index] as number) + 1;
        }
        assert.ok(seen.every((n) => n === rounds));
      }),
    );
  });

  it("skips those that cannot be used, spreads over the rest, and says when none is left", () => {
    const usable = fc.array(fc.boolean(), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(usable, fc.nat(), (usables, start) => {
        const balancer = roundRobin(start);
        const count = usables.filter(Boolean).length;
        const seen = new Map<number, number>();
        for (let i = 0; i < count * 3; i++) {
          const index = balancer.pick(usables.length, (at) => usables[at] === true);
          assert.equal(usables[index], true);
          seen.set(index, (seen.get(index) ?? 0) + 1);
        }
        assert.ok([...seen.values()].every((n) => n === 3));
        if (count === 0)
          assert.equal(
            balancer.pick(usables.length, (at) => usables[at] === true),
            -1,
          );
      }),
    );
  });

  it("does not lose its place over a moment in which none could be used, or over fewer peers", () => {
    const balancer = roundRobin(0);
    assert.equal(balancer.pick(3, ALL), 1);
    assert.equal(
      balancer.pick(3, () => false),
      -1,
    );
    assert.equal(balancer.pick(3, ALL), 2);
    assert.equal(balancer.pick(2, ALL), 1);
    assert.equal(balancer.pick(0, ALL), -1);
    assert.equal(balancer.pick(1, ALL), 0);
  });

  it("asks each peer once at most for one pick", () => {
    let asked = 0;
    roundRobin(7).pick(10, () => {
      asked += 1;
      return false;
    });
    assert.equal(asked, 10);
  });
});
