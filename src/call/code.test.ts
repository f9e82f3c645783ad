import assert from "node:assert/strict";
import { test } from "node:test";
import { type CodeOrOk, codeNumber, codeOf, codesByNumber, isCode } from "./code.ts";

test("numbers and names are each other's inverse for all seventeen", () => {
  assert.equal(codesByNumber.length, 17);
  codesByNumber.forEach((code, number) => {
    assert.equal(codeNumber(code), number);
    assert.equal(codeOf(number), code);
  });
});

test("the numbers are those of google.rpc.Code", () => {
  const known: readonly [CodeOrOk, number][] = [
    ["OK", 0],
    ["UNKNOWN", 2],
    ["DEADLINE_EXCEEDED", 4],
    ["UNAVAILABLE", 14],
    ["UNAUTHENTICATED", 16],
  ];
  for (const [code, number] of known) assert.equal(codeNumber(code), number);
});

test("a number that is no code is UNKNOWN", () => {
  for (const value of [-1, 17, 255, 1.5, NaN, Infinity, 2 ** 32]) assert.equal(codeOf(value), "UNKNOWN");
});

test("isCode takes the failures, and neither OK, numbers nor inherited names", () => {
  assert.ok(isCode("NOT_FOUND"));
  for (const value of ["OK", 5, "not_found", "toString", "__proto__", undefined, null, {}]) assert.ok(!isCode(value));
});
