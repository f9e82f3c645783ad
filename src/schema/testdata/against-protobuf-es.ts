/**
 * The codec's oracle: protobuf-es reads the same bytes, and both must give the same value or both refuse.
 */
import assert from "node:assert/strict";
import { create, type DescMessage, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import { type CoderKind, compileCodecAs, InvalidMessageError, type MessageCodec } from "../codec.ts";
import { MixedSchema } from "./gen/fixture/e2023/everything_pb.ts";
import { DefaultsSchema } from "./gen/fixture/v2/everything_pb.ts";

/** Their closed enums are the one place where more unknown fields are kept than protobuf-es keeps. */
const withClosedEnums: readonly DescMessage[] = [DefaultsSchema, MixedSchema];

/** Decodes from the middle of a larger buffer, whose bytes around must not matter. */
export function decodeAll(codec: MessageCodec, bytes: Uint8Array): unknown {
  const chunk = Buffer.alloc(bytes.length + 24, 0x0a);
  chunk.set(bytes, 9);
  return codec.decode(chunk, 9, 9 + bytes.length);
}

/** Both accept with the same value, or both refuse; but for groups, which only we refuse. */
export function assertSameVerdict(desc: DescMessage, kind: CoderKind, bytes: Uint8Array): void {
  const ours = attempt(() => decodeAll(compileCodecAs(desc, kind), bytes));
  // Not a Buffer: protobuf-es would give Buffers for bytes.
  const theirs = attempt(() => fromBinary(desc, new Uint8Array(bytes)));
  const shown = Buffer.from(bytes).toString("hex");
  if (ours.error !== undefined) {
    assert.ok(ours.error instanceof InvalidMessageError, `${shown} gave something other than an InvalidMessageError`);
    if (ours.error.message.includes("group")) return;
    assert.ok(theirs.error !== undefined, `${shown} is refused (${ours.error.message}), and protobuf-es accepts it`);
    return;
  }
  assert.equal(theirs.error, undefined, `${shown} is accepted, and protobuf-es refuses it`);
  if (mayHoldClosedEnums(desc)) {
    dropUnknown(ours.value);
    dropUnknown(theirs.value);
  }
  assert.deepStrictEqual(ours.value, theirs.value, shown);
}

/** A valid message of the type as protobuf-es writes it. */
export function written(desc: DescMessage, init: unknown): Uint8Array {
  return toBinary(desc, create(desc, init as never));
}

function attempt(run: () => unknown): { readonly value?: unknown; readonly error?: unknown } {
  try {
    return { value: run() };
  } catch (error) {
    return { error };
  }
}

function mayHoldClosedEnums(desc: DescMessage): boolean {
  return (
    withClosedEnums.includes(desc) ||
    desc.fields.some(({ message }) => message !== undefined && withClosedEnums.includes(message))
  );
}

function dropUnknown(value: unknown): void {
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return;
  delete (value as Partial<Message>).$unknown;
  for (const inner of Object.values(value)) dropUnknown(inner);
}
