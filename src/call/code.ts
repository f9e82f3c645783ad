/**
 * How a call ends: gRPC's sixteen failures by name, and their numbers on the wire.
 * Source: grpc/doc/statuscodes.md, google.rpc.Code.
 */

/** gRPC's sixteen failures. OK is not among them: a call that is OK returns. */
export type Code =
  | "CANCELLED"
  | "UNKNOWN"
  | "INVALID_ARGUMENT"
  | "DEADLINE_EXCEEDED"
  | "NOT_FOUND"
  | "ALREADY_EXISTS"
  | "PERMISSION_DENIED"
  | "RESOURCE_EXHAUSTED"
  | "FAILED_PRECONDITION"
  | "ABORTED"
  | "OUT_OF_RANGE"
  | "UNIMPLEMENTED"
  | "INTERNAL"
  | "UNAVAILABLE"
  | "DATA_LOSS"
  | "UNAUTHENTICATED";

/** How a call or an attempt ended, success included. */
export type CodeOrOk = Code | "OK";

/** All codes; the index is the number on the wire. */
export const codesByNumber: readonly CodeOrOk[] = Object.freeze([
  "OK",
  "CANCELLED",
  "UNKNOWN",
  "INVALID_ARGUMENT",
  "DEADLINE_EXCEEDED",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "PERMISSION_DENIED",
  "RESOURCE_EXHAUSTED",
  "FAILED_PRECONDITION",
  "ABORTED",
  "OUT_OF_RANGE",
  "UNIMPLEMENTED",
  "INTERNAL",
  "UNAVAILABLE",
  "DATA_LOSS",
  "UNAUTHENTICATED",
] as const);

const numbers: Readonly<Record<CodeOrOk, number>> = Object.freeze({
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
});

/** The number on the wire: OK is 0, UNAUTHENTICATED is 16. */
export function codeNumber(code: CodeOrOk): number {
  return numbers[code];
}

/** The code of a number; what is not an integer in 0..16 is "UNKNOWN", as gRPC demands of clients (statuscodes.md). */
export function codeOf(value: number): CodeOrOk {
  return codesByNumber[value] ?? "UNKNOWN";
}

/** Whether a value, from a caller without types, is one of the sixteen failures. */
export function isCode(value: unknown): value is Code {
  return typeof value === "string" && value !== "OK" && Object.hasOwn(numbers, value);
}
