import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type AnnouncedStore, isSameStore, joinStores, NO_STORE } from "./dedup.ts";

const X: AnnouncedStore = { id: "x", scope: "machine" };

describe("two stores", () => {
  it("are the same if id and scope are; no store is the same as anything", () => {
    assert.equal(isSameStore(X, { ...X }), true);
    for (const other of [{ ...X, id: "y" }, { ...X, scope: "service" } as const, NO_STORE, undefined]) {
      assert.deepEqual([isSameStore(X, other), isSameStore(other, X)], [false, false]);
    }
    assert.equal(isSameStore(NO_STORE, NO_STORE), false);
    assert.equal(isSameStore(undefined, undefined), false);
  });
});

describe("what the answers of a connection say together", () => {
  it("is the store that all of them name", () => {
    assert.equal(joinStores(undefined, X), X);
    assert.equal(joinStores(X, { ...X }), X);
  });

  it("is no store for good, once one of them names another or none", () => {
    for (const other of [{ ...X, id: "y" }, { ...X, scope: "process" } as const, NO_STORE, undefined]) {
      assert.equal(joinStores(X, other), NO_STORE);
      assert.equal(joinStores(joinStores(X, other), X), NO_STORE);
    }
    assert.equal(joinStores(undefined, undefined), NO_STORE);
    assert.equal(joinStores(NO_STORE, X), NO_STORE);
  });
});
