/**
 * Closures that read one field each.
 */
import { ScalarType } from "@bufbuild/protobuf";
import { type FieldPlan, type NestedPlan, type ValuePlan, wireTypeOf, zeroOf } from "./field-plan.ts";
import { badTag } from "./invalid-message.ts";
import { emptyValue, localOf, messageOf, setOwn } from "./local-form.ts";
import type { CoderOf, MessageCoder } from "./message-coder.ts";
import {
  cursor,
  isRefused,
  readBool,
  readBytes,
  readDouble,
  readEnd,
  readFixed64,
  readFloat,
  readInt64,
  readSfixed64,
  readSint64,
  readTag,
  readText,
  readUint64,
  readUncheckedText,
  readVarint,
  readWord,
  refuseWireType,
  skipValue,
  type UnknownField,
  unknownEnumValue,
} from "./wire-read.ts";

/** A message that is being read. */
export type Target = Record<string, unknown> & { $unknown?: UnknownField[] };
/** Reads the value of a field at `at` into a message; gives its end. */
export type ReadField = (message: Target, bytes: Buffer, at: number, wireType: number, depth: number) => number;
/** Leaves the end of the value in `cursor.pos`. */
type ReadValue = (bytes: Buffer, at: number, depth: number, previous: unknown) => unknown;

/** Keeps a field that the schema does not know. */
export function keepUnknown(message: Target, field: UnknownField): void {
  message.$unknown ??= [];
  message.$unknown.push(field);
}

/** The closure of a field. */
export function fieldReader(field: FieldPlan, coderOf: CoderOf): ReadField {
  if (field.shape === "map") return mapReader(field, coderOf);
  const read = valueReader(field.value, coderOf);
  const { name, number, oneof, value: plan } = field;
  if (field.shape === "list") {
    const isPackable = wireTypeOf(plan) !== 2;
    return (message, bytes, at, wireType, depth) => {
      const items = message[name] as unknown[];
      if (!isPackable || wireType !== 2) {
        items.push(read(bytes, at, depth, undefined));
        return cursor.pos;
      }
      const end = readEnd(bytes, at);
      while (cursor.pos < end) items.push(read(bytes, cursor.pos, depth, undefined));
      return cursor.pos;
    };
  }
  const closed = plan.kind === "enum" ? plan.closed : undefined;
  return (message, bytes, at, wireType, depth) => {
    const chosen =
      oneof === undefined ? undefined : (message[oneof] as { readonly case?: string; readonly value?: unknown });
    const previous = chosen === undefined ? own(message, name) : chosen.case === name ? chosen.value : undefined;
    const value = read(bytes, at, depth, previous);
    if (closed?.includes(value as number) === false)
      keepUnknown(message, unknownEnumValue(number, wireType, value as number));
    else if (oneof === undefined) message[name] = value;
    else message[oneof] = { case: name, value };
    return cursor.pos;
  };
}

function mapReader({ name, key: keyPlan, value: plan }: FieldPlan, coderOf: CoderOf): ReadField {
  const readKey = scalarReader(keyPlan.type, keyPlan.isChecked, false);
  const read = valueReader(plan, coderOf);
  const zeroKey = String(zeroOf(keyPlan.type));
  return (message, bytes, at, _wireType, depth) => {
    const end = readEnd(bytes, at);
    let p = cursor.pos;
    let key: unknown;
    let value: unknown;
    while (p < end) {
      const tag = readTag(bytes, p);
      const no = tag >>> 3;
      const wireType = tag & 7;
      p = cursor.pos;
      if (no === 0) throw badTag;
      if (isRefused(wireType)) refuseWireType(wireType);
      if (no > 2) {
        p = skipValue(bytes, p, wireType);
        continue;
      }
      if (no === 1) key = readKey(bytes, p, depth, undefined);
      else value = read(bytes, p, depth, value);
      p = cursor.pos;
    }
    setOwn(
      message[name] as object,
      key === undefined ? zeroKey : `${key as string | number | bigint | boolean}`,
      value === undefined ? emptyValue(plan) : value,
    );
    return p;
  };
}

function own(message: Target, name: string): unknown {
  return Object.hasOwn(message, name) ? message[name] : undefined;
}

function valueReader(plan: ValuePlan, coderOf: CoderOf): ReadValue {
  if (plan.kind === "enum") return (bytes, at) => readVarint(bytes, at) | 0;
  if (plan.kind === "scalar") return scalarReader(plan.type, plan.isChecked, plan.isLongText);
  return nestedReader(plan, coderOf(plan.desc));
}

function nestedReader(plan: NestedPlan, coder: MessageCoder): ReadValue {
  return (bytes, at, depth, previous) => {
    const end = readEnd(bytes, at);
    const start = cursor.pos;
    const isNew = previous === undefined || plan.form === "struct";
    if (isNew) return localOf(plan, coder.read(bytes, start, end, depth + 1), previous);
    return localOf(plan, coder.merge(bytes, start, end, depth + 1, messageOf(plan, previous) as object));
  };
}

function scalarReader(type: ScalarType, isChecked: boolean, isLongText: boolean): ReadValue {
  switch (type) {
    case ScalarType.STRING:
      return delimited(isChecked ? readText : readUncheckedText);
    case ScalarType.BYTES:
      return delimited(readBytes);
    case ScalarType.BOOL:
      return readBool;
    case ScalarType.DOUBLE:
      return fixed(8, readDouble);
    case ScalarType.FLOAT:
      return fixed(4, readFloat);
    case ScalarType.INT32:
      return (bytes, at) => readVarint(bytes, at) | 0;
    case ScalarType.UINT32:
      return readVarint;
    case ScalarType.SINT32:
      return (bytes, at) => {
        const zigzag = readVarint(bytes, at);
        return (zigzag >>> 1) ^ -(zigzag & 1);
      };
    case ScalarType.FIXED32:
      return fixed(4, (bytes, at) => readWord(bytes, at) >>> 0);
    case ScalarType.SFIXED32:
      return fixed(4, readWord);
    case ScalarType.INT64:
      return long(readInt64, isLongText);
    case ScalarType.UINT64:
      return long(readUint64, isLongText);
    case ScalarType.SINT64:
      return long(readSint64, isLongText);
    case ScalarType.FIXED64:
      return long(fixed(8, readFixed64), isLongText);
    case ScalarType.SFIXED64:
      return long(fixed(8, readSfixed64), isLongText);
  }
}

function delimited(read: (bytes: Buffer, start: number, end: number) => unknown): ReadValue {
  return (bytes, at) => {
    const end = readEnd(bytes, at);
    const value = read(bytes, cursor.pos, end);
    cursor.pos = end;
    return value;
  };
}

function fixed<T>(size: number, read: (bytes: Buffer, at: number) => T): (bytes: Buffer, at: number) => T {
  return (bytes, at) => {
    const value = read(bytes, at);
    cursor.pos = at + size;
    return value;
  };
}

function long(read: (bytes: Buffer, at: number) => bigint, isText: boolean): ReadValue {
  return isText ? (bytes, at) => String(read(bytes, at)) : read;
}
