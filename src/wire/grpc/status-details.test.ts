import assert from "node:assert/strict";
import { test } from "node:test";
import { create, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import type { GenMessage } from "@bufbuild/protobuf/codegenv2";
import { fileDesc, messageDesc } from "@bufbuild/protobuf/codegenv2";
import {
  type Any,
  AnySchema,
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FileDescriptorProtoSchema,
  file_google_protobuf_any,
} from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { decodeStatusDetails, encodeStatusDetails } from "./status-details.ts";

interface Status extends Message<"google.rpc.Status"> {
  code: number;
  message: string;
  details: Any[];
}

/** google.rpc.Status through protobuf-es, as the judge of our hand-written one. */
const statusFile = create(FileDescriptorProtoSchema, {
  name: "status.proto",
  package: "google.rpc",
  syntax: "proto3",
  dependency: ["google/protobuf/any.proto"],
  messageType: [
    {
      name: "Status",
      field: [
        { name: "code", number: 1, type: FieldDescriptorProto_Type.INT32, label: FieldDescriptorProto_Label.OPTIONAL },
        {
          name: "message",
          number: 2,
          type: FieldDescriptorProto_Type.STRING,
          label: FieldDescriptorProto_Label.OPTIONAL,
        },
        {
          name: "details",
          number: 3,
          type: FieldDescriptorProto_Type.MESSAGE,
          label: FieldDescriptorProto_Label.REPEATED,
          typeName: ".google.protobuf.Any",
        },
      ],
    },
  ],
});
const base64 = Buffer.from(toBinary(FileDescriptorProtoSchema, statusFile)).toString("base64");
const StatusSchema = messageDesc(fileDesc(base64, [file_google_protobuf_any]), 0) as GenMessage<Status>;

const detail = fc.record({
  type: fc.stringMatching(/^[a-z]{1,9}(\.[A-Za-z]{1,9}){0,4}$/),
  value: fc.uint8Array({ maxLength: 300 }),
});
const status = fc.record({
  code: fc.integer(),
  message: fc.string({ unit: "grapheme" }),
  details: fc.array(detail, { maxLength: 4 }),
});

test("writes the same bytes as protobuf-es and reads them back", () => {
  fc.assert(
    fc.property(status, (given) => {
      const details = given.details.map(({ type, value }) =>
        create(AnySchema, { typeUrl: `type.googleapis.com/${type}`, value }),
      );
      const expected = toBinary(
        StatusSchema,
        create(StatusSchema, { code: given.code, message: given.message, details }),
      );
      const written = encodeStatusDetails(given);
      assert.deepEqual([...written], [...expected]);
      const read = decodeStatusDetails(written);
      assert.deepEqual(read, {
        ...given,
        details: given.details.map(({ type, value }) => ({ type, value: new Uint8Array(value) })),
      });
    }),
  );
});

/** Whether one of the three fields stands there with another wire type than its own. */
function hasWrongWireType(bytes: Uint8Array): boolean {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [no, wireType] = reader.tag();
    if (no <= 3 && wireType !== (no === 1 ? WireType.Varint : WireType.LengthDelimited)) return true;
    reader.skip(wireType, no);
  }
  return false;
}

test("any bytes are refused or read as protobuf-es reads them, and never throw", () => {
  const chopped = fc.tuple(status, fc.nat(60), fc.nat(255)).map(([given, at, byte]) => {
    const bytes = encodeStatusDetails(given);
    if (at < bytes.length) bytes[at] = byte;
    return bytes.subarray(0, bytes.length - (byte % 3));
  });
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 40 }), chopped), (bytes) => {
      const read = decodeStatusDetails(bytes);
      if (read === undefined) return;
      let judged: Status;
      try {
        judged = fromBinary(StatusSchema, bytes);
      } catch {
        // protobuf-es also refuses text that is not UTF-8; we keep the error's other facts.
        return;
      }
      // Nor does protobuf-es look at the wire type of a field that it knows, where we pass over a wrong one as protobuf says.
      fc.pre(!hasWrongWireType(bytes));
      assert.equal(read.code, judged.code);
      assert.equal(read.message, judged.message);
      assert.deepEqual(
        read.details.map(({ value }) => [...value]),
        judged.details.map(({ value }) => [...value]),
      );
    }),
    { numRuns: 2_000 },
  );
});

test("what protobuf-es writes is never refused", () => {
  fc.assert(
    fc.property(status, ({ code, message }) => {
      const read = decodeStatusDetails(toBinary(StatusSchema, create(StatusSchema, { code, message })));
      assert.deepEqual(read, { code, message, details: [] });
    }),
  );
});

test("malformed bytes give undefined", () => {
  const malformed = [
    [0x08],
    [0x12, 5, 1],
    [0x1a, 2, 0x12],
    [0x00, 0x00],
    [0x0b, 0x0c],
    [0x0f],
    [0x80],
    [0x12, 0xff, 0xff, 0xff, 0xff, 0x0f],
    Array<number>(12).fill(0xff),
    [0x1a, 1, 0x0a],
  ];
  for (const bytes of malformed) assert.equal(decodeStatusDetails(Uint8Array.from(bytes)), undefined, String(bytes));
});

test("unknown fields of every wire type are skipped", () => {
  const unknown = [0x20, 0x96, 0x01, 0x29, 1, 2, 3, 4, 5, 6, 7, 8, 0x32, 2, 9, 9, 0x3d, 1, 2, 3, 4];
  assert.deepEqual(decodeStatusDetails(Uint8Array.from([...unknown, 0x08, 5])), { code: 5, message: "", details: [] });
});

test("the type is what stands behind the last slash, whatever the host", () => {
  const url = Buffer.from("example.com/x/a.B");
  const any = [0x0a, url.length, ...url];
  assert.equal(decodeStatusDetails(Uint8Array.from([0x1a, any.length, ...any]))?.details[0]?.type, "a.B");
});

test("values are copies: changing the input afterwards changes nothing", () => {
  const bytes = encodeStatusDetails({ code: 5, message: "x", details: [{ type: "a.B", value: Uint8Array.of(1, 2) }] });
  const read = decodeStatusDetails(bytes);
  bytes.fill(0);
  assert.deepEqual([...(read?.details[0]?.value ?? [])], [1, 2]);
  assert.equal(read?.details[0]?.value.buffer.byteLength, 2);
});
