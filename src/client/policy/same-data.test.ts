import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import { test } from "node:test";
import fc from "fast-check";
import { copyOfData, isSameData } from "./same-data.ts";

test("data is the same as its copy, and as nothing else, as node's own comparison says", () => {
  const data = fc.jsonValue({ maxDepth: 3 });
  fc.assert(
    fc.property(data, data, (a, b) => {
      assert.equal(isSameData(a, copyOfData(a)), true);
      assert.equal(isSameData(a, copyOfData(b)), isDeepStrictEqual(a, b));
    }),
  );
});

test("the order of keys does not count, a missing, an undefined and a further key do", () => {
  assert.equal(isSameData({ a: 1, b: [2] }, { b: [2], a: 1 }), true);
  assert.equal(isSameData({ a: 1 }, { a: 1, b: 2 }), false);
  assert.equal(isSameData({ a: 1, b: undefined }, { a: 1 }), false);
  assert.equal(isSameData({ a: 1, b: undefined }, { a: 1, c: 2 }), false);
  assert.equal(isSameData([1, 2], [1]), false);
});

test("objects of another make are never the same, though they show no key", () => {
  for (const other of [new Map(), new Set(), new (class Policy {})(), Object.create({ a: 1 }), [], () => {}]) {
    assert.equal(isSameData(other, {}), false);
  }
  assert.equal(isSameData({}, []), false);
});

test("data that refers to itself ends", () => {
  const self: Record<string, unknown> = {};
  self["a"] = self;
  assert.equal(isSameData(self, { a: { a: { a: 1 } } }), false);
});
