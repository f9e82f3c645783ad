import assert from "node:assert/strict";
import { test } from "node:test";
import { deflateRawSync, deflateSync, gzipSync } from "node:zlib";
import fc from "fast-check";
import {
  acceptEncoding,
  acceptedEncodings,
  CompressionError,
  compress,
  decompress,
  encodingOf,
  encodings,
} from "./compression.ts";

function kindOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    assert.ok(error instanceof CompressionError, String(error));
    return error.kind;
  }
  return "none";
}

test("every encoding gives back what it was given", () => {
  fc.assert(
    fc.property(fc.constantFrom(...encodings), fc.uint8Array({ maxLength: 5_000 }), (encoding, given) => {
      const bytes = Buffer.from(given);
      assert.deepEqual(decompress(encoding, compress(encoding, bytes), bytes.length), bytes);
    }),
  );
});

test("deflate is the zlib format, as in gRPC, not raw deflate", () => {
  assert.equal(compress("deflate", Buffer.from("x"))[0], 0x78);
  assert.equal(
    kindOf(() => decompress("deflate", deflateRawSync(Buffer.from("hello")), 100)),
    "corrupt",
  );
});

test("the limit is exact: its own size passes, one byte more does not", () => {
  for (const encoding of encodings) {
    for (const size of [0, 1, 2, 1_000, 100_000]) {
      const packed = compress(encoding, Buffer.alloc(size, 7));
      assert.equal(decompress(encoding, packed, size).length, size);
      if (size > 0)
        assert.equal(
          kindOf(() => decompress(encoding, packed, size - 1)),
          "too-large",
        );
    }
  }
});

test("a bomb stops at the limit while inflating", () => {
  const bomb = gzipSync(Buffer.alloc(64 << 20));
  const before = process.memoryUsage().arrayBuffers;
  assert.equal(
    kindOf(() => decompress("gzip", bomb, 100_000)),
    "too-large",
  );
  assert.ok(process.memoryUsage().arrayBuffers - before < 8 << 20);
});

test("truncated, damaged, empty and overlong input is corrupt", () => {
  const gzip = gzipSync(Buffer.from("hello"));
  const deflate = deflateSync(Buffer.from("hello"));
  const damaged = Buffer.from(gzip);
  damaged[gzip.length - 5] = (damaged[gzip.length - 5] as number) ^ 1;
  const cases = [
    ["gzip", gzip.subarray(0, -1)],
    ["gzip", Buffer.alloc(0)],
    ["gzip", damaged],
    ["gzip", Buffer.concat([gzip, Buffer.from("tail")])],
    ["gzip", Buffer.concat([gzip, Buffer.alloc(8)])],
    ["gzip", deflate],
    ["deflate", deflate.subarray(0, -1)],
    ["deflate", Buffer.alloc(0)],
    ["deflate", Buffer.concat([deflate, Buffer.from("tail")])],
    ["deflate", gzip],
  ] as const;
  for (const [encoding, bytes] of cases)
    assert.equal(
      kindOf(() => decompress(encoding, bytes, 1_000)),
      "corrupt",
    );
});

test("any bytes decompress or end in a CompressionError", () => {
  fc.assert(
    fc.property(
      fc.constantFrom("gzip" as const, "deflate" as const),
      fc.uint8Array(),
      fc.nat(100),
      (encoding, given, at) => {
        const bytes = compress(encoding, Buffer.from(given));
        bytes[at % bytes.length] = (bytes[at % bytes.length] as number) ^ 0x10;
        assert.ok(["none", "corrupt", "too-large"].includes(kindOf(() => decompress(encoding, bytes, 1_000))));
        assert.ok(
          ["none", "corrupt", "too-large"].includes(kindOf(() => decompress(encoding, Buffer.from(given), 1_000))),
        );
      },
    ),
  );
});

test("names are known or not, and a peer's list is read leniently", () => {
  assert.equal(acceptEncoding, "identity,gzip,deflate");
  assert.equal(encodingOf("gzip"), "gzip");
  for (const name of ["", "GZIP", "snappy", "constructor"]) assert.equal(encodingOf(name), undefined);
  assert.deepEqual(acceptedEncodings("snappy, gzip ,,"), ["identity", "gzip"]);
  assert.deepEqual(acceptedEncodings(""), ["identity"]);
});
