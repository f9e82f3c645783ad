import assert from "node:assert/strict";
import { test } from "node:test";
import {
  createField,
  FIRST_OWN_NAME,
  FieldNames,
  FieldSection,
  FLAW_CONNECTION_SPECIFIC,
  FLAW_NAME_CHARACTER,
  FLAW_NAME_EMPTY,
  FLAW_NAME_UPPERCASE,
  FLAW_NONE,
  FLAW_PSEUDO_ORDER,
  FLAW_PSEUDO_UNKNOWN,
  FLAW_TE,
  FLAW_VALUE_CHARACTER,
  FLAW_VALUE_SPACE,
  flawText,
  NAME_CONNECTION_SPECIFIC,
  NAME_HOST,
  NAME_TE,
  NO_FIELD,
  PSEUDO_METHOD,
  PSEUDO_PROTOCOL,
} from "./field.ts";
import { STATIC_TABLE } from "./static-table.ts";

const OWN = ["content-type", "grpc-status", "grpc-timeout", "traceparent"];

test("names have the numbers they were promised, and others have none", () => {
  const names = new FieldNames(OWN, ["traceparent", "grpc-timeout"]);
  assert.equal(names.idOf(":method"), PSEUDO_METHOD);
  assert.equal(names.idOf(":protocol"), PSEUDO_PROTOCOL);
  for (const name of ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"]) {
    assert.equal(names.idOf(name), NAME_CONNECTION_SPECIFIC);
  }
  assert.equal(names.idOf("host"), NAME_HOST);
  for (const [i, name] of OWN.entries()) assert.equal(names.idOf(name), FIRST_OWN_NAME + i);
  for (const name of ["accept", "", "__proto__", "constructor", "Host"]) assert.equal(names.idOf(name), -1);
});

test("raw names are found by their place in the list of raw names", () => {
  const names = new FieldNames(OWN, ["traceparent", "grpc-timeout"]);
  assert.equal(names.rawIndexes[names.idOf("traceparent")], 0);
  assert.equal(names.rawIndexes[names.idOf("grpc-timeout")], 1);
  assert.equal(names.rawIndexes[names.idOf("grpc-status")], -1);
});

test("a name twice, or a raw name that is no own name, is refused", () => {
  assert.throws(() => new FieldNames(["a", "a"], []), RangeError);
  assert.throws(() => new FieldNames(["host"], []), RangeError);
  assert.throws(() => new FieldNames(["a"], ["b"]), RangeError);
  assert.throws(() => new FieldNames(["a"], ["host"]), RangeError);
  assert.throws(() => new FieldNames(["a"], ["a", "a"]), RangeError);
});

test("every interned name is found in bytes, and nothing that is near to one", () => {
  const names = new FieldNames(OWN, []);
  for (const name of [...OWN, ...STATIC_TABLE.slice(1).map((entry) => entry[0]), "te", "upgrade"]) {
    const bytes = Buffer.from(`x${name}x`, "latin1");
    assert.equal(names.find(bytes, 1, bytes.length - 1).name, name);
    assert.equal(names.find(bytes, 1, bytes.length - 1).nameId, names.idOf(name));
    assert.equal(names.find(bytes, 0, bytes.length), NO_FIELD);
    assert.equal(names.find(bytes, 1, 1), NO_FIELD);
  }
});

test("each malformed name has its flaw", () => {
  const flawOf = (name: string): number => createField(name, -1, "v").flaw;
  assert.equal(flawOf(""), FLAW_NAME_EMPTY);
  assert.equal(flawOf("Host"), FLAW_NAME_UPPERCASE);
  for (const character of [" ", "\0", "\n", ":", "\x7f", "\x80", "ÿ", "(", '"', "/"])
    assert.equal(flawOf(`a${character}b`), FLAW_NAME_CHARACTER);
  assert.equal(flawOf(":unknown"), FLAW_PSEUDO_UNKNOWN);
  assert.equal(flawOf(":"), FLAW_PSEUDO_UNKNOWN);
  for (const name of ["a", "x-y_z.1", "!#$%&'*+-.^_`|~09az"]) assert.equal(flawOf(name), FLAW_NONE);
});

test("each malformed value has its flaw", () => {
  const flawOf = (value: string): number => createField("a", -1, value).flaw;
  for (const value of ["\0", "a\0b", "a\nb", "a\rb", "\r\n", " a\n"]) assert.equal(flawOf(value), FLAW_VALUE_CHARACTER);
  for (const value of [" a", "a ", "\ta", "a\t", " ", "\t"]) assert.equal(flawOf(value), FLAW_VALUE_SPACE);
  for (const value of ["", "a", "a b", "a\tb", "a\x01b", "a\x7fb", "äÿ"]) assert.equal(flawOf(value), FLAW_NONE);
});

test("te may only be trailers, and connection-specific names are flawed whatever their value", () => {
  assert.equal(createField("te", NAME_TE, "trailers").flaw, FLAW_NONE);
  for (const value of ["", "gzip", "Trailers", "trailers, deflate"])
    assert.equal(createField("te", NAME_TE, value).flaw, FLAW_TE);
  assert.equal(createField("upgrade", NAME_CONNECTION_SPECIFIC, "h2c").flaw, FLAW_CONNECTION_SPECIFIC);
});

test("a field counts its bytes and 32 more", () => {
  assert.equal(createField("custom-key", -1, "custom-header").size, 55);
});

test("a cleared section is like a new one, and keeps nothing alive", () => {
  const names = new FieldNames(OWN, ["traceparent"]);
  const section = new FieldSection(names);
  section.fields[0] = createField("a", -1, "b");
  section.count = 1;
  section.total = 2;
  section.size = 99;
  section.flaw = FLAW_TE;
  section.pseudoMask = 3;
  section.isTruncated = true;
  section.rawBytes = Buffer.from("x");
  section.rawEnd[0] = 7;
  section.clear();
  assert.equal(section.fields[0], NO_FIELD);
  section.fields.length = 0;
  assert.deepEqual(section, new FieldSection(names));
});

test("every flaw has words of its own", () => {
  const texts = new Set<string>();
  for (let flaw = FLAW_NONE; flaw <= FLAW_PSEUDO_ORDER; flaw++) texts.add(flawText(flaw));
  assert.equal(texts.size, FLAW_PSEUDO_ORDER + 1);
  assert.equal(flawText(99), "unknown flaw");
});
