/**
 * What a codec says about a value that does not fit its type, and about bytes that are not a message.
 */

/**
 * A value cannot be encoded, or bytes cannot be decoded. `message` names the type, the path of the field, what came and what was
 * expected; it never holds text or bytes of the payload.
 */
export class InvalidMessageError extends Error {
  override readonly name: string = "InvalidMessageError";
  /** Full protobuf name of the message that was encoded or decoded. */
  readonly typeName: string;
  /** Where in it: `items[2].quantity`; empty when it is the message itself. */
  readonly path: string;

  constructor(typeName: string, path: string, problem: string, options?: { readonly cause?: unknown }) {
    super(`${path === "" ? typeName : `${typeName}.${path}`}: ${problem}`, options);
    this.typeName = typeName;
    this.path = path;
  }
}

/** A descriptor that the codec does not serve: delimited fields (groups). Thrown when a codec is made, never by a call. */
export class UnsupportedError extends Error {
  override readonly name: string = "UnsupportedError";
}

/**
 * Thrown inside the codec as one of a few constants, so that a refusal costs no stack. Never leaves the room: the codec looks
 * for the place that caused it and throws an InvalidMessageError.
 */
export class Refusal extends Error {}

/** The value has the wrong type or is out of range; what was expected is known to the field. */
export const wrongValue: Refusal = new Refusal("the value does not fit the field");
/** More bytes were announced than there are. */
export const truncated: Refusal = new Refusal("the bytes end too early");
/** A varint of more than ten bytes. */
export const longVarint: Refusal = new Refusal("a varint is longer than 10 bytes");
/** A tag of more than 32 bits, field number 0, or wire type 6 or 7. */
export const badTag: Refusal = new Refusal("a tag is not valid");
/** Wire type 3 or 4. */
export const groupFound: Refusal = new Refusal("a group was found (wire type 3 or 4), and groups are not supported");
/** Messages nested deeper than protobuf-es's limit of 100. */
export const tooDeep: Refusal = new Refusal("messages are nested deeper than 100 levels");
/** A string field that must hold UTF-8 and does not. */
export const badText: Refusal = new Refusal("the text is not valid UTF-8");

/** What came, for an error text: numbers by value, everything else by kind, so that no payload is shown. */
export function describeCame(value: unknown): string {
  switch (typeof value) {
    case "number":
    case "boolean":
    case "undefined":
      return String(value);
    case "bigint":
      return `${value}n`;
    case "string":
      return `a string of ${value.length} characters`;
    case "object":
      if (value === null) return "null";
      if (Array.isArray(value)) return `an array of ${value.length}`;
      if (value instanceof Uint8Array) return `${value.length} bytes`;
      return "$typeName" in value && typeof value.$typeName === "string" ? `a message ${value.$typeName}` : "an object";
    default:
      return `a ${typeof value}`;
  }
}
