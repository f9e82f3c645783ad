/**
 * Some well-known types stand in a field in a form of their own: google.protobuf.Struct as a JSON object, wrappers
 * (google.protobuf.StringValue and its like) as their value. Here such forms become messages and back, as in protobuf-es.
 */
import { create } from "@bufbuild/protobuf";
import { type NestedPlan, type ValuePlan, zeroOf } from "./field-plan.ts";
import { wrongValue } from "./invalid-message.ts";

interface ValueMessage {
  readonly $typeName: "google.protobuf.Value";
  readonly kind: { readonly case: string | undefined; readonly value?: unknown };
}

/** The message of what stands in a field. Refuses what has no message. */
export function messageOf(plan: NestedPlan, local: unknown): unknown {
  switch (plan.form) {
    case "message":
      return local;
    case "wrapper":
      return { $typeName: plan.desc.typeName, value: local };
    case "struct":
      return structFromJson(local);
  }
}

/**
 * What stands in a field for a message that was read. A Struct that was read before (`previous`) takes the new keys: to make a message of
 * it, to merge that and to make JSON again would cost by what is there, not by what comes.
 */
export function localOf(plan: NestedPlan, message: object, previous?: unknown): unknown {
  switch (plan.form) {
    case "message":
      return message;
    case "wrapper":
      return (message as { readonly value: unknown }).value;
    case "struct":
      return structToJson(message, previous as Record<string, unknown> | undefined);
  }
}

/** The value of a map entry that has none. */
export function emptyValue(plan: ValuePlan): unknown {
  if (plan.kind === "enum") return plan.first;
  return plan.kind === "scalar" ? zeroOf(plan.type) : localOf(plan, create(plan.desc));
}

/** Sets a property of the object's own, also one named `__proto__`, which an assignment would take for the prototype. */
export function setOwn(target: object, key: string, value: unknown): void {
  if (key === "__proto__") {
    Object.defineProperty(target, key, { value, writable: true, enumerable: true, configurable: true });
  } else {
    (target as Record<string, unknown>)[key] = value;
  }
}

/** What JSON cannot say is refused; `undefined` becomes an empty value. */
function structFromJson(json: unknown): object {
  if (typeof json !== "object" || json === null || Array.isArray(json)) throw wrongValue;
  const fields: Record<string, ValueMessage> = {};
  for (const [key, value] of Object.entries(json)) setOwn(fields, key, valueFromJson(value));
  return { $typeName: "google.protobuf.Struct", fields };
}

/** An empty value becomes null. */
function structToJson(struct: object, json: Record<string, unknown> = {}): Record<string, unknown> {
  for (const [key, value] of Object.entries((struct as { readonly fields: Record<string, ValueMessage> }).fields)) {
    setOwn(json, key, valueToJson(value));
  }
  return json;
}

function valueFromJson(json: unknown): ValueMessage {
  return { $typeName: "google.protobuf.Value", kind: kindFromJson(json) };
}

function kindFromJson(json: unknown): ValueMessage["kind"] {
  switch (typeof json) {
    case "number":
      return { case: "numberValue", value: json };
    case "string":
      return { case: "stringValue", value: json };
    case "boolean":
      return { case: "boolValue", value: json };
    case "undefined":
      return { case: undefined };
    case "object": {
      if (json === null) return { case: "nullValue", value: 0 };
      if (!Array.isArray(json)) return { case: "structValue", value: structFromJson(json) };
      const values = Array.from(json, valueFromJson);
      return { case: "listValue", value: { $typeName: "google.protobuf.ListValue", values } };
    }
    default:
      throw wrongValue;
  }
}

function valueToJson({ kind }: ValueMessage): unknown {
  switch (kind.case) {
    case undefined:
    case "nullValue":
      return null;
    case "structValue":
      return structToJson(kind.value as object);
    case "listValue":
      return (kind.value as { readonly values: readonly ValueMessage[] }).values.map(valueToJson);
    default:
      return kind.value;
  }
}
