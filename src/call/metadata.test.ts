import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import fc from "fast-check";
import {
  appendMetadata,
  emptyMetadata,
  type Metadata,
  type MetadataInit,
  metadataFrom,
  metadataFromPairs,
  metadataPairs,
} from "./metadata.ts";

const bytes = Uint8Array.of(1, 2, 255);

test("gives the first value by name, whatever the case, and all of them in order", () => {
  const metadata = metadataFromPairs(["x-a", "1", "x-b-bin", bytes, "x-a", "2"]);
  assert.equal(metadata.get("X-A"), "1");
  assert.deepEqual(metadata.getAll("x-a"), ["1", "2"]);
  assert.equal(metadata.get("x-b-bin"), bytes);
  assert.equal(metadata.get("x-c"), undefined);
  assert.deepEqual(metadata.getAll("x-c"), []);
  assert.deepEqual(
    [...metadata],
    [
      ["x-a", "1"],
      ["x-b-bin", bytes],
      ["x-a", "2"],
    ],
  );
});

test("a value is never taken for a name", () => {
  assert.equal(metadataFromPairs(["x-a", "x-b", "x-c", "1"]).get("x-b"), undefined);
});

test("with and without make copies and leave the original as it was", () => {
  const metadata = metadataFrom({ "x-a": ["1", "2"], "x-b": "3" });
  assert.deepEqual(
    [...metadata.with("X-A", "9")],
    [
      ["x-b", "3"],
      ["x-a", "9"],
    ],
  );
  assert.deepEqual(
    [...metadata.with("x-a", ["8", "9"])],
    [
      ["x-b", "3"],
      ["x-a", "8"],
      ["x-a", "9"],
    ],
  );
  assert.deepEqual([...metadata.without("X-A")], [["x-b", "3"]]);
  assert.deepEqual(
    [...metadata],
    [
      ["x-a", "1"],
      ["x-a", "2"],
      ["x-b", "3"],
    ],
  );
});

test("names are lower-cased, arrays send a name several times, undefined is absent", () => {
  const init = { "X-Shop": "7", "x-many": ["a", "b"], "x-none": undefined, "x-empty": "" };
  const metadata = metadataFrom(init as unknown as MetadataInit);
  assert.deepEqual(
    [...metadata],
    [
      ["x-shop", "7"],
      ["x-many", "a"],
      ["x-many", "b"],
      ["x-empty", ""],
    ],
  );
});

test("nothing given is the empty metadata, and metadata is kept as it is", () => {
  assert.equal(metadataFrom(undefined), emptyMetadata);
  assert.equal(metadataFrom({}), emptyMetadata);
  assert.equal(metadataFromPairs([]), emptyMetadata);
  const metadata = metadataFrom({ "x-a": "1" });
  assert.equal(metadataFrom(metadata), metadata);
});

test("bytes are copied, so that changing the giver's array changes nothing", () => {
  const mine = Buffer.from([1, 2, 3]);
  const metadata = metadataFrom({ "x-id-bin": mine });
  mine.fill(0);
  assert.deepEqual([...(metadata.get("x-id-bin") ?? [])], [1, 2, 3]);
});

test("each refusal names the key, what came and what was expected", () => {
  const refusals: readonly [unknown, RegExp][] = [
    [{ "x-a": 7 }, /^TypeError: metadata "x-a" must be a string, got number$/],
    [{ "x-a": bytes }, /metadata "x-a" must be a string, got a Uint8Array \(bytes need a name that ends in -bin\)/],
    [{ "x-a-bin": "text" }, /metadata "x-a-bin" must be a Uint8Array, for its name ends in -bin, got string/],
    [{ "x-a": null }, /metadata "x-a" must be a string, got null/],
    [{ "x-a": ["1", 2] }, /metadata "x-a" must be a string, got number/],
    [{ "x-a": "ä" }, /metadata "x-a" must be printable ASCII \(0x20\.\.0x7e\), got U\+00E4 at index 0/],
    [{ "x-a": "a\r\nx-b: 1" }, /got U\+000D at index 1/],
    [{ "x-a": "a\n" }, /got U\+000A at index 1/],
    [{ "x-a": " a" }, /must neither begin nor end with a space/],
    [{ "x-a": "a " }, /must neither begin nor end with a space/],
    [{ "x a": "1" }, /metadata name "x a" must be made of 0-9 a-z _ - and the dot/],
    [{ "": "1" }, /metadata name "" must be made of/],
    [{ "x-ä": "1" }, /must be made of/],
    [null, /metadata must be an object of names and values, got null/],
    [[["x-a", "1"]], /metadata must be an object of names and values, got an array/],
    ["x-a", /metadata must be an object of names and values, got string/],
  ];
  for (const [init, expected] of refusals) {
    assert.throws(
      () => metadataFrom(init as MetadataInit),
      (error) => error instanceof TypeError && expected.test(String(error)),
      inspect(init),
    );
  }
});

test("the transport's own names are refused, also in upper case", () => {
  const names = [
    ":path",
    "grpc-timeout",
    "Grpc-Status",
    "content-type",
    "TE",
    "user-agent",
    "connection",
    "host",
    "transfer-encoding",
    "holdfast-repeat",
  ];
  for (const name of names) {
    assert.throws(() => metadataFrom({ [name]: "x" } as MetadataInit), /is set by the transport/, name);
    assert.throws(() => emptyMetadata.with(name, "x"), /is set by the transport/, name);
  }
  assert.equal(metadataFrom({ authorization: "x", te2: "y" }).get("authorization"), "x");
});

test("a value never stands in a refusal or in what is printed, for it may be a credential", () => {
  const secret = "Bearer s3cret";
  const metadata = metadataFrom({ authorization: secret, "x-a": "1" });
  assert.throws(
    () => metadataFrom({ authorization: `${secret}\n` }),
    (error) => !String(error).includes("s3cret"),
  );
  assert.equal(JSON.stringify(metadata), '{"names":["authorization","x-a"]}');
  assert.equal(inspect({ metadata }), "{ metadata: Metadata(authorization, x-a) }");
});

test("own keys alone count: a polluted or given prototype adds nothing", () => {
  assert.equal(metadataFrom(Object.create({ "x-a": "1" }) as MetadataInit), emptyMetadata);
  assert.equal(metadataFrom({}).get("constructor"), undefined);
});

test("metadata of another copy of the package is read through its iterator, and checked", () => {
  const foreign = (pairs: readonly (readonly [string, string])[]): Metadata => ({
    get: () => undefined,
    getAll: () => [],
    with: () => foreign(pairs),
    without: () => foreign(pairs),
    [Symbol.iterator]: () => pairs[Symbol.iterator](),
  });
  assert.deepEqual(metadataPairs(metadataFrom(foreign([["x-a", "1"]]))), ["x-a", "1"]);
  assert.deepEqual(metadataPairs(foreign([["x-a", "1"]])), ["x-a", "1"]);
  assert.throws(() => metadataFrom(foreign([["grpc-status", "0"]])), TypeError);
});

test("appendMetadata checks as metadataFrom does", () => {
  const pairs: (string | Uint8Array)[] = [];
  appendMetadata(pairs, "X-A", "1");
  appendMetadata(pairs, "x-a", "2");
  assert.deepEqual(pairs, ["x-a", "1", "x-a", "2"]);
  assert.throws(() => appendMetadata(pairs, "te", "x"), TypeError);
});

test("whatever is given, the result is well formed or a TypeError", () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.oneof(fc.string(), fc.uint8Array(), fc.anything())), (init) => {
      let metadata: Metadata;
      try {
        metadata = metadataFrom(init as MetadataInit);
      } catch (error) {
        assert.ok(error instanceof TypeError);
        return;
      }
      for (const [name, value] of metadata) {
        assert.match(name, /^[0-9a-z_.-]+$/);
        if (name.endsWith("-bin")) assert.ok(value instanceof Uint8Array);
        else assert.match(String(value), /^[ -~]*$/);
      }
    }),
  );
});

test("agrees with a plain list under any sequence of with and without", () => {
  const name = fc.constantFrom("a", "b", "c");
  const step = fc.oneof(
    fc.record({ name, value: fc.constantFrom("1", "2") }),
    fc.record({ name, value: fc.constant(undefined) }),
  );
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      let metadata = emptyMetadata;
      let model: (readonly [string, string])[] = [];
      for (const { name, value } of steps) {
        model = model.filter(([other]) => other !== name);
        if (value !== undefined) model.push([name, value]);
        metadata = value === undefined ? metadata.without(name) : metadata.with(name, value);
      }
      assert.deepEqual([...metadata], model);
    }),
  );
});
