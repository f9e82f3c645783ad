import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { HUFFMAN_MALFORMED, huffmanDecode, huffmanEncode, huffmanLength } from "./huffman.ts";
import { HUFFMAN_CODES, HUFFMAN_EOS, HUFFMAN_LENGTHS } from "./huffman-table.ts";

function encode(text: string): Buffer {
  const out = Buffer.alloc(text.length * 4 + 4);
  return out.subarray(0, huffmanEncode(text, out, 0));
}

function decode(bytes: Buffer, room = 8192): string | number {
  const out = Buffer.alloc(room);
  const length = huffmanDecode(bytes, 0, bytes.length, out);
  return length < 0 ? length : out.toString("latin1", 0, length);
}

const latin1 = fc.string({
  unit: fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)),
  maxLength: 300,
});

test("the codes are those of RFC 7541 appendix B where it is looked at", () => {
  const codeOf = (symbol: number): string =>
    (HUFFMAN_CODES[symbol] as number).toString(2).padStart(HUFFMAN_LENGTHS[symbol] as number, "0");
  assert.equal(codeOf(0), "1111111111000");
  assert.equal(codeOf(10), "111111111111111111111111111100");
  assert.equal(codeOf(48), "00000");
  assert.equal(codeOf(97), "00011");
  assert.equal(codeOf(122), "1111011");
  assert.equal(codeOf(255), "11111111111111111111101110");
  assert.equal(codeOf(HUFFMAN_EOS), "1".repeat(30));
});

test("the code is complete: every infinite row of bits is one row of symbols", () => {
  let filled = 0;
  for (let symbol = 0; symbol <= HUFFMAN_EOS; symbol++) filled += 2 ** -(HUFFMAN_LENGTHS[symbol] as number);
  assert.equal(filled, 1);
});

test("strings of RFC 7541 appendix C come out as there, both ways", () => {
  const examples: readonly (readonly [string, string])[] = [
    ["www.example.com", "f1e3c2e5f23a6ba0ab90f4ff"],
    ["no-cache", "a8eb10649cbf"],
    ["custom-key", "25a849e95ba97d7f"],
    ["custom-value", "25a849e95bb8e8b4bf"],
    ["private", "aec3771a4b"],
    ["Mon, 21 Oct 2013 20:13:21 GMT", "d07abe941054d444a8200595040b8166e082a62d1bff"],
    ["307", "640eff"],
    [
      "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
      "94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
    ],
  ];
  for (const [text, hex] of examples) {
    assert.equal(encode(text).toString("hex"), hex);
    assert.equal(decode(Buffer.from(hex, "hex")), text);
    assert.equal(huffmanLength(text), hex.length / 2);
  }
});

test("every text comes back, and takes the length foretold", () => {
  fc.assert(
    fc.property(latin1, (text) => {
      const bytes = encode(text);
      assert.equal(bytes.length, huffmanLength(text));
      assert.equal(decode(bytes), text);
    }),
  );
});

test("each symbol comes back alone, twice, and between common ones", () => {
  for (let symbol = 0; symbol < 256; symbol++) {
    const character = String.fromCharCode(symbol);
    for (const text of [character, character + character, `0${character}a`, `zz${character}${character}z`]) {
      assert.equal(decode(encode(text)), text);
    }
  }
});

test("any bytes are either malformed or what their text encodes to", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (array) => {
      const bytes = Buffer.from(array);
      const text = decode(bytes);
      if (typeof text === "number") assert.equal(text, HUFFMAN_MALFORMED);
      else assert.equal(encode(text).toString("hex"), bytes.toString("hex"));
    }),
    { numRuns: 1000 },
  );
});

test("EOS in a string is malformed, wherever it begins", () => {
  for (const before of ["", "0", "00", "000", "a&"]) {
    const bits = [...before].map((c) =>
      (HUFFMAN_CODES[c.charCodeAt(0)] as number).toString(2).padStart(HUFFMAN_LENGTHS[c.charCodeAt(0)] as number, "0"),
    );
    const row = [...bits, "1".repeat(30), "00000"].join("");
    const padded = row.padEnd(Math.ceil(row.length / 8) * 8, "1");
    const bytes = Buffer.from(padded.match(/.{8}/g)?.map((byte) => Number.parseInt(byte, 2)) ?? []);
    assert.equal(decode(bytes), HUFFMAN_MALFORMED);
  }
});

test("padding over seven bits is malformed", () => {
  assert.equal(decode(Buffer.from([0xff])), HUFFMAN_MALFORMED);
  assert.equal(decode(Buffer.from([0x07, 0xff])), HUFFMAN_MALFORMED);
  assert.equal(decode(Buffer.from([0xff, 0xff])), HUFFMAN_MALFORMED);
  assert.equal(decode(Buffer.from([0xff, 0xff, 0xff])), HUFFMAN_MALFORMED);
});

test("padding that is not all ones is malformed", () => {
  assert.equal(decode(Buffer.from([0b00000_111])), "0");
  // 110 and 101 begin no code of three bits, so they can only be padding.
  for (const padding of [0b000, 0b001, 0b011, 0b100, 0b101, 0b110]) {
    assert.equal(decode(Buffer.from([padding])), HUFFMAN_MALFORMED);
  }
});

test("nothing outside of the range is read", () => {
  const whole = Buffer.concat([Buffer.from([0xff, 0x00]), encode("no-cache"), Buffer.from([0x00, 0x00])]);
  const out = Buffer.alloc(64);
  assert.equal(huffmanDecode(whole, 2, whole.length - 2, out), 8);
  assert.equal(out.toString("latin1", 0, 8), "no-cache");
  assert.equal(huffmanDecode(whole, 3, 3, out), 0);
});

test("a string longer than the room is counted to its end, and only its beginning is written", () => {
  const bytes = encode("0123456789".repeat(10));
  const out = Buffer.alloc(16, 0x2e);
  assert.equal(huffmanDecode(bytes, 0, bytes.length, out.subarray(0, 10)), 100);
  assert.equal(out.toString("latin1", 0, 16), "0123456789......");
  const malformed = Buffer.concat([bytes, Buffer.from([0xff, 0xff, 0xff, 0xff])]);
  assert.equal(huffmanDecode(malformed, 0, malformed.length, out.subarray(0, 10)), HUFFMAN_MALFORMED);
});
