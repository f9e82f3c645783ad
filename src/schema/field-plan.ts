/**
 * A message type as the codec sees it: what `create` of protobuf-es would make of each field, and how it stands on the wire.
 * Both codecs (generated and interpreted) are made from this, so that they cannot differ in what they read from a descriptor.
 */
import { create, type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { FeatureSet_FieldPresence } from "@bufbuild/protobuf/wkt";
import { UnsupportedError } from "./invalid-message.ts";

export interface ScalarPlan {
  readonly kind: "scalar";
  readonly type: ScalarType;
  /** Whether text must be UTF-8. */
  readonly isChecked: boolean;
  /** `jstype = JS_STRING`: 64-bit integers are decimal strings. */
  readonly isLongText: boolean;
}

export interface EnumPlan {
  readonly kind: "enum";
  /** The values of a closed enum; undefined for an open one. */
  readonly closed: readonly number[] | undefined;
  readonly first: number;
}

/**
 * A message, and its form in the field: itself, a JSON object (google.protobuf.Struct), or the value of a wrapper
 * (google.protobuf.StringValue and the like).
 */
export interface NestedPlan {
  readonly kind: "message";
  readonly desc: DescMessage;
  readonly form: "message" | "struct" | "wrapper";
}

export type ValuePlan = ScalarPlan | EnumPlan | NestedPlan;

export interface FieldPlan {
  readonly number: number;
  /** Name in TypeScript. */
  readonly name: string;
  readonly shape: "one" | "list" | "map";
  /** Name in TypeScript of the oneof that the field is a case of. */
  readonly oneof: string | undefined;
  /** Of a field that is neither list, map nor case: when it is written. */
  readonly presence: "implicit" | "explicit" | "required";
  readonly packed: boolean;
  /** Key of a map. */
  readonly key: ScalarPlan;
  /** The value, or the element of a list, or the value of a map. */
  readonly value: ValuePlan;
}

export type MemberPlan =
  | { readonly kind: "field"; readonly field: FieldPlan }
  | { readonly kind: "oneof"; readonly name: string };

export interface MessagePlan {
  readonly desc: DescMessage;
  /** In the order of the .proto, as `create` sets them. */
  readonly members: readonly MemberPlan[];
  /** All fields by number, as they are written. */
  readonly fields: readonly FieldPlan[];
  /** What `create` gives messages for a prototype if it is not Object.prototype: zero values of fields with presence. */
  readonly prototype: object | undefined;
  /** An empty message. */
  readonly zero: Readonly<Record<string, unknown>>;
}

/**
 * Reads a descriptor. Throws UnsupportedError for a field with the delimited encoding (a proto2 group, or
 * `message_encoding = DELIMITED`): groups are refused on the wire.
 */
export function planMessage(desc: DescMessage): MessagePlan {
  const byDescriptor = new Map<DescField, FieldPlan>(desc.fields.map((field) => [field, planField(field)]));
  const members = desc.members.map((member): MemberPlan => {
    if (member.kind === "oneof") return { kind: "oneof", name: member.localName };
    return { kind: "field", field: byDescriptor.get(member) as FieldPlan };
  });
  const zero = create(desc) as unknown as Record<string, unknown>;
  const prototype = Object.getPrototypeOf(zero) as object;
  return {
    desc,
    members,
    fields: [...byDescriptor.values()].sort((a, b) => a.number - b.number),
    prototype: prototype === Object.prototype ? undefined : prototype,
    zero,
  };
}

/** Wire type of a value that stands alone. */
export function wireTypeOf(value: ValuePlan): 0 | 1 | 2 | 5 {
  if (value.kind === "message") return 2;
  return value.kind === "enum" ? 0 : scalarWireType(value.type);
}

export function scalarWireType(type: ScalarType): 0 | 1 | 2 | 5 {
  switch (type) {
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return 2;
    case ScalarType.DOUBLE:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return 1;
    case ScalarType.FLOAT:
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
      return 5;
    default:
      return 0;
  }
}

/** The zero value of a scalar; 64-bit integers as bigints. */
export function zeroOf(type: ScalarType): unknown {
  switch (type) {
    case ScalarType.STRING:
      return "";
    case ScalarType.BOOL:
      return false;
    case ScalarType.BYTES:
      return new Uint8Array(0);
    case ScalarType.INT64:
    case ScalarType.UINT64:
    case ScalarType.SINT64:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return 0n;
    default:
      return 0;
  }
}

/** What a field wants, for an error text. */
export function describeExpected(value: ValuePlan): string {
  switch (value.kind) {
    case "message":
      if (value.form === "struct") return "a JSON object";
      if (value.form === "wrapper") return `the value of a ${value.desc.typeName}`;
      return `a message ${value.desc.typeName} or its init shape`;
    case "enum":
      return "the number of an enum value (int32)";
    case "scalar":
      return describeScalar(value.type);
  }
}

export function describeScalar(type: ScalarType): string {
  switch (type) {
    case ScalarType.STRING:
      return "a string";
    case ScalarType.BYTES:
      return "a Uint8Array";
    case ScalarType.BOOL:
      return "true or false";
    case ScalarType.DOUBLE:
      return "a number";
    case ScalarType.FLOAT:
      return "a number in the range of a float";
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return "an integer in 0..4294967295";
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
      return "a bigint in 0..2^64-1";
    case ScalarType.INT64:
    case ScalarType.SINT64:
    case ScalarType.SFIXED64:
      return "a bigint in -2^63..2^63-1";
    default:
      return "an integer in -2147483648..2147483647";
  }
}

function planField(field: DescField): FieldPlan {
  if ("delimitedEncoding" in field && field.delimitedEncoding) {
    throw new UnsupportedError(
      `${field.parent.typeName}.${field.name} is a group (delimited encoding), which is not supported`,
    );
  }
  const shape = field.fieldKind === "list" ? "list" : field.fieldKind === "map" ? "map" : "one";
  return {
    number: field.number,
    name: field.localName,
    shape,
    oneof: field.oneof?.localName,
    presence: presenceOf(field),
    packed: field.fieldKind === "list" && field.packed,
    key: {
      kind: "scalar",
      type: field.fieldKind === "map" ? field.mapKey : ScalarType.STRING,
      isChecked: field.utf8Validation,
      isLongText: false,
    },
    value: planValue(field),
  };
}

function planValue(field: DescField): ValuePlan {
  if (field.message !== undefined) return { kind: "message", desc: field.message, form: formOf(field, field.message) };
  if (field.enum !== undefined) {
    const numbers = field.enum.values.map(({ number }) => number);
    // protobuf-es checks only fields that stand alone; lists and maps of a closed enum take every int32.
    const isChecked = field.fieldKind === "enum" && !field.enum.open;
    return { kind: "enum", closed: isChecked ? numbers : undefined, first: numbers[0] ?? 0 };
  }
  // In maps, protobuf-es knows no `jstype`.
  const isLongText = field.fieldKind !== "map" && "longAsString" in field && field.longAsString === true;
  return { kind: "scalar", type: field.scalar, isChecked: field.utf8Validation, isLongText };
}

function presenceOf(field: DescField): "implicit" | "explicit" | "required" {
  switch (field.presence) {
    case FeatureSet_FieldPresence.IMPLICIT:
      return "implicit";
    case FeatureSet_FieldPresence.LEGACY_REQUIRED:
      return "required";
    default:
      return "explicit";
  }
}

function formOf(field: DescField, message: DescMessage): NestedPlan["form"] {
  if (message.typeName === "google.protobuf.Struct" && field.parent.typeName !== "google.protobuf.Value")
    return "struct";
  if (field.fieldKind === "message" && field.oneof === undefined && isWrapper(message)) return "wrapper";
  return "message";
}

/** google.protobuf.StringValue and its like: one field `value` with number 1. */
function isWrapper({ typeName, fields }: DescMessage): boolean {
  const field = fields[0];
  const isNamed = /^google\.protobuf\.(Double|Float|U?Int64|U?Int32|Bool|String|Bytes)Value$/.test(typeName);
  return isNamed && field !== undefined && field.fieldKind === "scalar" && field.name === "value" && field.number === 1;
}
