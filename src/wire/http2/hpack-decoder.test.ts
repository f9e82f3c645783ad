import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  FieldNames,
  FieldSection,
  FLAW_NAME_EMPTY,
  FLAW_NAME_UPPERCASE,
  FLAW_NONE,
  FLAW_PSEUDO_DUPLICATE,
  FLAW_PSEUDO_ORDER,
  FLAW_PSEUDO_UNKNOWN,
  FLAW_TE,
  FLAW_VALUE_CHARACTER,
  FLAW_VALUE_SPACE,
  NO_FIELD,
  PSEUDO_AUTHORITY,
  PSEUDO_METHOD,
  PSEUDO_PATH,
  PSEUDO_SCHEME,
} from "./field.ts";
import { HpackDecoder, type HpackDecoderLimits } from "./hpack-decoder.ts";
import { huffmanEncode } from "./huffman.ts";

const NAMES = new FieldNames(["content-type", "grpc-timeout", "traceparent"], ["grpc-timeout", "traceparent"]);
const LIMITS: HpackDecoderLimits = {
  tableSizeMax: 4096,
  fieldsMax: 1000,
  listBytesMax: 1 << 20,
  fieldBytesMax: 1 << 16,
};

function decoderWith(limits: Partial<HpackDecoderLimits> = {}): HpackDecoder {
  return new HpackDecoder(NAMES, { ...LIMITS, ...limits });
}

function decode(decoder: HpackDecoder, hex: string): FieldSection {
  const section = new FieldSection(NAMES);
  const bytes = Buffer.from(hex.replaceAll(" ", ""), "hex");
  assert.ok(decoder.decode(bytes, 0, bytes.length, section), decoder.error);
  return section;
}

function errorOf(decoder: HpackDecoder, hex: string): string {
  const bytes = Buffer.from(hex.replaceAll(" ", ""), "hex");
  assert.equal(decoder.decode(bytes, 0, bytes.length, new FieldSection(NAMES)), false);
  return decoder.error;
}

function pairs(section: FieldSection): [string, string][] {
  return section.fields.slice(0, section.count).map((field) => [field.name, field.value]);
}

function table(decoder: HpackDecoder): string[] {
  return Array.from({ length: decoder.tableCount }, (_, i) => {
    const field = decoder.entry(62 + i);
    return `${field.name}: ${field.value}`;
  });
}

/** A string literal without Huffman, as hex. */
function literal(text: string): string {
  assert.ok(text.length < 127);
  return Buffer.concat([Buffer.from([text.length]), Buffer.from(text, "latin1")]).toString("hex");
}

function huffmanLiteral(text: string): string {
  const out = Buffer.alloc(text.length * 4 + 4);
  const end = huffmanEncode(text, out, 0);
  assert.ok(end < 127);
  return Buffer.concat([Buffer.from([0x80 | end]), out.subarray(0, end)]).toString("hex");
}

test("RFC 7541 C.2: the four representations", () => {
  const indexing = decoderWith();
  assert.deepEqual(pairs(decode(indexing, "400a637573746f6d2d6b65790d637573746f6d2d686561646572")), [
    ["custom-key", "custom-header"],
  ]);
  assert.deepEqual(table(indexing), ["custom-key: custom-header"]);
  assert.equal(indexing.tableSize, 55);
  const not = decoderWith();
  assert.deepEqual(pairs(decode(not, "040c2f73616d706c652f70617468")), [[":path", "/sample/path"]]);
  assert.deepEqual(pairs(decode(not, "100870617373776f726406736563726574")), [["password", "secret"]]);
  assert.deepEqual(pairs(decode(not, "82")), [[":method", "GET"]]);
  assert.equal(not.tableCount, 0);
});

const REQUESTS = [
  [
    [":method", "GET"],
    [":scheme", "http"],
    [":path", "/"],
    [":authority", "www.example.com"],
  ],
  [
    [":method", "GET"],
    [":scheme", "http"],
    [":path", "/"],
    [":authority", "www.example.com"],
    ["cache-control", "no-cache"],
  ],
  [
    [":method", "GET"],
    [":scheme", "https"],
    [":path", "/index.html"],
    [":authority", "www.example.com"],
    ["custom-key", "custom-value"],
  ],
];
const REQUEST_BLOCKS = {
  "C.3, plain": [
    "828684410f7777772e6578616d706c652e636f6d",
    "828684be58086e6f2d6361636865",
    "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
  ],
  "C.4, Huffman": [
    "828684418cf1e3c2e5f23a6ba0ab90f4ff",
    "828684be5886a8eb10649cbf",
    "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
  ],
};

for (const [title, blocks] of Object.entries(REQUEST_BLOCKS)) {
  test(`RFC 7541 ${title}: three requests, and the table after each`, () => {
    const decoder = decoderWith();
    const sizes = [57, 110, 164];
    blocks.forEach((block, i) => {
      assert.deepEqual(pairs(decode(decoder, block)), REQUESTS[i]);
      assert.equal(decoder.tableSize, sizes[i]);
    });
    assert.deepEqual(table(decoder), [
      "custom-key: custom-value",
      "cache-control: no-cache",
      ":authority: www.example.com",
    ]);
  });
}

const DATE = "Mon, 21 Oct 2013 20:13:21 GMT";
const COOKIE = "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";
const LOCATION = "https://www.example.com";
const RESPONSES = [
  [
    [":status", "302"],
    ["cache-control", "private"],
    ["date", DATE],
    ["location", LOCATION],
  ],
  [
    [":status", "307"],
    ["cache-control", "private"],
    ["date", DATE],
    ["location", LOCATION],
  ],
  [
    [":status", "200"],
    ["cache-control", "private"],
    ["date", DATE.replace("21 GMT", "22 GMT")],
    ["location", LOCATION],
    ["content-encoding", "gzip"],
    ["set-cookie", COOKIE],
  ],
];
const RESPONSE_BLOCKS = {
  "C.5, plain": [
    "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e1768747470733a2f2f7777772e6578616d706c652e636f6d",
    "4803333037c1c0bf",
    "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31",
  ],
  "C.6, Huffman": [
    "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
    "4883640effc1c0bf",
    "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
  ],
};

for (const [title, blocks] of Object.entries(RESPONSE_BLOCKS)) {
  test(`RFC 7541 ${title}: three responses with a table of 256, and the entries that are evicted`, () => {
    const decoder = decoderWith({ tableSizeMax: 256 });
    const sizes = [222, 222, 215];
    blocks.forEach((block, i) => {
      assert.deepEqual(pairs(decode(decoder, block)), RESPONSES[i]);
      assert.equal(decoder.tableSize, sizes[i]);
    });
    assert.deepEqual(table(decoder), [
      `set-cookie: ${COOKIE}`,
      "content-encoding: gzip",
      `date: ${DATE.replace("21 GMT", "22 GMT")}`,
    ]);
  });
}

test("an indexed field is the same object each time, with the slot of the layer above", () => {
  const decoder = decoderWith();
  const first = decode(decoder, `40${literal("a")}${literal("b")}`).fields[0];
  assert.ok(first);
  assert.equal(first.slot, undefined);
  first.slot = "route";
  assert.equal(decode(decoder, "be").fields[0], first);
  assert.equal(decode(decoder, "be").fields[0]?.slot, "route");
});

test("names are known by number whether indexed, literal or Huffman", () => {
  const decoder = decoderWith();
  const id = NAMES.idOf("content-type");
  const section = decode(
    decoder,
    `5f${literal("x")} 40${literal("content-type")}${literal("y")} 00${huffmanLiteral("content-type")}${literal("z")} 0f2f${literal("w")}`,
  );
  assert.deepEqual(pairs(section), [
    ["content-type", "x"],
    ["content-type", "y"],
    ["content-type", "z"],
    ["content-type", "w"],
  ]);
  for (let i = 0; i < section.count; i++) assert.equal(section.fields[i]?.nameId, id);
});

test("a raw name's plain literal stays bytes, whether its name is indexed or spelled out", () => {
  const decoder = decoderWith();
  decode(decoder, `40${literal("grpc-timeout")}${literal("1S")}`);
  for (const head of ["0f2f", `00${literal("grpc-timeout")}`, `10${huffmanLiteral("grpc-timeout")}`]) {
    const section = decode(decoder, `82 ${head}${literal("250m")}`);
    assert.deepEqual(pairs(section), [[":method", "GET"]]);
    assert.equal(section.rawBytes.toString("latin1", section.rawStart[0], section.rawEnd[0]), "250m");
    assert.equal(section.rawEnd[1], 0);
    assert.equal(section.total, 2);
    assert.equal(section.size, 42 + 12 + 4 + 32);
  }
});

test("an empty raw value is present and empty", () => {
  const section = decode(decoderWith(), `00${literal("traceparent")}00`);
  assert.ok((section.rawEnd[1] as number) > 0);
  assert.equal(section.rawStart[1], section.rawEnd[1]);
});

test("a raw name is an ordinary field when indexed, in Huffman, or there for the second time", () => {
  const decoder = decoderWith();
  const name = literal("grpc-timeout");
  assert.deepEqual(pairs(decode(decoder, `40${name}${literal("1S")}`)), [["grpc-timeout", "1S"]]);
  assert.deepEqual(pairs(decode(decoder, "be")), [["grpc-timeout", "1S"]]);
  assert.deepEqual(pairs(decode(decoder, `00${name}${huffmanLiteral("2S")}`)), [["grpc-timeout", "2S"]]);
  const twice = decode(decoder, `00${name}${literal("1S")} 00${name}${literal("2S")}`);
  assert.deepEqual(pairs(twice), [["grpc-timeout", "2S"]]);
  assert.equal(twice.rawBytes.toString("latin1", twice.rawStart[0], twice.rawEnd[0]), "1S");
});

test("a raw value has flaws like any other", () => {
  assert.equal(decode(decoderWith(), `00${literal("traceparent")}${literal("a\0b")}`).flaw, FLAW_VALUE_CHARACTER);
  assert.equal(decode(decoderWith(), `00${literal("traceparent")}${literal("ab ")}`).flaw, FLAW_VALUE_SPACE);
  assert.equal(decode(decoderWith(), `00${literal("traceparent")}${literal("a\x01b")}`).flaw, FLAW_NONE);
});

test("pseudo-headers are seen, and their order and number is kept", () => {
  const good = decode(decoderWith(), `83 86 84 41${literal("h")} 0f10${literal("g")}`);
  assert.equal(good.flaw, FLAW_NONE);
  assert.equal(
    good.pseudoMask,
    (1 << PSEUDO_METHOD) | (1 << PSEUDO_SCHEME) | (1 << PSEUDO_PATH) | (1 << PSEUDO_AUTHORITY),
  );
  assert.equal(decode(decoderWith(), "83 83").flaw, FLAW_PSEUDO_DUPLICATE);
  assert.equal(decode(decoderWith(), `84 04${literal("/x")}`).flaw, FLAW_PSEUDO_DUPLICATE);
  assert.equal(decode(decoderWith(), "83 90 84").flaw, FLAW_PSEUDO_ORDER);
  assert.equal(decode(decoderWith(), `00${literal("traceparent")}${literal("a")} 84`).flaw, FLAW_PSEUDO_ORDER);
  assert.equal(decode(decoderWith(), `00${literal(":what")}${literal("a")}`).flaw, FLAW_PSEUDO_UNKNOWN);
});

test("a flaw stops neither the decoding nor the table, and the first one is told", () => {
  const decoder = decoderWith();
  const section = decode(
    decoder,
    `40${literal("Upper")}${literal("a")} 40${literal("te")}${literal("gzip")} 40${literal("ok")}${literal("b")}`,
  );
  assert.equal(section.flaw, FLAW_NAME_UPPERCASE);
  assert.equal(section.count, 3);
  assert.deepEqual(table(decoder), ["ok: b", "te: gzip", "Upper: a"]);
  assert.equal(decode(decoder, "bf").flaw, FLAW_TE);
  assert.equal(decode(decoder, `7f01${literal("z")}`).flaw, FLAW_NAME_UPPERCASE);
  assert.equal(decode(decoder, `00 00 ${literal("v")}`).flaw, FLAW_NAME_EMPTY);
});

test("index 0 and an index beyond the table are errors, for a field and for a name", () => {
  assert.equal(errorOf(decoderWith(), "80"), "index 0");
  for (const hex of ["be", "ff00", "ff80 01", `7f00${literal("v")}`, `0f2f${literal("v")}`, `1fff7f${literal("v")}`]) {
    assert.equal(errorOf(decoderWith(), hex), "index beyond the table");
  }
  const decoder = decoderWith();
  decode(decoder, `40${literal("a")}${literal("b")}`);
  assert.equal(errorOf(decoder, "bf"), "index beyond the table");
});

test("an entry that was evicted is beyond the table", () => {
  const decoder = decoderWith({ tableSizeMax: 70 });
  decode(decoder, `40${literal("a")}${literal("1")} 40${literal("b")}${literal("2")} 40${literal("c")}${literal("3")}`);
  assert.deepEqual(table(decoder), ["c: 3", "b: 2"]);
  assert.equal(decoder.entry(64), NO_FIELD);
  assert.equal(errorOf(decoder, "c0"), "index beyond the table");
});

test("integers over 2^28, and ones of more than five bytes, are errors", () => {
  for (const hex of [
    "ff ff ff ff ff 7f",
    "ff 80 80 80 80 80 01",
    "ff ff ff ff ff ff ff ff ff ff 7f",
    "00 7f ff ff ff ff 0f",
    "3f ff ff ff ff 7f",
  ]) {
    assert.equal(errorOf(decoderWith(), hex), "integer overflow");
  }
  // Five bytes with nothing in the upper ones are allowed (RFC 7541 section 5.1 sets no shortest form): 127 + 0.
  assert.equal(errorOf(decoderWith(), "ff 80 80 80 80 00"), "index beyond the table");
});

test("a block that ends within an integer or a string is an error, wherever it is cut", () => {
  const whole = Buffer.from(`40${literal("name")}${huffmanLiteral("value")}`, "hex");
  for (let end = 1; end < whole.length; end++) {
    assert.equal(errorOf(decoderWith(), whole.subarray(0, end).toString("hex")), "truncated string");
  }
  for (const hex of ["ff", "ff80", "3f", "7f", "0f", "007f", "00ff"])
    assert.equal(errorOf(decoderWith(), hex), "truncated integer");
  assert.equal(errorOf(decoderWith(), "00 7f 81 01"), "truncated string");
});

test("a malformed Huffman string is an error, as name and as value", () => {
  assert.equal(errorOf(decoderWith(), "00 84 ff ff ff ff 00"), "malformed Huffman string");
  assert.equal(errorOf(decoderWith(), "04 81 ff"), "malformed Huffman string");
  assert.equal(errorOf(decoderWith(), "04 81 00"), "malformed Huffman string");
});

test("a size update is obeyed at the beginning of a block and refused elsewhere", () => {
  const decoder = decoderWith();
  decode(decoder, `40${literal("a")}${literal("1")} 40${literal("b")}${literal("2")}`);
  decode(decoder, "3f04");
  assert.deepEqual(table(decoder), ["b: 2"]);
  decode(decoder, "20 3fe11f");
  assert.equal(decoder.tableCount, 0);
  assert.equal(errorOf(decoder, "82 20"), "table size update after a field");
});

test("three size updates are refused, and one over our limit", () => {
  assert.equal(errorOf(decoderWith(), "20 21 22"), "more than two table size updates");
  decode(decoderWith(), "3fe11f");
  assert.equal(errorOf(decoderWith(), "3fe21f"), "table size update over the limit");
  const lowered = decoderWith();
  lowered.setTableSizeMax(100);
  assert.equal(errorOf(lowered, "3fe11f"), "table size update over the limit");
});

test("after we lowered the limit, the next block must begin with an update that obeys it", () => {
  const forgetful = decoderWith();
  forgetful.setTableSizeMax(100);
  assert.equal(errorOf(forgetful, "82"), "missing table size update");
  const wavering = decoderWith();
  wavering.setTableSizeMax(0);
  wavering.setTableSizeMax(4096);
  assert.equal(errorOf(wavering, "3fe11f 82"), "missing table size update");
  const obedient = decoderWith();
  obedient.setTableSizeMax(0);
  obedient.setTableSizeMax(4096);
  decode(obedient, "20 3fe11f 82");
  decode(obedient, "82");
});

test("a limit over 4096 may be used only after the peer said so", () => {
  const decoder = decoderWith({ tableSizeMax: 8192 });
  const big = `40${literal("a")} 7f ae0f ${"61".repeat(127 + 0x2e + 15 * 128)}`;
  for (let i = 0; i < 3; i++) decode(decoder, big);
  assert.equal(decoder.tableCount, 1);
  decode(decoder, "3fe13f");
  for (let i = 0; i < 3; i++) decode(decoder, big);
  assert.equal(decoder.tableCount, 3);
});

test("an entry larger than the table empties it and is still a field", () => {
  const decoder = decoderWith({ tableSizeMax: 64 });
  decode(decoder, `40${literal("a")}${literal("1")}`);
  assert.equal(decoder.tableCount, 1);
  assert.deepEqual(pairs(decode(decoder, `40${literal("b")}${literal("x".repeat(60))}`)), [["b", "x".repeat(60)]]);
  assert.equal(decoder.tableCount, 0);
  assert.equal(decoder.tableSize, 0);
});

test("the name of an entry may be used by the field that evicts it (RFC 7541 section 4.4)", () => {
  const decoder = decoderWith({ tableSizeMax: 64 });
  decode(decoder, `40${literal("name")}${literal("1")}`);
  assert.deepEqual(pairs(decode(decoder, `7e${literal("2")}`)), [["name", "2"]]);
  assert.deepEqual(table(decoder), ["name: 2"]);
});

test("over the number of fields nothing more is kept, but the table goes on", () => {
  const decoder = decoderWith({ fieldsMax: 2 });
  const section = decode(decoder, `82 84 40${literal("a")}${literal("1")} 00${literal("traceparent")}${literal("x")}`);
  assert.equal(section.isTruncated, true);
  assert.equal(section.count, 2);
  assert.equal(section.total, 4);
  assert.equal(section.rawEnd[1], 0);
  assert.deepEqual(table(decoder), ["a: 1"]);
  assert.equal(decode(decoder, "82 be").isTruncated, false);
});

test("raw fields count for the limits", () => {
  const raw = `00${literal("traceparent")}${literal("x")}`;
  assert.equal(decode(decoderWith({ fieldsMax: 1 }), `${raw} 82`).isTruncated, true);
  assert.equal(decode(decoderWith({ listBytesMax: 43 }), raw).isTruncated, true);
  assert.equal(decode(decoderWith({ listBytesMax: 44 }), raw).isTruncated, false);
});

test("over the bytes of the list nothing more is kept, though later fields would fit", () => {
  const decoder = decoderWith({ listBytesMax: 100 });
  const section = decode(decoder, `82 00${literal("a")}${literal("x".repeat(60))} 82`);
  assert.equal(section.isTruncated, true);
  assert.deepEqual(pairs(section), [[":method", "GET"]]);
  assert.equal(section.size, 42 + 93 + 42);
});

test("a field over its limit is not kept, whether plain or Huffman, as name or as value; the table holds what belongs there", () => {
  const long = "x".repeat(80);
  for (const text of [literal(long), huffmanLiteral(long)]) {
    const decoder = decoderWith({ fieldBytesMax: 40, tableSizeMax: 200 });
    for (const hex of [`00${literal("a")}${text}`, `00${text}${literal("a")}`]) {
      const section = decode(decoder, hex);
      assert.equal(section.isTruncated, true);
      assert.equal(section.count, 0);
      assert.equal(section.size, 113);
    }
    assert.equal(decode(decoder, `40${literal("a")}${text}`).isTruncated, true);
    assert.deepEqual(table(decoder), [`a: ${long}`]);
    const emptied = decoderWith({ fieldBytesMax: 40, tableSizeMax: 50 });
    decode(emptied, `40${literal("a")}${literal("b")}`);
    assert.equal(decode(emptied, `40${text}${text}`).isTruncated, true);
    assert.equal(emptied.tableCount, 0);
  }
});

test("a bomb of references costs what the limits allow, and no more", () => {
  const decoder = decoderWith({ fieldsMax: 100, listBytesMax: 16_384 });
  decode(decoder, `40${literal("a")} 7f d01e ${"61".repeat(127 + 0x50 + 30 * 128)}`);
  const section = decode(decoder, "be".repeat(16_000));
  assert.equal(section.isTruncated, true);
  assert.ok(section.count <= 4);
  assert.equal(section.total, 16_000);
});

test("the table outlives its ring: thousands of entries in and out, each at its index", () => {
  const decoder = decoderWith();
  const seen: string[] = [];
  for (let i = 0; i < 3000; i++) {
    const value = String(i % 7).repeat(i % 90);
    decode(decoder, `40${literal("k")}${literal(value)}`);
    seen.unshift(`k: ${value}`);
    assert.deepEqual(table(decoder), seen.slice(0, decoder.tableCount));
    assert.ok(decoder.tableSize <= 4096);
    assert.ok(decoder.tableSize + 32 + 1 + (seen[decoder.tableCount]?.length ?? 9999) - 4 > 4096);
    seen.length = decoder.tableCount;
  }
});

test("any bytes, block after block, give a section or an error text, never an exception", () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.array(
      fc.constantFrom(0x00, 0x01, 0x0f, 0x10, 0x20, 0x3f, 0x40, 0x41, 0x7f, 0x80, 0x81, 0x82, 0xbe, 0xff, 0x61),
      { maxLength: 60 },
    ),
  );
  fc.assert(
    fc.property(fc.array(bytes, { maxLength: 8 }), (blocks) => {
      const decoder = decoderWith({ tableSizeMax: 200, fieldsMax: 20, listBytesMax: 1000, fieldBytesMax: 60 });
      const section = new FieldSection(NAMES);
      for (const block of blocks) {
        section.clear();
        const isDecoded = decoder.decode(Buffer.from(block), 0, block.length, section);
        assert.equal(isDecoded, decoder.error === "");
        assert.ok(decoder.tableSize <= 200);
        assert.ok(section.count <= 20);
        assert.ok(section.fields.slice(0, section.count).every((field) => field !== NO_FIELD));
        if (!isDecoded) return;
      }
    }),
    { numRuns: 2000 },
  );
});

test("nothing outside of the block is read", () => {
  const block = Buffer.from(`82 00${literal("traceparent")}${literal("abc")}`.replaceAll(" ", ""), "hex");
  const padded = Buffer.concat([Buffer.alloc(5, 0xff), block, Buffer.alloc(5, 0xff)]);
  const section = new FieldSection(NAMES);
  assert.ok(decoderWith().decode(padded, 5, 5 + block.length, section));
  assert.equal(section.rawBytes.toString("latin1", section.rawStart[1], section.rawEnd[1]), "abc");
  assert.equal(decoderWith().decode(padded, 5, 5 + block.length - 1, new FieldSection(NAMES)), false);
  assert.equal(decoderWith().decode(padded, 5, 5, new FieldSection(NAMES)), true);
});
