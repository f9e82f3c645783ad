import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeKept, encodeKept, type KeptAnswer } from "./kept-answer.ts";

const plain: KeptAnswer = { failure: undefined, header: undefined, trailer: undefined, reply: Buffer.from([8, 1]) };

test("a reply is its bytes behind five others, and comes back", () => {
  const bytes = encodeKept(plain);
  assert.deepEqual([...bytes], [1, 0, 0, 0, 0, 8, 1]);
  assert.deepEqual(decodeKept(bytes), plain);
});

test("an empty reply is a reply", () => {
  const kept = decodeKept(encodeKept({ ...plain, reply: Buffer.alloc(0) }));
  assert.equal(kept.reply?.length, 0);
  assert.equal(kept.failure, undefined);
});

test("metadata comes back, text and bytes, in order", () => {
  const kept = decodeKept(
    encodeKept({ ...plain, header: ["x-a", "1", "x-b-bin", Buffer.from([0, 255])], trailer: ["x-c", "ö"] }),
  );
  assert.deepEqual(kept.header, ["x-a", "1", "x-b-bin", Buffer.from([0, 255])]);
  assert.deepEqual(kept.trailer, ["x-c", "ö"]);
  assert.deepEqual([...(kept.reply ?? [])], [8, 1]);
});

test("a failure comes back with everything that its caller was told", () => {
  const failure = {
    code: "FAILED_PRECONDITION",
    text: "out of stock",
    metadata: ["x-left", "2"],
    details: Buffer.from([1, 2, 3]),
    retryAfterMs: -1,
    isNotRun: false,
  } as const;
  const kept = decodeKept(encodeKept({ failure, header: undefined, trailer: undefined, reply: undefined }));
  assert.deepEqual(kept.failure, { ...failure, metadata: ["x-left", "2"] });
  assert.equal(kept.reply, undefined);
});

test("what is no kept answer is refused, and nothing is made up", () => {
  for (const bytes of [[], [1, 0, 0, 0], [2, 0, 0, 0, 0], [1, 0, 0, 0, 9, 123]]) {
    assert.throws(() => decodeKept(Buffer.from(bytes)), /^Error: a kept answer/);
  }
});
