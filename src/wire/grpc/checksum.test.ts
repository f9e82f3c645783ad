import assert from "node:assert/strict";
import { test } from "node:test";
import { crc32 } from "node:zlib";
import fc from "fast-check";
import {
  CHECKSUM_CHARACTERS,
  CHECKSUM_UNREADABLE,
  checksumOf,
  readChecksum,
  readChecksumText,
  writeChecksum,
} from "./checksum.ts";

function written(checksum: number): string {
  const out = Buffer.alloc(CHECKSUM_CHARACTERS);
  writeChecksum(out, 0, checksum);
  return out.toString("latin1");
}

test("is the CRC-32 of RFC 1952: the known check value, and 0 for nothing", () => {
  const digits = Buffer.from("123456789");
  assert.equal(written(checksumOf(digits, 0, digits.length)), "cbf43926");
  assert.equal(checksumOf(digits, 4, 4), 0);
});

test("is zlib's at every length around its steps and around the native one, at every offset", () => {
  const bytes = Buffer.from(Array.from({ length: 600 }, (_, i) => (i * 151 + 43) & 0xff));
  for (let length = 0; length <= 300; length++) {
    for (const start of [0, 1, 7, 255]) {
      const expected = crc32(bytes.subarray(start, start + length)) | 0;
      assert.equal(checksumOf(bytes, start, start + length), expected, `${length} bytes from ${start}`);
    }
  }
});

test("is zlib's for any bytes, and looks at none beside them", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 700 }), fc.uint8Array({ maxLength: 9 }), (message, around) => {
      const bytes = Buffer.concat([around, message, around]);
      assert.equal(checksumOf(bytes, around.length, around.length + message.length), crc32(message) | 0);
    }),
  );
});

test("no flipped bit, and no run of up to 32 altered bits, has the same checksum", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 1, maxLength: 300 }),
      fc.nat(),
      fc.integer({ min: 1, max: 2 ** 32 - 1 }),
      (message, place, mask) => {
        const bytes = Buffer.from(message);
        const altered = Buffer.from(message);
        const first = place % (bytes.length * 8);
        for (let i = 0; i < 32 && first + i < bytes.length * 8; i++) {
          if (((mask >>> i) & 1) === 0) continue;
          const at = (first + i) >>> 3;
          altered[at] = (altered[at] as number) ^ (1 << ((first + i) & 7));
        }
        const isSame = altered.equals(bytes);
        assert.equal(checksumOf(altered, 0, altered.length) === checksumOf(bytes, 0, bytes.length), isSame);
      },
    ),
  );
});

test("what was written is read again", () => {
  fc.assert(
    fc.property(fc.integer(), (checksum) => {
      const text = written(checksum);
      assert.match(text, /^[0-9a-f]{8}$/);
      assert.equal(readChecksumText(text), checksum);
      assert.equal(readChecksum(Buffer.from(`xx${text}yy`), 2, 10), checksum);
    }),
  );
});

test("anything but eight lower-case hex digits is unreadable, which is no message's checksum", () => {
  for (const text of ["", "0", "0000000", "000000000", "0000000g", "0000000F", "0x000000", "-0000001", " 0000000"]) {
    assert.equal(readChecksumText(text), CHECKSUM_UNREADABLE, text);
  }
  assert.notEqual(CHECKSUM_UNREADABLE | 0, CHECKSUM_UNREADABLE, "it is outside of 32 bits");
});
