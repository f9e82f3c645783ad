/**
 * Coders made of closures: for processes that may not generate code (`--disallow-code-generation-from-strings`), and to find the
 * place of what generated code refused, for only these keep track of it.
 */
import { create, type DescMessage } from "@bufbuild/protobuf";
import { describeExpected, type FieldPlan, planMessage } from "./field-plan.ts";
import { badTag, describeCame, type Refusal, tooDeep } from "./invalid-message.ts";
import { fieldReader, keepUnknown, type Target } from "./interpret-reader.ts";
import { fieldWriter, propertyOf } from "./interpret-writer.ts";
import { checkInit, type CoderOf, endMessage, type Fields, type MessageCoder, writeUnknown } from "./message-coder.ts";
import { misfit } from "./misfit.ts";
import { cursor, depthMax, isRefused, readTag, readUnknown, refuseWireType, type UnknownField } from "./wire-read.ts";

/** A coder of closures. */
export function interpretMessage(desc: DescMessage, coderOf: CoderOf): MessageCoder {
  const { fields } = planMessage(desc);
  const typeName = desc.typeName;
  const writers = fields.map((field) => ({ field, write: fieldWriter(field, coderOf) }));
  const readers = new Map(fields.map((field) => [field.number, { field, read: fieldReader(field, coderOf) }]));

  function write(bytes: Buffer, at: number, message: unknown): number {
    checkInit(message, typeName);
    const given = message as Fields;
    let p = at;
    for (const { field, write } of writers) {
      try {
        p = write(bytes, p, given);
      } catch (error) {
        throw misfit(error, field.name, () => {
          const value = propertyOf(given, field.oneof ?? field.name);
          return `expected ${describeField(field)}, got ${describeCame(field.oneof === undefined ? value : (value as Fields)["value"])}`;
        });
      }
    }
    const unknown = given["$unknown"] as readonly UnknownField[] | undefined;
    return unknown !== undefined && given["$typeName"] === typeName ? writeUnknown(bytes, p, unknown) : p;
  }

  function merge(bytes: Buffer, at: number, end: number, depth: number, into: object): object {
    if (depth > depthMax) throw tooDeep;
    const message = into as Target;
    let p = at;
    while (p < end) {
      const tag = readTag(bytes, p);
      p = cursor.pos;
      const no = tag >>> 3;
      const wireType = tag & 7;
      if (no === 0) throw badTag;
      if (isRefused(wireType)) refuseWireType(wireType);
      const reader = readers.get(no);
      if (reader === undefined) {
        keepUnknown(message, readUnknown(bytes, p, no, wireType));
        p = cursor.pos;
        continue;
      }
      try {
        p = reader.read(message, bytes, p, wireType, depth);
      } catch (error) {
        throw misfit(error, reader.field.name, () => (error as Refusal).message);
      }
    }
    endMessage(p);
    return message;
  }

  return { write, merge, read: (bytes, at, end, depth) => merge(bytes, at, end, depth, create(desc)) };
}

function describeField(field: FieldPlan): string {
  if (field.shape === "list") return "an array";
  if (field.shape === "map") return "an object";
  return field.presence === "required"
    ? `${describeExpected(field.value)} (the field is required)`
    : describeExpected(field.value);
}
