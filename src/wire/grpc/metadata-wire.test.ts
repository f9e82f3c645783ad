import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { binaryToText, isReservedName, textToBinary, textToBinaryList } from "./metadata-wire.ts";

function read(text: string): number[] | undefined {
  const bytes = textToBinary(text);
  return bytes === undefined ? undefined : [...bytes];
}

test("base64 is written without padding", () => {
  assert.equal(binaryToText(Uint8Array.of()), "");
  assert.equal(binaryToText(Uint8Array.of(0xab)), "qw");
  assert.equal(binaryToText(Uint8Array.of(0xab, 0xab)), "q6s");
  assert.equal(binaryToText(Uint8Array.of(0xab, 0xab, 0xab)), "q6ur");
});

test("a view into a larger buffer writes its own bytes alone", () => {
  assert.equal(binaryToText(Uint8Array.of(1, 2, 3, 4).subarray(1, 3)), binaryToText(Uint8Array.of(2, 3)));
});

test("is read padded and unpadded", () => {
  assert.deepEqual(read("qw"), [0xab]);
  assert.deepEqual(read("qw=="), [0xab]);
  assert.deepEqual(read("q6s="), [0xab, 0xab]);
  assert.deepEqual(read(""), []);
});

test("everything else is refused", () => {
  const malformed = [
    "q",
    "qw=",
    "qw===",
    "q=w=",
    "q6s==",
    "=",
    "==",
    "====",
    "qw qw",
    " qw",
    "qw\n",
    "q6-_",
    "qx",
    "q6t",
    "qw==qw==",
    "é",
    "a,b",
    "qwq6u",
  ];
  for (const text of malformed) assert.equal(textToBinary(text), undefined, text);
});

test("any bytes come back the same, padded or not", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      const text = binaryToText(bytes);
      assert.deepEqual(read(text), [...bytes]);
      assert.deepEqual(read(Buffer.from(bytes).toString("base64")), [...bytes]);
    }),
  );
});

test("any text is refused or is the one form of its bytes", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.base64String(), fc.stringMatching(/^[A-Da-d+/=]{0,8}$/)), (text) => {
      const bytes = textToBinary(text);
      if (bytes !== undefined) assert.equal(binaryToText(bytes), text.replace(/=+$/, ""));
    }),
  );
});

test("values joined by commas are read apart, each padded or not, and one bad value refuses all", () => {
  const list = (text: string): number[][] | undefined => textToBinaryList(text)?.map((bytes) => [...bytes]);
  assert.deepEqual(list("qw"), [[0xab]]);
  assert.deepEqual(list("qw,q6s="), [[0xab], [0xab, 0xab]]);
  assert.deepEqual(list("qw== , qw"), [[0xab], [0xab]]);
  assert.deepEqual(list("qw,,qw"), [[0xab], [], [0xab]]);
  assert.equal(list("qw,!"), undefined);
  assert.equal(list("!"), undefined);
});

test("reserved names are the transport's, and look-alikes are not", () => {
  for (const name of ["grpc-status", "grpc-anything", ":path", "te", "content-type", "user-agent", "holdfast-call"])
    assert.ok(isReservedName(name), name);
  for (const name of ["authorization", "traceparent", "x-grpc", "grpc", "tea", "content-language"])
    assert.ok(!isReservedName(name), name);
});
