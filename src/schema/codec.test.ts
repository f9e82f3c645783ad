import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, test } from "node:test";
import { create, fromBinary, type Message, setExtension, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { type CoderKind, compileCodec, compileCodecAs, InvalidMessageError, UnsupportedError } from "./codec.ts";
import { assertSameVerdict, decodeAll } from "./testdata/against-protobuf-es.ts";
import * as e2023 from "./testdata/gen/fixture/e2023/everything_pb.ts";
import { HoldsGroupSchema, WithGroupSchema } from "./testdata/gen/fixture/groups/groups_pb.ts";
import * as v2 from "./testdata/gen/fixture/v2/everything_pb.ts";
import * as v3 from "./testdata/gen/fixture/v3/everything_pb.ts";

const kinds: readonly CoderKind[] = ["generated", "interpreted"];
/** What may not be encoded, and the message it gives. */
const wrongValues: readonly (readonly [string, unknown, string])[] = [
  [
    "a fraction for an int32",
    { leaf: { count: 1.5 } },
    ".leaf.count: expected an integer in -2147483648..2147483647, got 1.5",
  ],
  [
    "a bigint for an int32",
    { scalars: { i32: 1n } },
    ".scalars.i32: expected an integer in -2147483648..2147483647, got 1n",
  ],
  [
    "a bigint in a list",
    { leaf: { numbers: [1n] } },
    ".leaf.numbers[0]: expected an integer in -2147483648..2147483647, got 1n",
  ],
  [
    "a symbol for a uint32",
    { scalars: { u32: Symbol("x") } },
    ".scalars.u32: expected an integer in 0..4294967295, got a symbol",
  ],
  [
    "a function for an enum",
    { scalars: { color: () => 1 } },
    ".scalars.color: expected the number of an enum value (int32), got a function",
  ],
  [
    "an int32 out of range",
    { leaf: { numbers: [1, 2 ** 31] } },
    ".leaf.numbers[1]: expected an integer in -2147483648..2147483647, got 2147483648",
  ],
  [
    "a string for an int32",
    { scalars: { i32: "1" } },
    ".scalars.i32: expected an integer in -2147483648..2147483647, got a string of 1 characters",
  ],
  ["a negative uint32", { scalars: { u32: -1 } }, ".scalars.u32: expected an integer in 0..4294967295, got -1"],
  [
    "NaN for an int32",
    { scalars: { s32: NaN } },
    ".scalars.s32: expected an integer in -2147483648..2147483647, got NaN",
  ],
  [
    "an int64 out of range",
    { scalars: { i64: 2n ** 63n } },
    ".scalars.i64: expected a bigint in -2^63..2^63-1, got 9223372036854775808n",
  ],
  ["a negative uint64", { scalars: { u64: -1n } }, ".scalars.u64: expected a bigint in 0..2^64-1, got -1n"],
  [
    "text that is no int64",
    { scalars: { text64: "one" } },
    ".scalars.text64: expected a bigint in -2^63..2^63-1, got a string of 3 characters",
  ],
  ["a number for a bool", { scalars: { b: 1 } }, ".scalars.b: expected true or false, got 1"],
  ["a number for a string", { scalars: { s: 7 } }, ".scalars.s: expected a string, got 7"],
  [
    "a string for bytes",
    { scalars: { by: "secret" } },
    ".scalars.by: expected a Uint8Array, got a string of 6 characters",
  ],
  ["a string for a double", { scalars: { d: "1" } }, ".scalars.d: expected a number, got a string of 1 characters"],
  [
    "a number no float can hold",
    { scalars: { f: 1e300 } },
    ".scalars.f: expected a number in the range of a float, got 1e+300",
  ],
  ["a hole in a list", { lists: { s: ["a", undefined] } }, ".lists.s[1]: expected a string, got undefined"],
  ["an object for a list", { lists: { s: {} } }, ".lists.s: expected an array, got an object"],
  ["an array for a map", { maps: { strings: [] } }, ".maps.strings: expected an object, got an array of 0"],
  [
    "a map key that is no int32",
    { maps: { i32: { one: 1 } } },
    '.maps.i32["one"]: expected as a key an integer in -2147483648..2147483647, got a string of 3 characters',
  ],
  ["a map value of the wrong type", { maps: { strings: { a: 1 } } }, '.maps.strings["a"]: expected a string, got 1'],
  [
    "another message",
    { leaf: create(v3.NothingSchema) },
    ".leaf: expected a message fixture.v3.Leaf or its init shape, got a message fixture.v3.Nothing",
  ],
  [
    "an array for a message",
    { leaf: [] },
    ".leaf: expected a message fixture.v3.Leaf or its init shape, got an array of 0",
  ],
  [
    "null in a list of messages",
    { all: [null] },
    ".all[0]: expected a message fixture.v3.Everything or its init shape, got null",
  ],
  [
    "a wrong value in a oneof",
    { choice: { choice: { case: "number", value: "1" } } },
    ".choice.number: expected an integer in -2147483648..2147483647, got a string of 1 characters",
  ],
  [
    "a function in a Struct",
    { known: { struct: { f: () => 1 } } },
    ".known.struct: expected a JSON object, got an object",
  ],
  [
    "a wrong value for a wrapper",
    { known: { i32: "1" } },
    ".known.i32.value: expected an integer in -2147483648..2147483647, got a string of 1 characters",
  ],
];

for (const kind of kinds) {
  describe(`the ${kind} codec`, () => {
    test("encodes messages larger than its scratch, with lengths of three bytes and more", () => {
      const leaf = {
        name: "ü".repeat(40_000),
        numbers: Array.from({ length: 30_000 }, (_, index) => index),
        child: { name: "n".repeat(70_000) },
      };
      const init = { leaf, all: [{ leaf }, { scalars: { by: new Uint8Array(100_000).fill(3) } }] };
      const expected = Buffer.from(toBinary(v3.EverythingSchema, create(v3.EverythingSchema, init)));
      assert.ok(expected.length > 500_000);
      const codec = compileCodecAs(v3.EverythingSchema, kind);
      assert.deepEqual(codec.encode(init), expected);
      assert.deepStrictEqual(decodeAll(codec, expected), fromBinary(v3.EverythingSchema, new Uint8Array(expected)));
    });

    test("refuses every proper beginning that protobuf-es refuses, and reads no byte after the end", () => {
      const init = {
        leaf: { name: "a name that is longer than 24 bytes", count: 300, numbers: [1, 300, -1], child: { count: 7 } },
        scalars: { d: 1.5, f: 2, i64: -5n, fx64: 3n, fx32: 9, b: true, by: Uint8Array.of(1, 2, 3) },
      };
      const whole = toBinary(v3.EverythingSchema, create(v3.EverythingSchema, init));
      for (let length = 0; length <= whole.length; length++)
        assertSameVerdict(v3.EverythingSchema, kind, whole.slice(0, length));
    });

    test("refuses groups, known fields and unknown ones alike, where protobuf-es keeps the unknown", () => {
      const codec = compileCodecAs(v3.LeafSchema, kind);
      for (const fieldNo of [2, 99]) {
        const bytes = new BinaryWriter().tag(fieldNo, WireType.StartGroup).tag(fieldNo, WireType.EndGroup).finish();
        assert.throws(() => decodeAll(codec, bytes), /InvalidMessageError: fixture\.v3\.Leaf: a group was found/);
      }
      assert.throws(() => decodeAll(codec, Uint8Array.of(0x0c)), /a group was found/);
    });

    test("refuses a type with a group when it is compiled, also one that is nested", () => {
      for (const desc of [WithGroupSchema, HoldsGroupSchema, HoldsGroupSchema]) {
        assert.throws(
          () => compileCodecAs(desc, kind),
          (error) =>
            error instanceof UnsupportedError && error.message.includes("fixture.groups.WithGroup.inner is a group"),
        );
      }
    });

    test("reads 100 levels and refuses 101, as protobuf-es does", () => {
      const codec = compileCodecAs(v3.LeafSchema, kind);
      assert.deepStrictEqual(decodeAll(codec, nested(100)), fromBinary(v3.LeafSchema, nested(100)));
      assert.throws(() => fromBinary(v3.LeafSchema, nested(101)));
      assert.throws(
        () => decodeAll(codec, nested(101)),
        /fixture\.v3\.Leaf\.child\.child.*nested deeper than 100 levels/,
      );
      assertSameVerdict(v3.LeafSchema, kind, nested(5_000));
    });

    test("refuses a message that holds itself", () => {
      const leaf: Record<string, unknown> = { name: "loop" };
      leaf["child"] = leaf;
      const codec = compileCodecAs(v3.LeafSchema, kind);
      assert.throws(
        () => codec.encode(leaf),
        /InvalidMessageError: fixture\.v3\.Leaf.*nested too deeply, or holds itself/,
      );
      assert.throws(() => codec.encodeInto(leaf, Buffer.alloc(64), 0), InvalidMessageError);
    });

    test("copies bytes out: later changes of the input change nothing, and nothing of the input is kept alive", () => {
      const codec = compileCodecAs(v3.EverythingSchema, kind);
      for (const length of [1, 24, 40, 5_000]) {
        const init = { scalars: { by: new Uint8Array(length).fill(1) }, leaf: { name: "n" } };
        const chunk = Buffer.alloc(65_536, 0xff);
        const withUnknown = Buffer.concat([
          codec.encode(init),
          new BinaryWriter().tag(999, WireType.LengthDelimited).bytes(new Uint8Array(length)).finish(),
        ]);
        withUnknown.copy(chunk, 100);
        const message = codec.decode(chunk, 100, 100 + withUnknown.length);
        const before = structuredClone(message);
        chunk.fill(0);
        assert.deepEqual(structuredClone(message), before);
        const { by } = (message as v3.Everything).scalars as v3.Scalars;
        assert.equal(by.buffer.byteLength, length);
        assert.equal(Object.getPrototypeOf(by), Uint8Array.prototype);
        assert.ok(((message as Message).$unknown?.[0]?.data.buffer.byteLength ?? Infinity) <= length + 3);
      }
    });

    test("pollutes no prototype and loses no key by names such as __proto__", () => {
      const strings = Object.fromEntries([
        ["__proto__", "polluted"],
        ["constructor", "c"],
        ["hasOwnProperty", "h"],
      ]);
      const leaves = Object.fromEntries([["__proto__", { name: "polluted" }]]);
      const codec = compileCodecAs(v3.MapsSchema, kind);
      const bytes = codec.encode({ strings, leaves });
      assert.deepEqual(bytes, Buffer.from(toBinary(v3.MapsSchema, create(v3.MapsSchema, { strings, leaves }))));
      const decoded = decodeAll(codec, bytes) as v3.Maps;
      assert.deepEqual(Object.keys(decoded.strings), ["__proto__", "constructor", "hasOwnProperty"]);
      assert.equal(Object.getPrototypeOf(decoded.strings), Object.prototype);
      assert.equal(({} as Record<string, unknown>)["name"], undefined);
      assert.equal(({} as Record<string, unknown>)["polluted"], undefined);
    });

    test("does not take what Object.prototype has for fields of an init shape", () => {
      assert.equal(compileCodecAs(v3.NamesSchema, kind).encode({}).length, 0);
      assert.equal(compileCodecAs(v3.NamesSchema, kind).encode({ hasOwnProperty: "h" }).length, 3);
    });

    test("merges a singular message that comes twice, at every kind of place", () => {
      const codec = compileCodecAs(v3.EverythingSchema, kind);
      const halves = [
        {
          leaf: { name: "one", numbers: [1], child: { count: 1 } },
          known: { s: "x", struct: { a: 1 }, at: { seconds: 1n } },
          choice: { choice: { case: "leaf", value: { name: "l" } } },
        },
        {
          leaf: { count: 2, numbers: [2], child: { name: "two" } },
          known: { s: "y", struct: { b: 2 }, at: { nanos: 2 } },
          choice: { choice: { case: "leaf", value: { count: 3 } } },
        },
      ] as const;
      const bytes = Buffer.concat(halves.map((half) => codec.encode(half)));
      const decoded = decodeAll(codec, bytes) as v3.Everything;
      assert.deepStrictEqual(decoded, fromBinary(v3.EverythingSchema, new Uint8Array(bytes)));
      assert.deepEqual(decoded.leaf?.numbers, [1, 2]);
      assert.equal(decoded.leaf?.child?.name, "two");
      assert.deepEqual(decoded.known?.struct, { a: 1, b: 2 });
    });

    test("keeps unknown fields and writes them again", () => {
      const unknown = new BinaryWriter()
        .tag(1_000, WireType.Varint)
        .uint32(300)
        .tag(2_000, WireType.LengthDelimited)
        .string("later")
        .tag(3_000, WireType.Bit64)
        .double(1)
        .tag(4_000, WireType.Bit32)
        .float(1)
        .finish();
      const codec = compileCodecAs(v3.LeafSchema, kind);
      const bytes = Buffer.concat([codec.encode({ name: "n" }), unknown]);
      const decoded = decodeAll(codec, bytes);
      assert.deepStrictEqual(decoded, fromBinary(v3.LeafSchema, new Uint8Array(bytes)));
      assert.deepEqual(codec.encode(decoded), bytes);
    });

    test("keeps extensions as protobuf-es does", () => {
      const message = create(v2.DefaultsSchema, { i32: 1 });
      setExtension(message, v2.note, "extended");
      const codec = compileCodecAs(v2.DefaultsSchema, kind);
      const bytes = codec.encode(message);
      assert.deepEqual(bytes, Buffer.from(toBinary(v2.DefaultsSchema, message)));
      assert.deepStrictEqual(decodeAll(codec, bytes), fromBinary(v2.DefaultsSchema, new Uint8Array(bytes)));
    });

    test("keeps a value that a closed enum does not have as an unknown field, beside others", () => {
      const codec = compileCodecAs(v2.DefaultsSchema, kind);
      const alone = new BinaryWriter().tag(9, WireType.Varint).int32(-5).finish();
      assert.deepStrictEqual(decodeAll(codec, alone), fromBinary(v2.DefaultsSchema, alone));
      const both = new BinaryWriter().tag(500, WireType.Varint).uint32(1).tag(9, WireType.Varint).uint32(77).finish();
      const decoded = decodeAll(codec, both) as v2.Defaults;
      assert.deepEqual(
        decoded.$unknown?.map(({ no }) => no),
        [500, 9],
      );
      assert.deepEqual(codec.encode(decoded), Buffer.from(both));
      assert.equal(decoded.size, v2.Size.LARGE, "the default shows through the prototype");
    });

    test("gives messages the prototype of `create`, so that defaults show and presence is known", () => {
      const codec = compileCodecAs(v2.DefaultsSchema, kind);
      const decoded = decodeAll(codec, codec.encode({ i32: 0 })) as v2.Defaults;
      assert.equal(Object.getPrototypeOf(decoded), Object.getPrototypeOf(create(v2.DefaultsSchema)));
      assert.equal(decoded.i64, 9007199254740993n);
      assert.deepEqual(Object.keys(decoded).includes("i32"), true);
      assert.deepEqual(Object.keys(decoded).includes("i64"), false);
    });

    test("does not let messages share what can be changed", () => {
      const codec = compileCodecAs(v3.MapsSchema, kind);
      const entryWithoutValue = Buffer.from([13 * 8 + 2, 3, 0x0a, 1, 0x61]);
      const [one, other] = [0, 1].map(() => decodeAll(codec, entryWithoutValue) as v3.Maps);
      assert.deepEqual(one?.bytesByName["a"], new Uint8Array(0));
      assert.notEqual(one?.bytesByName["a"], other?.bytesByName["a"]);
      assert.notEqual(one?.strings, other?.strings);
      const lists = compileCodecAs(v3.ListsSchema, kind);
      assert.notEqual(
        (decodeAll(lists, Buffer.alloc(0)) as v3.Lists).i32,
        (decodeAll(lists, Buffer.alloc(0)) as v3.Lists).i32,
      );
    });

    test("refuses a required field that is missing, naming it", () => {
      const codec = compileCodecAs(v2.RequiredSchema, kind);
      assert.throws(
        () => codec.encode({ id: 1 }),
        /fixture\.v2\.Required\.name: expected a string \(the field is required\), got undefined/,
      );
      assert.throws(
        () => codec.encode({ id: 1, name: "n", child: { name: "c" } }),
        /fixture\.v2\.Required\.child\.id: /,
      );
      assert.throws(() => codec.encode(create(v2.RequiredSchema)), InvalidMessageError);
    });

    for (const [what, init, message] of wrongValues) {
      test(`refuses ${what}, naming the path`, () => {
        const codec = compileCodecAs(v3.EverythingSchema, kind);
        assert.throws(
          () => codec.encode(init),
          (error) => error instanceof InvalidMessageError && error.message === `fixture.v3.Everything${message}`,
          message,
        );
        assert.throws(() => codec.encodeInto(init, Buffer.alloc(10), 0), InvalidMessageError);
      });
    }

    test("lets pass what a getter of the message throws, and notices a message that changes while it is encoded", () => {
      const codec = compileCodecAs(v3.LeafSchema, kind);
      const failing = {
        get name(): string {
          throw new TypeError("not now");
        },
      };
      assert.throws(() => codec.encode(failing), /TypeError: not now/);
      let length = 20_000;
      const shrinking = {
        get name(): string {
          return "x".repeat((length -= 10));
        },
      };
      assert.throws(() => codec.encode(shrinking), /fixture\.v3\.Leaf changed while it was encoded/);
    });

    test("refuses text that is not UTF-8 where it is checked, and replaces it where it is not", () => {
      for (const bad of [
        [0xff],
        [0xc3],
        [0xed, 0xa0, 0x80],
        [0xf0, 0x9f, 0x98],
        [...Buffer.from("x".repeat(40)), 0x80],
      ]) {
        const text = new BinaryWriter().tag(1, WireType.LengthDelimited).bytes(Uint8Array.from(bad)).finish();
        assertSameVerdict(v3.LeafSchema, kind, text);
        assert.throws(
          () => decodeAll(compileCodecAs(v3.LeafSchema, kind), text),
          /fixture\.v3\.Leaf\.name: the text is not valid UTF-8/,
        );
        const unchecked = new BinaryWriter().tag(4, WireType.LengthDelimited).bytes(Uint8Array.from(bad)).finish();
        assertSameVerdict(e2023.MixedSchema, kind, unchecked);
      }
      assertSameVerdict(v3.LeafSchema, kind, Uint8Array.of(0x0a, 3, 0xef, 0xbf, 0xbd));
    });

    test("refuses a range outside of the bytes", () => {
      const codec = compileCodecAs(v3.LeafSchema, kind);
      for (const [start, end] of [
        [-1, 0],
        [0, 4],
        [2, 1],
        [NaN, 1],
      ] as const) {
        assert.throws(() => codec.decode(Buffer.alloc(3), start, end), RangeError);
      }
    });

    test("is made once per type", () => {
      assert.equal(compileCodecAs(v3.LeafSchema, kind), compileCodecAs(v3.LeafSchema, kind));
      assert.equal(compileCodecAs(v3.LeafSchema, kind).typeName, "fixture.v3.Leaf");
    });
  });
}

test("the codec is generated code where that is allowed", () => {
  assert.equal(compileCodec(v3.LeafSchema), compileCodecAs(v3.LeafSchema, "generated"));
});

/** A leaf within a leaf and so on, `depth` in all. */
function nested(depth: number): Uint8Array {
  let bytes = Buffer.alloc(0);
  for (let level = 1; level < depth; level++) {
    bytes = Buffer.concat([new BinaryWriter().tag(4, WireType.LengthDelimited).uint32(bytes.length).finish(), bytes]);
  }
  return new Uint8Array(bytes);
}

test("a process that may not generate code has the interpreted codec, with the same bytes", () => {
  const script = `
    const { compileCodec, compileCodecAs } = await import(${JSON.stringify(new URL("codec.ts", import.meta.url).href)});
    const { LeafSchema } = await import(${JSON.stringify(new URL("testdata/gen/fixture/v3/everything_pb.ts", import.meta.url).href)});
    const codec = compileCodec(LeafSchema);
    const bytes = codec.encode({ name: "n", numbers: [1, 2] });
    const isInterpreted = codec === compileCodecAs(LeafSchema, "interpreted");
    console.log(isInterpreted, bytes.toString("hex"), codec.decode(bytes, 0, bytes.length).name);`;
  const flags = ["--disallow-code-generation-from-strings", "--input-type=module", "--eval", script];
  const { stdout, stderr } = spawnSync(process.execPath, flags, { encoding: "utf8" });
  assert.equal(stdout.trim(), "true 0a016e1a020102 n", stderr);
});
