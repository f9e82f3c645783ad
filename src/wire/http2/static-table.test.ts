import assert from "node:assert/strict";
import { test } from "node:test";
import { STATIC_INDEX_MAX, STATIC_TABLE, staticFieldIndex, staticNameIndex } from "./static-table.ts";

test("the table has 61 fields, with those of RFC 7541 appendix A at its corners", () => {
  assert.equal(STATIC_TABLE.length, STATIC_INDEX_MAX + 1);
  assert.deepEqual(STATIC_TABLE[1], [":authority", ""]);
  assert.deepEqual(STATIC_TABLE[3], [":method", "POST"]);
  assert.deepEqual(STATIC_TABLE[8], [":status", "200"]);
  assert.deepEqual(STATIC_TABLE[16], ["accept-encoding", "gzip, deflate"]);
  assert.deepEqual(STATIC_TABLE[31], ["content-type", ""]);
  assert.deepEqual(STATIC_TABLE[61], ["www-authenticate", ""]);
});

test("every field is found by name and value, every name at its lowest index", () => {
  for (let index = 1; index <= STATIC_INDEX_MAX; index++) {
    const [name, value] = STATIC_TABLE[index] as readonly [string, string];
    assert.equal(staticFieldIndex(name, value), index);
    const lowest = staticNameIndex(name);
    assert.equal((STATIC_TABLE[lowest] as readonly [string, string])[0], name);
    assert.notEqual((STATIC_TABLE[lowest - 1] as readonly [string, string])[0], name);
  }
});

test("what is not in the table has index 0, names of Object.prototype too", () => {
  for (const name of ["", "te", "grpc-status", "__proto__", "constructor", ":Method"])
    assert.equal(staticNameIndex(name), 0);
  assert.equal(staticFieldIndex(":method", "PUT"), 0);
  assert.equal(staticFieldIndex("", ""), 0);
  assert.equal(staticFieldIndex("www-authenticate", "Basic"), 0);
});
