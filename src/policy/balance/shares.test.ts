import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { sharesOf } from "./shares.ts";

/** Percent, rounded down as Envoy's documents do, with a thousandth for what a double loses. */
function percents(...groups: readonly (readonly [usable: number, total: number])[]): readonly number[] {
  return sharesOf(groups.map(([usable, total]) => ({ usable, total }))).map((share) => Math.floor(share * 100 + 1e-3));
}

describe("shares of groups", () => {
  it("are those of the table in Envoy's documents, for two priorities of which the first fails", () => {
    assert.deepEqual(percents([100, 100], [100, 100]), [100, 0]);
    assert.deepEqual(percents([72, 100], [100, 100]), [100, 0]);
    assert.deepEqual(percents([71, 100], [100, 100]), [99, 0]);
    assert.deepEqual(percents([50, 100], [100, 100]), [70, 30]);
    assert.deepEqual(percents([25, 100], [100, 100]), [35, 65]);
    assert.deepEqual(percents([0, 100], [100, 100]), [0, 100]);
  });

  it("of both failing add up to all: 25 % and 25 % well is half and half", () => {
    assert.deepEqual(percents([25, 100], [25, 100]), [50, 50]);
    assert.deepEqual(percents([5, 100], [65, 100]), [7, 92]);
  });

  it("of three go down the line", () => {
    assert.deepEqual(percents([0, 10], [5, 10], [10, 10]), [0, 70, 30]);
    assert.deepEqual(percents([25, 100], [50, 100], [100, 100]), [35, 65, 0]);
  });

  it("add up to 1 whenever anybody is usable, never are less than 0, and give nothing to who has nobody", () => {
    const size = fc
      .nat({ max: 200 })
      .chain((total) => fc.record({ usable: fc.nat({ max: total }), total: fc.constant(total) }));
    fc.assert(
      fc.property(fc.array(size, { minLength: 1, maxLength: 8 }), (sizes) => {
        const shares = sharesOf(sizes);
        const sum = shares.reduce((before, share) => before + share, 0);
        const isAny = sizes.some(({ usable }) => usable > 0);
        assert.ok(Math.abs(sum - (isAny ? 1 : 0)) < 1e-9, `${sum}`);
        assert.ok(shares.every((share) => share >= 0));
        assert.ok(shares.every((share, index) => share === 0 || (sizes[index]?.usable ?? 0) > 0));
      }),
    );
  });

  it("never fall when a peer of the group comes back", () => {
    const pair = fc.tuple(fc.integer({ min: 1, max: 50 }), fc.nat({ max: 49 }), fc.integer({ min: 1, max: 50 }));
    fc.assert(
      fc.property(pair, fc.nat({ max: 50 }), ([total, seed, otherTotal], otherSeed) => {
        const usable = seed % total;
        const other = { usable: otherSeed % (otherTotal + 1), total: otherTotal };
        const [before = 0] = sharesOf([{ usable, total }, other]);
        const [after = 0] = sharesOf([{ usable: usable + 1, total }, other]);
        assert.ok(after >= before - 1e-12);
      }),
    );
  });
});
