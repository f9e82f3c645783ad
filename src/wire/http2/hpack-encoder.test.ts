import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { FieldNames, FieldSection } from "./field.ts";
import { HpackDecoder } from "./hpack-decoder.ts";
import { FieldName, FieldToken, HpackEncoder } from "./hpack-encoder.ts";

const NAMES = new FieldNames(["content-type"], []);
const latin1Byte = fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code));
const OUT = Buffer.alloc(1 << 20);

/** An encoder and the decoder at the other end, which must stay of one mind. */
class Pair {
  readonly encoder: HpackEncoder;
  readonly decoder: HpackDecoder;
  readonly section: FieldSection = new FieldSection(NAMES);

  constructor(cap = 4096, insertionsMax?: number) {
    this.encoder = new HpackEncoder(cap, insertionsMax);
    this.decoder = new HpackDecoder(NAMES, {
      tableSizeMax: 4096,
      fieldsMax: 10_000,
      listBytesMax: 1 << 24,
      fieldBytesMax: 1 << 20,
    });
  }

  /** Sends a block; answers its bytes as hex. What arrived is in `pairs`. */
  send(write: (encoder: HpackEncoder, out: Buffer, at: number) => number): string {
    const start = 3;
    const end = write(this.encoder, OUT, this.encoder.begin(OUT, start));
    this.section.clear();
    assert.ok(this.decoder.decode(OUT, start, end, this.section), this.decoder.error);
    assert.equal(this.decoder.tableSize, this.encoder.tableSize);
    return OUT.toString("hex", start, end);
  }

  tokens(...tokens: FieldToken[]): string {
    return this.send((encoder, out, at) => tokens.reduce((next, token) => encoder.token(token, out, next), at));
  }

  field(name: string, value: string): string {
    return this.send((encoder, out, at) => encoder.field(name, value, out, at));
  }

  get pairs(): [string, string][] {
    return this.section.fields.slice(0, this.section.count).map((field) => [field.name, field.value]);
  }
}

const token = (name: string, value: string): FieldToken => new FieldToken(name, value);

test("RFC 7541 C.4: three requests with Huffman come out as there", () => {
  const pair = new Pair();
  const get = token(":method", "GET");
  const authority = token(":authority", "www.example.com");
  assert.equal(
    pair.tokens(get, token(":scheme", "http"), token(":path", "/"), authority),
    "828684418cf1e3c2e5f23a6ba0ab90f4ff",
  );
  assert.equal(
    pair.tokens(get, token(":scheme", "http"), token(":path", "/"), authority, token("cache-control", "no-cache")),
    "828684be5886a8eb10649cbf",
  );
  assert.equal(
    pair.tokens(
      get,
      token(":scheme", "https"),
      token(":path", "/index.html"),
      authority,
      token("custom-key", "custom-value"),
    ),
    "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
  );
  assert.equal(pair.encoder.tableSize, 164);
});

test("a token of the static table is one byte and leaves the table alone", () => {
  const pair = new Pair();
  assert.equal(pair.tokens(token(":method", "POST"), token(":scheme", "https"), token(":status", "200")), "838788");
  assert.equal(pair.encoder.tableSize, 0);
});

test("a token is a literal the first time and an index from then on, on each connection by itself", () => {
  const path = token(":path", "/calculator.Calculator/Add");
  for (const pair of [new Pair(), new Pair()]) {
    assert.ok(pair.tokens(path).length > 20);
    assert.equal(pair.tokens(path, path), "bebe");
    assert.deepEqual(pair.pairs, [
      [":path", "/calculator.Calculator/Add"],
      [":path", "/calculator.Calculator/Add"],
    ]);
  }
});

test("a token that was evicted is a literal again, and then an index again", () => {
  const pair = new Pair(128);
  const [a, b, c, d] = ["a", "b", "c", "d"].map((name) => token(name, "1")) as [
    FieldToken,
    FieldToken,
    FieldToken,
    FieldToken,
  ];
  pair.tokens(a, b, c);
  assert.equal(pair.tokens(a, b, c), "c0bfbe");
  pair.tokens(d);
  assert.equal(pair.tokens(b, c, d), "c0bfbe");
  assert.ok(pair.tokens(a).length > 2);
  assert.equal(pair.tokens(a, d, c), "bebfc0");
});

test("a sensitive token is never indexed, though the static table has it", () => {
  const pair = new Pair();
  const secret = new FieldToken("authorization", "Bearer x", { isSensitive: true });
  const method = new FieldToken(":method", "GET", { isSensitive: true });
  for (let i = 0; i < 2; i++) {
    assert.ok(pair.tokens(secret).startsWith("1f08"));
    assert.deepEqual(pair.pairs, [["authorization", "Bearer x"]]);
    assert.ok(pair.tokens(method).startsWith("12"));
  }
  assert.equal(pair.encoder.tableSize, 0);
});

test("a token larger than the table is a literal each time and evicts nothing", () => {
  const pair = new Pair(64);
  const small = token("a", "1");
  pair.tokens(small);
  const large = token("b", "x".repeat(40));
  assert.equal(pair.tokens(large), pair.tokens(large));
  assert.equal(pair.tokens(small), "be");
});

test("indices over 126 take more bytes and are right", () => {
  const pair = new Pair();
  const tokens = Array.from({ length: 110 }, (_, i) => token(`n${i}`, ""));
  pair.tokens(...tokens);
  const hex = pair.tokens(...tokens);
  assert.ok(hex.startsWith("ff2c"));
  assert.deepEqual(
    pair.pairs,
    tokens.map((one) => [one.name, ""]),
  );
});

test("tokens with numbers past the slots are remembered too, and many of them do no harm", () => {
  let high = token("high", "0");
  while (high.id < 4096) high = token("high", "0");
  const pair = new Pair();
  pair.tokens(high);
  assert.equal(pair.tokens(high), "be");
  for (let i = 0; i < 3000; i++) pair.tokens(token("other", String(i)));
  pair.tokens(high);
  assert.equal(pair.tokens(high), "be");
  assert.deepEqual(pair.pairs, [["high", "0"]]);
});

test("when entries are numbered anew, all that is in the table keeps its index", () => {
  const pair = new Pair(300, 40);
  const tokens = Array.from({ length: 6 }, (_, i) => token(`k${i}`, "v"));
  const name = new FieldName("unique");
  for (let i = 0; i < 500; i++) {
    pair.tokens(token("passing", String(i)));
    const sent = tokens[i % 5] as FieldToken;
    pair.tokens(sent);
    assert.equal(pair.tokens(sent), "be");
    pair.field("user", "same");
    pair.send((encoder, out, at) => encoder.literalText(name, String(i), out, at));
    assert.deepEqual(pair.pairs, [["unique", String(i)]]);
    assert.match(pair.field("user", "same"), /^[bc][0-9a-f]$/);
    assert.deepEqual(pair.pairs, [["user", "same"]]);
  }
});

test("a name with ever-new values enters the table once, and then its values are plain literals", () => {
  const pair = new Pair();
  const name = new FieldName("traceparent");
  const send = (value: string): string => pair.send((encoder, out, at) => encoder.literalText(name, value, out, at));
  assert.ok(send("first").startsWith("40"));
  const size = pair.encoder.tableSize;
  assert.equal(send("second"), `0f2f06${Buffer.from("second").toString("hex")}`);
  assert.deepEqual(pair.pairs, [["traceparent", "second"]]);
  assert.equal(pair.encoder.tableSize, size);
  const bytes = Buffer.from("..third..");
  assert.equal(
    pair.send((encoder, out, at) => encoder.literalBytes(name, bytes, 2, 7, out, at)),
    `0f2f05${Buffer.from("third").toString("hex")}`,
  );
});

test("names are shared by tokens, names and metadata", () => {
  const pair = new Pair();
  pair.tokens(token("shared-name", "1"));
  const literal = pair.send((encoder, out, at) => encoder.literalText(new FieldName("shared-name"), "2", out, at));
  assert.equal(literal, "0f2f0132");
  assert.equal(pair.field("shared-name", "3"), "0f2f0133");
  assert.ok(pair.tokens(token("shared-name", "4")).startsWith("7e"));
});

test("a literal of any length comes through, as text and as bytes", () => {
  const pair = new Pair();
  const name = new FieldName("lengths");
  for (const length of [0, 1, 23, 24, 25, 63, 64, 65, 126, 127, 128, 255, 5000, 70_000]) {
    const value = "äx".repeat(length).slice(0, length);
    pair.send((encoder, out, at) => encoder.literalText(name, value, out, at));
    assert.deepEqual(pair.pairs, [["lengths", value]]);
    const bytes = Buffer.from(value, "latin1");
    pair.send((encoder, out, at) => encoder.literalBytes(name, bytes, 0, length, out, at));
    assert.deepEqual(pair.pairs, [["lengths", value]]);
  }
});

test("metadata with the same value as last time is an index; a new value is a literal with an indexed name", () => {
  const pair = new Pair();
  assert.ok(pair.field("x-tenant", "blue").startsWith("40"));
  assert.equal(pair.field("x-tenant", "blue"), "be");
  assert.equal(pair.field("x-tenant", "red"), "0f2f03726564");
  assert.ok(pair.field("x-tenant", "red").startsWith("7e"));
  assert.equal(pair.field("x-tenant", "red"), "be");
  assert.equal(pair.field("x-tenant", "blue"), "0f2f04626c7565");
});

test("metadata with ever-new values does not churn the table", () => {
  const pair = new Pair();
  pair.tokens(token("stays", "1"));
  pair.field("x-id", "first");
  const size = pair.encoder.tableSize;
  for (let i = 0; i < 500; i++) pair.field("x-id", `id-${i}`);
  assert.equal(pair.encoder.tableSize, size);
});

test("of metadata at most 64 names are remembered; more of them are literals that come through", () => {
  const pair = new Pair();
  for (let i = 0; i < 64; i++) pair.field(`n-${i}`, "v");
  const size = pair.encoder.tableSize;
  for (let i = 64; i < 300; i++) {
    const first = pair.field(`n-${i}`, "v");
    assert.deepEqual(pair.pairs, [[`n-${i}`, "v"]]);
    assert.equal(pair.field(`n-${i}`, "v"), first);
  }
  assert.equal(pair.encoder.tableSize, size);
  assert.equal(pair.field("cookie", "v"), "0f110176");
});

test("large metadata does not drive out the rest", () => {
  const pair = new Pair();
  const stays = token("stays", "2");
  pair.tokens(stays);
  for (let i = 0; i < 3; i++) {
    pair.field("large", "x".repeat(2000));
    pair.send((encoder, out, at) => encoder.literalText(new FieldName("large-too"), "x".repeat(2000), out, at));
  }
  assert.equal(pair.tokens(stays), "be");
});

test("names of Object.prototype are names like others", () => {
  const pair = new Pair();
  for (const name of ["__proto__", "constructor", "tostring"]) {
    for (let i = 0; i < 2; i++) {
      pair.field(name, "v");
      assert.deepEqual(pair.pairs, [[name, "v"]]);
    }
  }
});

test("a sensitive field is never indexed, whatever was sent before", () => {
  const pair = new Pair();
  const send = (name: string): string => pair.send((encoder, out, at) => encoder.sensitive(name, "secret", out, at));
  const secret = `06${Buffer.from("secret").toString("hex")}`;
  assert.equal(send("authorization"), `1f08${secret}`);
  assert.ok(send("x-key").startsWith("10"));
  assert.ok(send("x-key").startsWith("10"));
  assert.equal(pair.encoder.tableSize, 0);
  pair.field("x-key", "public");
  assert.equal(send("x-key"), `1f2f${secret}`);
});

test("a peer without a table gets literals only", () => {
  const pair = new Pair();
  const name = new FieldName("name-z");
  pair.encoder.setTableSizeMax(0);
  assert.ok(pair.tokens(token("a-z", "1")).startsWith("20"));
  for (let i = 0; i < 2; i++) {
    pair.tokens(token("a-z", "1"));
    pair.field("b-z", "2");
    pair.send((encoder, out, at) => encoder.literalText(name, "3", out, at));
    assert.deepEqual(pair.pairs, [["name-z", "3"]]);
  }
  assert.equal(pair.encoder.tableSize, 0);
});

test("table sizes of the peer are answered at the next block: the smallest and the last (RFC 7541 section 4.2)", () => {
  const updates = (sizes: readonly number[], cap = 4096): string => {
    const pair = new Pair(cap);
    if (cap !== 4096) pair.send((_, __, at) => at);
    for (const size of sizes) pair.encoder.setTableSizeMax(size);
    return pair.send((_, __, at) => at);
  };
  assert.equal(updates([]), "");
  assert.equal(updates([4096]), "");
  assert.equal(updates([65_536]), "");
  assert.equal(updates([100]), "3f45");
  assert.equal(updates([100, 4096]), "3f453fe11f");
  assert.equal(updates([0, 100]), "203f45");
  assert.equal(updates([100, 0]), "20");
  assert.equal(updates([100, 0, 65_536]), "203fe11f");
  assert.equal(updates([100], 50), "");
  assert.equal(updates([10], 50), "2a");
});

test("a cap under 4096 is told in the first block", () => {
  const pair = new Pair(1024);
  assert.equal(
    pair.send((_, __, at) => at),
    "3fe107",
  );
  assert.equal(
    pair.send((_, __, at) => at),
    "",
  );
});

test("a lowered and raised size empties what the peer's table lost", () => {
  const pair = new Pair();
  const one = token("lost", "1");
  pair.tokens(one);
  pair.encoder.setTableSizeMax(0);
  pair.encoder.setTableSizeMax(4096);
  assert.ok(pair.tokens(one).startsWith("203fe11f40"));
  assert.equal(pair.tokens(one), "be");
});

test("no field takes more than sizeMax, and no beginning more than beginSizeMax", () => {
  fc.assert(
    fc.property(
      fc.string({ unit: latin1Byte, maxLength: 200 }),
      fc.string({ unit: latin1Byte, maxLength: 300 }),
      (name, value) => {
        const encoder = new HpackEncoder(4096);
        const max = HpackEncoder.sizeMax(name.length, value.length);
        for (let i = 0; i < 2; i++) {
          assert.ok(encoder.field(name, value, OUT, 0) <= max);
          assert.ok(encoder.sensitive(name, value, OUT, 0) <= max);
          assert.ok(encoder.token(new FieldToken(name, value), OUT, 0) <= max);
          assert.ok(encoder.literalText(new FieldName(name), value, OUT, 0) <= max);
        }
      },
    ),
  );
  const encoder = new HpackEncoder(2 ** 27);
  encoder.setTableSizeMax(2 ** 27 - 1);
  encoder.setTableSizeMax(2 ** 27);
  encoder.begin(OUT, 0);
  encoder.setTableSizeMax(2 ** 27 - 2);
  encoder.setTableSizeMax(2 ** 27 - 1);
  assert.ok(encoder.begin(OUT, 0) <= HpackEncoder.beginSizeMax);
});

const TOKENS = Array.from({ length: 40 }, (_, i) => token(`t${i % 12}`, "v".repeat((i * 37) % 150)));
const FIELD_NAMES = ["t0", "t1", "u0", "u1", "content-type"].map((name) => new FieldName(name));
const step = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant("token" as const), i: fc.nat(TOKENS.length - 1) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("literal" as const),
      i: fc.nat(FIELD_NAMES.length - 1),
      value: fc.string({ unit: latin1Byte, maxLength: 90 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("field" as const),
      i: fc.nat(90),
      value: fc.constantFrom("", "a", "b", "ccc".repeat(30)),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("sensitive" as const),
      i: fc.nat(5),
      value: fc.string({ unit: latin1Byte, maxLength: 40 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("resize" as const),
      size: fc.constantFrom(0, 33, 100, 500, 4096, 100_000),
    }),
  },
);

test("whatever is sent, in whatever order, with whatever table sizes, arrives as it was, and both tables stay the same", () => {
  fc.assert(
    fc.property(
      fc.array(fc.array(step, { maxLength: 30 }), { maxLength: 12 }),
      fc.constantFrom(4096, 300, 64, 0),
      fc.constantFrom(undefined, 150),
      (blocks, cap, insertionsMax) => {
        const pair = new Pair(cap, insertionsMax);
        for (const block of blocks) {
          for (const one of block) if (one.kind === "resize") pair.encoder.setTableSizeMax(one.size);
          const expected: [string, string][] = [];
          pair.send((encoder, out, at) => {
            let next = at;
            for (const one of block) {
              if (one.kind === "resize") continue;
              if (one.kind === "token") {
                const sent = TOKENS[one.i] as FieldToken;
                expected.push([sent.name, sent.value]);
                next = encoder.token(sent, out, next);
              } else if (one.kind === "literal") {
                const name = FIELD_NAMES[one.i] as FieldName;
                expected.push([name.name, one.value]);
                next = encoder.literalText(name, one.value, out, next);
              } else {
                const name = one.i < 6 ? `t${one.i}` : `m${one.i}`;
                expected.push([name, one.value]);
                next =
                  one.kind === "field"
                    ? encoder.field(name, one.value, out, next)
                    : encoder.sensitive(name, one.value, out, next);
              }
            }
            return next;
          });
          assert.deepEqual(pair.pairs, expected);
        }
      },
    ),
    { numRuns: 500 },
  );
});
