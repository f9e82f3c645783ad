/**
 * Closures that write one field each.
 */
import { ScalarType } from "@bufbuild/protobuf";
import { describeExpected, describeScalar, type FieldPlan, type ValuePlan, wireTypeOf } from "./field-plan.ts";
import { describeCame, wrongValue } from "./invalid-message.ts";
import { messageOf } from "./local-form.ts";
import { booleanKey, type CoderOf, type Fields, integerKey } from "./message-coder.ts";
import { misfit } from "./misfit.ts";
import {
  closeLength,
  writeBool,
  writeBytes,
  writeDouble,
  writeFixed32,
  writeFixed64,
  writeFloat,
  writeInt32,
  writeInt64,
  writeSfixed32,
  writeSfixed64,
  writeSint32,
  writeSint64,
  writeText,
  writeUint32,
  writeUint64,
  writeVarint,
} from "./wire-write.ts";

/** Writes the field of a message, if it is set; gives the end. Throws Refusal, or Misfit from deeper inside. */
export type WriteField = (bytes: Buffer, at: number, message: Fields) => number;
type WriteValue = (bytes: Buffer, at: number, value: unknown) => number;

/** The closure of a field. */
export function fieldWriter(field: FieldPlan, coderOf: CoderOf): WriteField {
  if (field.shape === "map") return mapWriter(field, coderOf);
  const write = valueWriter(field.value, coderOf);
  const tag = ((field.number << 3) | wireTypeOf(field.value)) >>> 0;
  if (field.shape === "list") return listWriter(field, tag, write);
  const { name, oneof, presence, value: plan } = field;
  if (oneof !== undefined) {
    return (bytes, at, message) => {
      const chosen = propertyOf(message, oneof) as
        | { readonly case?: unknown; readonly value?: unknown }
        | null
        | undefined;
      return chosen?.case === name ? write(bytes, writeVarint(bytes, at, tag), chosen.value) : at;
    };
  }
  return (bytes, at, message) => {
    const value = propertyOf(message, name);
    const isSet =
      value !== undefined &&
      value !== null &&
      (presence === "implicit" ? !isZero(plan, value) : Object.hasOwn(message, name));
    if (isSet) return write(bytes, writeVarint(bytes, at, tag), value);
    if (presence === "required") throw wrongValue;
    return at;
  };
}

/** Names that Object.prototype has (`hasOwnProperty`) are looked for in the object alone: an init shape inherits them. */
export function propertyOf(message: Fields, name: string): unknown {
  return name in Object.prototype && !Object.hasOwn(message, name) ? undefined : message[name];
}

/** A field without presence is not written when it has its zero value; -0 is none. */
function isZero(plan: ValuePlan, value: unknown): boolean {
  if (plan.kind === "enum") return value === plan.first;
  if (plan.kind === "message") return false;
  switch (plan.type) {
    case ScalarType.STRING:
      return value === "";
    case ScalarType.BOOL:
      return value === false;
    case ScalarType.BYTES:
      return value instanceof Uint8Array && value.length === 0;
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return Object.is(value, 0);
    default:
      return value === 0 || value === 0n || value === "0";
  }
}

function listWriter({ name, number, packed, value: plan }: FieldPlan, tag: number, write: WriteValue): WriteField {
  const packedTag = ((number << 3) | 2) >>> 0;
  return (bytes, at, message) => {
    const items = propertyOf(message, name);
    if (items === undefined || items === null) return at;
    if (!Array.isArray(items)) throw wrongValue;
    if (items.length === 0) return at;
    const start = packed ? writeVarint(bytes, at, packedTag) : at;
    let p = packed ? start + 1 : start;
    for (let i = 0; i < items.length; i++) {
      try {
        p = write(bytes, packed ? p : writeVarint(bytes, p, tag), items[i]);
      } catch (error) {
        throw misfit(error, `[${i}]`, () => `expected ${describeExpected(plan)}, got ${describeCame(items[i])}`);
      }
    }
    return packed ? closeLength(bytes, start, p) : p;
  };
}

function mapWriter({ name, number, key: keyPlan, value: plan }: FieldPlan, coderOf: CoderOf): WriteField {
  const keyType = keyPlan.type;
  const writeKey = scalarWriter(keyType);
  const toKey = keyConverter(keyType);
  const write = valueWriter(plan, coderOf);
  const tag = ((number << 3) | 2) >>> 0;
  const keyTag = 8 | wireTypeOf(keyPlan);
  const valueTag = 16 | wireTypeOf(plan);
  return (bytes, at, message) => {
    const entries = propertyOf(message, name);
    if (entries === undefined || entries === null) return at;
    if (typeof entries !== "object" || Array.isArray(entries)) throw wrongValue;
    let p = at;
    for (const key of Object.keys(entries)) {
      const start = writeVarint(bytes, p, tag);
      const value = (entries as Fields)[key];
      let expected = `as a key ${describeScalar(keyType)}`;
      let came: unknown = key;
      try {
        p = writeKey(bytes, writeVarint(bytes, start + 1, keyTag), toKey(key));
        expected = describeExpected(plan);
        came = value;
        p = write(bytes, writeVarint(bytes, p, valueTag), value);
      } catch (error) {
        throw misfit(error, `[${JSON.stringify(key)}]`, () => `expected ${expected}, got ${describeCame(came)}`);
      }
      p = closeLength(bytes, start, p);
    }
    return p;
  };
}

function keyConverter(type: ScalarType): (key: string) => unknown {
  switch (type) {
    case ScalarType.BOOL:
      return booleanKey;
    case ScalarType.INT32:
    case ScalarType.UINT32:
    case ScalarType.SINT32:
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
      return integerKey;
    default:
      // Text as it is; 64-bit writers take decimal strings.
      return (key) => key;
  }
}

function valueWriter(plan: ValuePlan, coderOf: CoderOf): WriteValue {
  if (plan.kind === "enum") return writeInt32;
  if (plan.kind === "scalar") return scalarWriter(plan.type);
  const coder = coderOf(plan.desc);
  return (bytes, at, value) => closeLength(bytes, at, coder.write(bytes, at + 1, messageOf(plan, value)));
}

function scalarWriter(type: ScalarType): WriteValue {
  switch (type) {
    case ScalarType.STRING:
      return writeText;
    case ScalarType.BYTES:
      return writeBytes;
    case ScalarType.BOOL:
      return writeBool;
    case ScalarType.DOUBLE:
      return writeDouble;
    case ScalarType.FLOAT:
      return writeFloat;
    case ScalarType.INT32:
      return writeInt32;
    case ScalarType.UINT32:
      return writeUint32;
    case ScalarType.SINT32:
      return writeSint32;
    case ScalarType.FIXED32:
      return writeFixed32;
    case ScalarType.SFIXED32:
      return writeSfixed32;
    case ScalarType.INT64:
      return writeInt64;
    case ScalarType.UINT64:
      return writeUint64;
    case ScalarType.SINT64:
      return writeSint64;
    case ScalarType.FIXED64:
      return writeFixed64;
    case ScalarType.SFIXED64:
      return writeSfixed64;
  }
}
