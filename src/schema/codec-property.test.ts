import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  create,
  type DescEnum,
  type DescField,
  type DescMessage,
  fromBinary,
  ScalarType,
  toBinary,
} from "@bufbuild/protobuf";
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import { StructSchema, ValueSchema } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { StatusSchema } from "./gen/google/rpc/status_pb.ts";
import { type CoderKind, compileCodecAs } from "./codec.ts";
import { assertSameVerdict, decodeAll, written } from "./testdata/against-protobuf-es.ts";
import * as e2023 from "./testdata/gen/fixture/e2023/everything_pb.ts";
import * as v2 from "./testdata/gen/fixture/v2/everything_pb.ts";
import * as v3 from "./testdata/gen/fixture/v3/everything_pb.ts";

const kinds: readonly CoderKind[] = ["generated", "interpreted"];
const schemas: readonly DescMessage[] = [
  v3.ScalarsSchema,
  v3.OptionalsSchema,
  v3.ListsSchema,
  v3.MapsSchema,
  v3.ChoiceSchema,
  v3.KnownSchema,
  v3.NamesSchema,
  v3.NothingSchema,
  v3.EverythingSchema,
  v2.RequiredSchema,
  v2.DefaultsSchema,
  e2023.MixedSchema,
  e2023.PlainSchema,
  StatusSchema,
  StructSchema,
  ValueSchema,
];

// ------------------------------------------------------------------------------------------------------- random values

/** Text that has hurt somebody: empty, at the limits of the fast paths, outside ASCII and the BMP, a byte order mark, a lone surrogate. */
const text: fc.Arbitrary<string> = fc.oneof(
  fc.string({ maxLength: 30 }),
  fc.string({ unit: "binary", maxLength: 30 }),
  fc.constantFrom(
    "",
    "\ufeffbom",
    "\ufffd",
    "\ud800",
    "a\udc00b",
    "é".repeat(43),
    "x".repeat(127),
    "x".repeat(128),
    "ü".repeat(64),
  ),
  fc.integer({ min: 10, max: 300 }).map((length) => "y".repeat(length)),
);
const key: fc.Arbitrary<string> = fc.oneof(text, fc.constantFrom("__proto__", "constructor", "toString", "0", "-1"));
const double: fc.Arbitrary<number> = fc.oneof(fc.double(), fc.constantFrom(0, -0, NaN, Infinity, -Infinity, 5e-324, 1));
const float: fc.Arbitrary<number> = fc.oneof(fc.float(), fc.constantFrom(0, -0, NaN, Infinity, -Infinity));
const signed32: fc.Arbitrary<number> = fc.oneof(
  fc.integer(),
  fc.constantFrom(0, -1, 1, 127, 128, 16_384, 2 ** 31 - 1, -(2 ** 31)),
);
const unsigned32: fc.Arbitrary<number> = fc.oneof(
  fc.nat(),
  fc.constantFrom(0, 127, 128, 2 ** 28, 2 ** 31, 2 ** 32 - 1),
);
const signed64: fc.Arbitrary<bigint> = fc.oneof(
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.constantFrom(0n, -1n, 127n, 128n, 2n ** 32n, 2n ** 53n, 2n ** 63n - 1n, -(2n ** 63n)),
);
const unsigned64: fc.Arbitrary<bigint> = fc.oneof(
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  fc.constantFrom(0n, 127n, 128n, 2n ** 32n - 1n, 2n ** 63n, 2n ** 64n - 1n),
);
const bytes: fc.Arbitrary<Uint8Array> = fc.oneof(
  fc.uint8Array({ maxLength: 40 }),
  fc.constant(new Uint8Array(200).fill(7)),
);

/** Ways to harm valid bytes: cut, change, insert, leave out. */
const damage: fc.Arbitrary<(bytes: Uint8Array) => Uint8Array> = fc.oneof(
  fc.nat().map(
    (at) =>
      (bytes: Uint8Array): Uint8Array =>
        bytes.slice(0, at % (bytes.length + 1)),
  ),
  fc.tuple(fc.nat(), fc.nat(255)).map(([at, byte]) => (bytes: Uint8Array): Uint8Array => {
    return bytes.map((old, index) => (index === at % bytes.length ? byte : old));
  }),
  fc
    .tuple(fc.nat(), fc.uint8Array({ minLength: 1, maxLength: 12 }))
    .map(([at, more]) => (bytes: Uint8Array): Uint8Array => {
      const position = at % (bytes.length + 1);
      return Uint8Array.from([...bytes.slice(0, position), ...more, ...bytes.slice(position)]);
    }),
  fc.nat().map(
    (at) =>
      (bytes: Uint8Array): Uint8Array =>
        bytes.filter((_, index) => index !== at % bytes.length),
  ),
);

for (const kind of kinds) {
  describe(`the ${kind} codec`, () => {
    for (const desc of schemas) {
      test(`gives ${desc.typeName} the bytes of protobuf-es, from messages and from init shapes`, () => {
        const codec = compileCodecAs(desc, kind);
        fc.assert(
          fc.property(arbitraryInit(desc, 3), (init) => {
            const message = create(desc, init as never);
            const expected = Buffer.from(written(desc, init));
            assert.deepEqual(codec.encode(init), expected);
            assert.deepEqual(codec.encode(message), expected);
          }),
          { numRuns: 150 },
        );
      });

      test(`reads ${desc.typeName} as protobuf-es does`, () => {
        const codec = compileCodecAs(desc, kind);
        fc.assert(
          fc.property(arbitraryInit(desc, 3), (init) => {
            const bytes = written(desc, init);
            const decoded = decodeAll(codec, bytes);
            const expected = fromBinary(desc, bytes);
            assert.deepStrictEqual(decoded, expected);
            assert.deepEqual(codec.encode(decoded), Buffer.from(toBinary(desc, expected)));
          }),
          { numRuns: 150 },
        );
      });

      test(`merges two ${desc.typeName} that follow each other as protobuf-es does`, () => {
        const inits = arbitraryInit(desc, 3);
        fc.assert(
          fc.property(inits, inits, (one, other) => {
            assertSameVerdict(desc, kind, Buffer.concat([written(desc, one), written(desc, other)]));
          }),
          { numRuns: 100 },
        );
      });

      test(`accepts and refuses damaged ${desc.typeName} as protobuf-es does`, () => {
        fc.assert(
          fc.property(arbitraryInit(desc, 2), fc.array(damage, { minLength: 1, maxLength: 3 }), (init, damages) => {
            let bytes = written(desc, init);
            for (const harm of damages) bytes = harm(bytes);
            assertSameVerdict(desc, kind, bytes);
          }),
          { numRuns: 300 },
        );
      });

      test(`accepts and refuses random bytes for ${desc.typeName} as protobuf-es does`, () => {
        fc.assert(
          fc.property(fc.uint8Array({ maxLength: 30 }), (bytes) => assertSameVerdict(desc, kind, bytes)),
          { numRuns: 500 },
        );
        fc.assert(
          fc.property(arbitraryRecords(desc), (bytes) => assertSameVerdict(desc, kind, bytes)),
          { numRuns: 500 },
        );
      });
    }

    test("says that a message does not fit exactly when it does not", () => {
      const codec = compileCodecAs(v3.EverythingSchema, kind);
      fc.assert(
        fc.property(arbitraryInit(v3.EverythingSchema, 3), fc.nat(40), fc.nat(20), (init, missing, at) => {
          const expected = codec.encode(init);
          const bytes = Buffer.alloc(Math.max(at, at + expected.length - missing), 0xee);
          const end = codec.encodeInto(init, bytes, at);
          assert.ok(
            bytes.subarray(0, at).every((byte) => byte === 0xee),
            "bytes before the start stay",
          );
          if (at + expected.length > bytes.length) {
            assert.equal(end, -1);
          } else {
            assert.equal(end, at + expected.length);
            assert.deepEqual(bytes.subarray(at, end), expected);
          }
        }),
        { numRuns: 300 },
      );
    });
  });
}

// ------------------------------------------------------------------------------------------------- random messages

/** The init shape of a message, nested at most `depth` deep. Required fields are always set. */
function arbitraryInit(desc: DescMessage, depth: number): fc.Arbitrary<Record<string, unknown>> {
  if (desc.typeName === "google.protobuf.Value") return arbitraryValue(depth);
  const fields: Record<string, fc.Arbitrary<unknown>> = {};
  const required: string[] = [];
  for (const member of desc.members) {
    if (member.kind === "oneof") {
      const cases = member.fields.filter((field) => field.message === undefined || depth > 0);
      if (cases.length === 0) continue;
      const chosen = cases.map((field) =>
        fc.record({ case: fc.constant(field.localName), value: arbitraryField(field, depth) }),
      );
      fields[member.localName] = fc.oneof(fc.constant({ case: undefined }), ...chosen);
    } else if (member.message === undefined || depth > 0) {
      fields[member.localName] = arbitraryField(member, depth);
      // FieldPresence.LEGACY_REQUIRED; and `create` takes what Object.prototype has for a field that is not set.
      if (member.presence === 3 || member.localName in Object.prototype) required.push(member.localName);
    }
  }
  return fc.record(fields, { requiredKeys: required });
}

function arbitraryField(field: DescField, depth: number): fc.Arbitrary<unknown> {
  const value = arbitrarySingle(field, depth);
  if (field.fieldKind === "list") return fc.array(value, { maxLength: 4 });
  if (field.fieldKind !== "map") return value;
  const entry = fc.tuple(arbitraryKey(field.mapKey), value);
  return fc.array(entry, { maxLength: 4 }).map((entries) => Object.fromEntries(entries));
}

function arbitrarySingle(field: DescField, depth: number): fc.Arbitrary<unknown> {
  if (field.enum !== undefined) return arbitraryEnum(field.enum);
  if (field.message !== undefined) {
    const isStruct =
      field.message.typeName === "google.protobuf.Struct" && field.parent.typeName !== "google.protobuf.Value";
    if (isStruct) return fc.dictionary(key, fc.jsonValue({ maxDepth: 2 }), { maxKeys: 3 });
    const [inner] = field.message.fields;
    const isUnwrapped = /\.(\w+)Value$/.test(field.message.typeName) && field.message.file.name.endsWith("/wrappers");
    if (isUnwrapped && inner?.scalar !== undefined && field.fieldKind === "message" && field.oneof === undefined) {
      return arbitraryScalar(inner.scalar, false);
    }
    return arbitraryInit(field.message, depth - 1);
  }
  const isLongText = field.fieldKind !== "map" && "longAsString" in field && field.longAsString === true;
  return arbitraryScalar(field.scalar, isLongText);
}

function arbitraryScalar(type: ScalarType, isLongText: boolean): fc.Arbitrary<unknown> {
  switch (type) {
    case ScalarType.STRING:
      return text;
    case ScalarType.BYTES:
      return bytes;
    case ScalarType.BOOL:
      return fc.boolean();
    case ScalarType.DOUBLE:
      return double;
    case ScalarType.FLOAT:
      return float;
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return unsigned32;
    case ScalarType.INT64:
    case ScalarType.SINT64:
    case ScalarType.SFIXED64:
      return isLongText ? signed64.map(String) : signed64;
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
      return isLongText ? unsigned64.map(String) : unsigned64;
    default:
      return signed32;
  }
}

function arbitraryKey(type: ScalarType): fc.Arbitrary<string> {
  return type === ScalarType.STRING ? key : arbitraryScalar(type, false).map(String);
}

function arbitraryEnum(desc: DescEnum): fc.Arbitrary<number> {
  const known = fc.constantFrom(...desc.values.map(({ number }) => number));
  return desc.open ? fc.oneof(known, signed32) : known;
}

/** google.protobuf.Value: only what its oneof allows. */
function arbitraryValue(depth: number): fc.Arbitrary<Record<string, unknown>> {
  const kinds: fc.Arbitrary<unknown>[] = [
    fc.record({ case: fc.constant("numberValue"), value: double }),
    fc.record({ case: fc.constant("stringValue"), value: text }),
    fc.record({ case: fc.constant("boolValue"), value: fc.boolean() }),
    fc.constant({ case: "nullValue", value: 0 }),
  ];
  if (depth > 0) {
    const values = fc.array(arbitraryValue(depth - 1), { maxLength: 2 });
    kinds.push(fc.record({ case: fc.constant("listValue"), value: fc.record({ values }) }));
  }
  return fc.record({ kind: fc.oneof(...kinds) });
}

/**
 * Records with tags of the type's own fields, or near them, each with a random wire type and a payload that often fits it: over-long
 * and cut varints, packed and unpacked, wrong wire types, the same field again.
 */
function arbitraryRecords(desc: DescMessage): fc.Arbitrary<Uint8Array> {
  const numbers = [...desc.fields.map(({ number }) => number), 1, 2, 536_870_911];
  const payload = fc.oneof(
    fc.uint8Array({ maxLength: 12 }),
    fc.uint8Array({ maxLength: 20 }).map((bytes) => Uint8Array.from([bytes.length, ...bytes])),
    fc.nat(300).map((value) => new BinaryWriter().uint32(value).finish()),
    fc.tuple(fc.integer({ min: 1, max: 11 }), fc.nat(127)).map(([length, last]) => {
      return Uint8Array.from({ length }, (_, index) => (index === length - 1 ? last : 0x80 | (index * 7)));
    }),
  );
  const wireType = fc.constantFrom(0, 0, 1, 2, 2, 2, 5, 3, 4, 6);
  const record = fc.tuple(fc.constantFrom(...numbers), wireType, payload);
  return fc.array(record, { maxLength: 6 }).map((records) => {
    const writer = new BinaryWriter();
    for (const [number, type, bytes] of records) writer.uint32(((number << 3) | type) >>> 0).raw(bytes);
    return writer.finish();
  });
}
