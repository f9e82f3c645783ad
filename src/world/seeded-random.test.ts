import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { randomFromState, seededRandom } from "./seeded-random.ts";

describe("seeded random", () => {
  it("gives the numbers of the reference implementation of xoshiro128**", () => {
    const random = randomFromState(1, 2, 3, 4);
    const drawn = Array.from({ length: 10 }, () => random.uint32());
    assert.deepEqual(
      drawn,
      [11520, 0, 5927040, 70819200, 2031721883, 1637235492, 1287239034, 3734860849, 3729100597, 4258142804],
    );
  });

  it("gives the same numbers for the same seed, and others for another", () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.integer(), (seed, other) => {
        const [one, two, three] = [seededRandom(seed), seededRandom(seed), seededRandom(other)];
        const draw = (random: { uint32(): number }): string => Array.from({ length: 4 }, () => random.uint32()).join();
        const drawn = draw(one);
        assert.equal(draw(two), drawn);
        if (!Object.is(seed, other)) assert.notEqual(draw(three), drawn);
      }),
    );
  });

  it("stays within 32 bits, and floats within [0, 1) with more than 32 bits", () => {
    const random = seededRandom(7);
    let isFine = false;
    for (let i = 0; i < 10_000; i += 1) {
      const word = random.uint32();
      assert.ok(Number.isInteger(word) && word >= 0 && word < 2 ** 32);
      const float = random.float();
      assert.ok(float >= 0 && float < 1);
      isFine ||= !Number.isInteger(float * 2 ** 40);
    }
    assert.ok(isFine);
  });

  it("spreads evenly, also for seeds that are neighbours", () => {
    const counts = new Array<number>(16).fill(0);
    for (let seed = 0; seed < 16_000; seed += 1) {
      const bucket = Math.floor(seededRandom(seed).float() * 16);
      counts[bucket] = (counts[bucket] ?? 0) + 1;
    }
    // 1000 expected in each; the chance of one outside is below 1e-9, and the seeds never change.
    for (const count of counts) assert.ok(count > 800 && count < 1200, counts.join());
  });

  it("refuses a seed that is no number, and a state of zeros does not stay zero", () => {
    assert.throws(() => seededRandom(Number.NaN), /RangeError: seed must be a finite number, got NaN/);
    assert.throws(() => seededRandom(Number.POSITIVE_INFINITY), RangeError);
    const random = randomFromState(0, 0, 0, 0);
    assert.ok(Array.from({ length: 8 }, () => random.uint32()).some((word) => word !== 0));
  });
});
