/**
 * The source of the function that reads one message type. Fields are read into variables, and the message is made at the end in
 * one literal, so that all messages of a type have the shape that `create` of protobuf-es would give them, and few hidden classes.
 */
import { ScalarType } from "@bufbuild/protobuf";
import type { Constants } from "./generated-constants.ts";
import {
  type FieldPlan,
  type MemberPlan,
  type MessagePlan,
  type NestedPlan,
  type ValuePlan,
  wireTypeOf,
} from "./field-plan.ts";
import { emptyValue } from "./local-form.ts";
import type { CoderOf } from "./message-coder.ts";

/** What is made of each member: the variable that holds it while reading. */
interface Slot {
  readonly name: string;
  readonly variable: string;
  /** Members that `create` leaves out until they are set. */
  readonly isOptional: boolean;
  /** Source of the value of an empty message; `undefined` for optional ones. */
  readonly initial: string;
}

interface Scope {
  readonly constants: Constants;
  readonly coderOf: CoderOf;
}

/** Up to so many optional members, each combination has a literal of its own. */
const combinationsMax = 2;

/** Source that returns `read(b, at, end, depth)`. */
export function readerSource(plan: MessagePlan, constants: Constants, coderOf: CoderOf): string {
  const scope: Scope = { constants, coderOf };
  const slots = plan.members.map((member, index) => slotOf(member, index, plan, constants));
  const cases = plan.fields.map(
    (field) => `case ${field.number}: { ${fieldSource(field, slotFor(field, slots), scope)} break; }`,
  );
  return `${constructorSource(plan, slots, constants)}
  return function read(b, at, end, depth) {
    if (depth > depthMax) throw tooDeep;
    const limit = cursor.limit;
    let p = at, n = 0, e = 0, unknown;
    ${slots.map((slot) => `let ${slot.variable} = ${slot.initial};`).join("\n")}
    while (p < end) {
      let tag = b[p++];
      if (tag > 127) { tag = readTag(b, p - 1); p = cursor.pos; }
      if ((0b11011000 >> (tag & 7)) & 1) refuseWireType(tag & 7);
      switch (tag >>> 3) {
        ${cases.join("\n")}
        case 0: throw badTag;
        default: (unknown ??= []).push(readUnknown(b, p, tag >>> 3, tag & 7)); p = cursor.pos;
      }
    }
    if (p > limit) throw truncated;
    cursor.pos = p;
    ${messageSource(plan, slots)}
  };`;
}

// ------------------------------------------------------------------------------------------------------- what comes of it

function slotOf(member: MemberPlan, index: number, plan: MessagePlan, constants: Constants): Slot {
  const variable = `f${index}`;
  if (member.kind === "oneof")
    return { name: member.name, variable, isOptional: false, initial: "{ case: undefined }" };
  const { name, shape, presence } = member.field;
  if (shape === "list") return { name, variable, isOptional: false, initial: "[]" };
  if (shape === "map") return { name, variable, isOptional: false, initial: "{}" };
  if (presence !== "implicit") return { name, variable, isOptional: true, initial: "undefined" };
  return { name, variable, isOptional: false, initial: literal(plan.zero[name], constants) };
}

function slotFor(field: FieldPlan, slots: readonly Slot[]): Slot {
  const name = field.oneof ?? field.name;
  return slots.find((slot) => slot.name === name) as Slot;
}

/** Messages with a prototype are made by a function whose prototype is the one that `create` uses. */
function constructorSource({ prototype, desc }: MessagePlan, slots: readonly Slot[], constants: Constants): string {
  if (prototype === undefined) return "";
  const fixed = slots.filter((slot) => !slot.isOptional);
  const parameters = fixed.map((slot) => slot.variable).join(", ");
  const stores = fixed.map((slot) => `this[${JSON.stringify(slot.name)}] = ${slot.variable};`).join(" ");
  return `function Message(${parameters}) { this.$typeName = ${JSON.stringify(desc.typeName)}; ${stores} }
  Message.prototype = ${constants.nameOf(prototype)};`;
}

function messageSource(plan: MessagePlan, slots: readonly Slot[]): string {
  const optional = slots.filter((slot) => slot.isOptional);
  const fixed = slots.filter((slot) => !slot.isOptional);
  const end = "if (unknown !== undefined) message.$unknown = unknown; return message;";
  if (plan.prototype !== undefined) {
    return `const message = new Message(${fixed.map((slot) => slot.variable).join(", ")}); ${storeSource(optional)} ${end}`;
  }
  const typeName = plan.desc.typeName;
  if (optional.length <= combinationsMax)
    return `let message; ${combinationSource(typeName, slots, optional, [])} ${end}`;
  const allSet = optional.map((slot) => `${slot.variable} !== undefined`).join(" && ");
  return `let message;
    if (${allSet}) message = ${objectSource(typeName, slots)};
    else { message = ${objectSource(typeName, fixed)}; ${storeSource(optional)} }
    ${end}`;
}

/** A literal for each combination of optional members. */
function combinationSource(
  typeName: string,
  slots: readonly Slot[],
  undecided: readonly Slot[],
  left: readonly Slot[],
): string {
  const [next, ...others] = undecided;
  if (next === undefined)
    return `message = ${objectSource(
      typeName,
      slots.filter((slot) => !left.includes(slot)),
    )};`;
  return `if (${next.variable} !== undefined) { ${combinationSource(typeName, slots, others, left)} }
    else { ${combinationSource(typeName, slots, others, [...left, next])} }`;
}

function objectSource(typeName: string, slots: readonly Slot[]): string {
  const properties = slots.map((slot) => `${JSON.stringify(slot.name)}: ${slot.variable}`);
  return `{ ${[`$typeName: ${JSON.stringify(typeName)}`, ...properties].join(", ")} }`;
}

function storeSource(slots: readonly Slot[]): string {
  return slots
    .map(({ name, variable }) => `if (${variable} !== undefined) message[${JSON.stringify(name)}] = ${variable};`)
    .join(" ");
}

function literal(value: unknown, constants: Constants): string {
  switch (typeof value) {
    case "bigint":
      return `${value}n`;
    case "number":
    case "boolean":
      return String(value);
    case "string":
      return JSON.stringify(value);
    default:
      return constants.nameOf(value);
  }
}

// ---------------------------------------------------------------------------------------------------------------- reading

function fieldSource(field: FieldPlan, slot: Slot, scope: Scope): string {
  if (field.shape === "map") return mapSource(field, slot, scope);
  const { value } = field;
  if (field.shape === "list") return listSource(field, slot, scope);
  const name = JSON.stringify(field.name);
  const isCase = field.oneof !== undefined;
  const previous = isCase ? `(${slot.variable}.case === ${name} ? ${slot.variable}.value : undefined)` : slot.variable;
  const store = isCase
    ? (source: string): string => `${slot.variable} = { case: ${name}, value: ${source} };`
    : (source: string): string => `${slot.variable} = ${source};`;
  if (value.kind !== "enum" || value.closed === undefined) return valueSource(value, store, previous, scope);
  const known = value.closed.map((number) => `case ${number}:`).join(" ");
  const keep = `(unknown ??= []).push(unknownEnumValue(${field.number}, tag & 7, n));`;
  return `${varintSource("n")} n |= 0; switch (n) { ${known} ${store("n")} break; default: ${keep} }`;
}

function listSource(field: FieldPlan, { variable }: Slot, scope: Scope): string {
  const { value } = field;
  const one = valueSource(value, (source) => `${variable}.push(${source});`, "undefined", scope);
  if (wireTypeOf(value) === 2) {
    // Elements follow each other: the next tag is compared in place.
    const tag = (field.number << 3) | 2;
    return tag > 127 ? one : `for (;;) { ${one} if (p < end && b[p] === ${tag}) p++; else break; }`;
  }
  return `if ((tag & 7) === 2) { ${lengthSource} const last = e; while (p < last) { ${one} } } else { ${one} }`;
}

function mapSource(field: FieldPlan, { variable }: Slot, scope: Scope): string {
  const readKey = valueSource(field.key, (source) => `key = ${source};`, "undefined", scope);
  const readValue = valueSource(field.value, (source) => `value = ${source};`, "value", scope);
  return `${lengthSource} const last = e; let key, value;
    while (p < last) {
      let inner = b[p++];
      if (inner > 127) { inner = readTag(b, p - 1); p = cursor.pos; }
      if ((0b11011000 >> (inner & 7)) & 1) refuseWireType(inner & 7);
      switch (inner >>> 3) {
        case 1: { ${readKey} break; }
        case 2: { ${readValue} break; }
        case 0: throw badTag;
        default: p = skipValue(b, p, inner & 7);
      }
    }
    if (key === undefined) key = ${zeroKey(field.key.type)};
    if (value === undefined) value = ${emptySource(field.value, scope)};
    if (key === "__proto__") setOwn(${variable}, key, value); else ${variable}[key] = value;`;
}

function zeroKey(type: ScalarType): string {
  if (type === ScalarType.STRING) return '""';
  return type === ScalarType.BOOL ? '"false"' : '"0"';
}

/** The value of a map entry that has none: made anew where it can be changed. */
function emptySource(value: ValuePlan, { constants }: Scope): string {
  const empty = emptyValue(value);
  if (typeof empty !== "object") return literal(empty, constants);
  return `${constants.nameOf(() => emptyValue(value))}()`;
}

/** Reads an unsigned varint into a variable; one byte in place. */
function varintSource(variable: string): string {
  return `${variable} = b[p++]; if (${variable} > 127) { ${variable} = readVarint(b, p - 1); p = cursor.pos; }`;
}

/** Reads a length; `e` is the end of what it announces. Written so that NaN (a length behind the last byte) is refused. */
const lengthSource = `${varintSource("n")} e = p + n; if (!(e <= limit)) throw truncated;`;

/** Reads a value at `p` and stores it. `previous` is the source of what a message would be merged into. */
function valueSource(value: ValuePlan, store: (source: string) => string, previous: string, scope: Scope): string {
  switch (value.kind) {
    case "enum":
      return `${varintSource("n")} ${store("n | 0")}`;
    case "scalar":
      return scalarSource(value.type, value.isChecked, value.isLongText, store);
    case "message": {
      const coder = scope.constants.nameOf(scope.coderOf(value.desc));
      return `${lengthSource} { const old = ${previous}; ${store(nestedSource(value, coder, scope))} p = cursor.pos; }`;
    }
  }
}

/** A message into the one that `old` names, if there is one, in the form of the field. */
function nestedSource(plan: NestedPlan, coder: string, { constants }: Scope): string {
  const read = `${coder}.read(b, p, e, depth + 1)`;
  const merge = (into: string): string => `${coder}.merge(b, p, e, depth + 1, ${into})`;
  if (plan.form === "message") return `old === undefined ? ${read} : ${merge("old")}`;
  const name = constants.nameOf(plan);
  if (plan.form === "struct") return `localOf(${name}, ${read}, old)`;
  return `localOf(${name}, old === undefined ? ${read} : ${merge(`messageOf(${name}, old)`)})`;
}

function scalarSource(
  type: ScalarType,
  isChecked: boolean,
  isLongText: boolean,
  store: (source: string) => string,
): string {
  const long = isLongText ? (source: string): string => store(`String(${source})`) : store;
  const smallLong = (read: string): string =>
    `n = b[p++]; if (n < 128) { ${long("smallLongs[n]")} } else { ${long(`${read}(b, p - 1)`)} p = cursor.pos; }`;
  switch (type) {
    case ScalarType.STRING:
      return `${lengthSource} ${store(`${isChecked ? "readText" : "readUncheckedText"}(b, p, e)`)} p = e;`;
    case ScalarType.BYTES:
      return `${lengthSource} ${store("readBytes(b, p, e)")} p = e;`;
    case ScalarType.BOOL:
      return `n = b[p++]; if (n < 128) { ${store("n !== 0")} } else { ${store("readBool(b, p - 1)")} p = cursor.pos; }`;
    case ScalarType.DOUBLE:
      return `${store("readDouble(b, p)")} p += 8;`;
    case ScalarType.FLOAT:
      return `${store("readFloat(b, p)")} p += 4;`;
    case ScalarType.INT32:
      return `${varintSource("n")} ${store("n | 0")}`;
    case ScalarType.UINT32:
      return `${varintSource("n")} ${store("n")}`;
    case ScalarType.SINT32:
      return `${varintSource("n")} ${store("(n >>> 1) ^ -(n & 1)")}`;
    case ScalarType.FIXED32:
      return `${store("readWord(b, p) >>> 0")} p += 4;`;
    case ScalarType.SFIXED32:
      return `${store("readWord(b, p)")} p += 4;`;
    case ScalarType.INT64:
      return smallLong("readInt64");
    case ScalarType.UINT64:
      return smallLong("readUint64");
    case ScalarType.SINT64:
      return `${long("readSint64(b, p)")} p = cursor.pos;`;
    case ScalarType.FIXED64:
      return `${long("readFixed64(b, p)")} p += 8;`;
    case ScalarType.SFIXED64:
      return `${long("readSfixed64(b, p)")} p += 8;`;
  }
}
