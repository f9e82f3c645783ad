import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { cutAt, flippedAt } from "./damage.ts";

const part = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true });
const some = fc.uint8Array({ minLength: 1, maxLength: 300 });

describe("damage to bytes", () => {
  it("flips one bit of a copy", () => {
    fc.assert(
      fc.property(some, part, (bytes, at) => {
        const before = Buffer.from(bytes);
        const damaged = flippedAt(bytes, at);
        let changed = 0;
        for (const [index, byte] of before.entries()) changed += ones(byte ^ (damaged[index] ?? 0));
        assert.equal(changed, 1);
        assert.equal(damaged.length, bytes.length);
        assert.deepEqual(Buffer.from(bytes), before);
      }),
    );
  });

  it("reaches every bit", () => {
    const bytes = Buffer.alloc(3);
    const places = new Set(Array.from({ length: 24 }, (_, bit) => flippedAt(bytes, bit / 24).toString("hex")));
    assert.equal(places.size, 24);
  });

  it("cuts to a beginning that is shorter than the whole", () => {
    fc.assert(
      fc.property(some, part, (bytes, at) => {
        const rest = cutAt(bytes, at);
        assert.ok(rest.length < bytes.length);
        assert.deepEqual(rest, bytes.subarray(0, rest.length));
      }),
    );
  });

  it("leaves nothing as nothing, and refuses what is no part", () => {
    assert.equal(flippedAt(Buffer.alloc(0), 0.5).length, 0);
    assert.equal(cutAt(Buffer.alloc(0), 0.5).length, 0);
    for (const wrong of [1, -0.1, NaN]) {
      assert.throws(() => flippedAt(Buffer.alloc(1), wrong), /part must be 0 or more and below 1/);
      assert.throws(() => cutAt(Buffer.alloc(1), wrong), RangeError);
    }
  });
});

function ones(byte: number): number {
  return byte.toString(2).replaceAll("0", "").length;
}
