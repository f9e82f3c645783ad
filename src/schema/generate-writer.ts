/**
 * The source of the function that writes one message type.
 */
import { ScalarType } from "@bufbuild/protobuf";
import type { Constants } from "./generated-constants.ts";
import { type FieldPlan, type MessagePlan, type ValuePlan, wireTypeOf } from "./field-plan.ts";
import type { CoderOf } from "./message-coder.ts";

/** What a field needs to be written. */
interface Scope {
  readonly constants: Constants;
  readonly coderOf: CoderOf;
}

/** Source that returns `write(b, at, m)`: writes message `m` into `b` and gives the end. */
export function writerSource(plan: MessagePlan, constants: Constants, coderOf: CoderOf): string {
  const scope: Scope = { constants, coderOf };
  const typeName = JSON.stringify(plan.desc.typeName);
  const fields = plan.fields.map((field) => fieldSource(field, plan, scope));
  return `return function write(b, at, m) {
    if (m == null || m.$typeName !== ${typeName}) checkInit(m, ${typeName});
    let p = at, v, s, i, o;
    ${fields.join("\n")}
    if (m.$unknown !== undefined && m.$typeName === ${typeName}) p = writeUnknown(b, p, m.$unknown);
    return p;
  };`;
}

function fieldSource(field: FieldPlan, plan: MessagePlan, scope: Scope): string {
  const property = propertySource(field.name);
  if (field.shape === "map") return mapSource(field, property, scope);
  if (field.shape === "list") return listSource(field, property, scope);
  const put = `${tagSource(field.number, wireTypeOf(field.value))} ${valueSource(field.value, "v", scope)}`;
  if (field.oneof !== undefined) {
    return `o = ${propertySource(field.oneof)};
    if (o != null && o.case === ${JSON.stringify(field.name)}) { v = o.value; ${put} }`;
  }
  const isSet = field.presence === "implicit" ? notZero(field.value) : ownSource(field, plan);
  const otherwise = field.presence === "required" ? "else throw wrongValue;" : "";
  return `v = ${property}; if (v != null${isSet}) { ${put} } ${otherwise}`;
}

/** Names that Object.prototype has (`hasOwnProperty`) are looked for in the object alone: an init shape inherits them. */
function propertySource(name: string): string {
  const key = JSON.stringify(name);
  return name in Object.prototype ? `(Object.hasOwn(m, ${key}) ? m[${key}] : undefined)` : `m[${key}]`;
}

/** With a prototype, a property of the object's own is what makes a field present: the prototype has all zero values. */
function ownSource(field: FieldPlan, plan: MessagePlan): string {
  return plan.prototype !== undefined ? ` && Object.hasOwn(m, ${JSON.stringify(field.name)})` : "";
}

function notZero(value: ValuePlan): string {
  if (value.kind === "enum") return ` && v !== ${value.first}`;
  if (value.kind === "message") return "";
  switch (value.type) {
    case ScalarType.STRING:
      return ' && v !== ""';
    case ScalarType.BOOL:
      return " && v !== false";
    case ScalarType.BYTES:
      return " && v.length !== 0";
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return " && (v !== 0 || Object.is(v, -0))";
    case ScalarType.INT64:
    case ScalarType.UINT64:
    case ScalarType.SINT64:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return ' && v !== 0n && v !== 0 && v !== "0"';
    default:
      return " && v !== 0";
  }
}

function listSource(field: FieldPlan, property: string, scope: Scope): string {
  const wireType = field.packed ? 2 : wireTypeOf(field.value);
  const tag = tagSource(field.number, wireType);
  const value = valueSource(field.value, "x", scope);
  const loop = field.packed
    ? `${tag} s = p; p++; for (i = 0; i < v.length; i++) { const x = v[i]; ${value} } p = closeLength(b, s, p);`
    : `for (i = 0; i < v.length; i++) { const x = v[i]; ${tag} ${value} }`;
  return `v = ${property}; if (v != null) { if (!Array.isArray(v)) throw wrongValue; if (v.length !== 0) { ${loop} } }`;
}

function mapSource(field: FieldPlan, property: string, scope: Scope): string {
  return `v = ${property}; if (v != null) {
    if (typeof v !== "object" || Array.isArray(v)) throw wrongValue;
    const keys = Object.keys(v);
    for (i = 0; i < keys.length; i++) {
      const key = ${keySource(field.key.type)}, x = v[keys[i]];
      ${tagSource(field.number, 2)}
      const start = p++;
      ${tagSource(1, wireTypeOf(field.key))} ${valueSource(field.key, "key", scope)}
      ${tagSource(2, wireTypeOf(field.value))} ${valueSource(field.value, "x", scope)}
      p = closeLength(b, start, p);
    }
  }`;
}

function keySource(type: ScalarType): string {
  switch (type) {
    case ScalarType.BOOL:
      return "booleanKey(keys[i])";
    case ScalarType.INT32:
    case ScalarType.UINT32:
    case ScalarType.SINT32:
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
      return "integerKey(keys[i])";
    default:
      // Text as it is; 64-bit writers take decimal strings.
      return "keys[i]";
  }
}

/** Writes the value `v` names, with its length if it has one. */
function valueSource(value: ValuePlan, v: string, { constants, coderOf }: Scope): string {
  if (value.kind === "message") {
    const coder = constants.nameOf(coderOf(value.desc));
    const message = value.form === "message" ? v : `messageOf(${constants.nameOf(value)}, ${v})`;
    return `{ const start = p; p = closeLength(b, start, ${coder}.write(b, start + 1, ${message})); }`;
  }
  const type = value.kind === "enum" ? ScalarType.INT32 : value.type;
  switch (type) {
    case ScalarType.INT32:
    case ScalarType.UINT32:
      // Small numbers in place: a call costs more than the byte.
      return `if (${v} >>> 0 === ${v} && ${v} < 128) b[p++] = ${v}; else p = ${writers[type]}(b, p, ${v});`;
    case ScalarType.BOOL:
      return `if (${v} === true) b[p++] = 1; else if (${v} === false) b[p++] = 0; else throw wrongValue;`;
    default:
      return `p = ${writers[type]}(b, p, ${v});`;
  }
}

const writers: Readonly<Record<ScalarType, string>> = {
  [ScalarType.STRING]: "writeText",
  [ScalarType.BYTES]: "writeBytes",
  [ScalarType.BOOL]: "writeBool",
  [ScalarType.DOUBLE]: "writeDouble",
  [ScalarType.FLOAT]: "writeFloat",
  [ScalarType.INT32]: "writeInt32",
  [ScalarType.UINT32]: "writeUint32",
  [ScalarType.SINT32]: "writeSint32",
  [ScalarType.FIXED32]: "writeFixed32",
  [ScalarType.SFIXED32]: "writeSfixed32",
  [ScalarType.INT64]: "writeInt64",
  [ScalarType.UINT64]: "writeUint64",
  [ScalarType.SINT64]: "writeSint64",
  [ScalarType.FIXED64]: "writeFixed64",
  [ScalarType.SFIXED64]: "writeSfixed64",
};

/** The bytes of a tag, known when the source is made. */
function tagSource(number: number, wireType: number): string {
  const bytes: number[] = [];
  let rest = ((number << 3) | wireType) >>> 0;
  while (rest > 127) {
    bytes.push((rest & 127) | 128);
    rest >>>= 7;
  }
  bytes.push(rest);
  return bytes.map((byte) => `b[p++] = ${byte};`).join(" ");
}
