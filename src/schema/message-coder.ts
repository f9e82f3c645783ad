/**
 * What encodes and decodes one message type. There are two kinds: generated code, and closures where code may not be generated.
 */
import type { DescMessage } from "@bufbuild/protobuf";
import { truncated, wrongValue } from "./invalid-message.ts";
import { cursor, type UnknownField } from "./wire-read.ts";
import { writeRaw, writeVarint } from "./wire-write.ts";

/** Throws Refusals; a coder of the interpreted kind says where (Misfit). */
export interface MessageCoder {
  /** Writes a message without its length; gives the end, which is beyond `bytes` if it did not fit. */
  write(bytes: Buffer, at: number, message: unknown): number;
  /** Reads [at, end); leaves in `cursor.pos` where it stopped, which may be after `end` (as protobuf-es has it), never after `cursor.limit`. */
  read(bytes: Buffer, at: number, end: number, depth: number): object;
  /** As `read`, but into a message read before: scalars are replaced, lists grow, messages merge. */
  merge(bytes: Buffer, at: number, end: number, depth: number, into: object): object;
}

/** The coder of a message type, made once. */
export type CoderOf = (desc: DescMessage) => MessageCoder;

/** Any message, or its init shape. */
export type Fields = Readonly<Record<string, unknown>>;

/** What is encoded must be a message of this type or a plain object (its init shape). */
export function checkInit(message: unknown, typeName: string): void {
  if (typeof message !== "object" || message === null || Array.isArray(message)) throw wrongValue;
  const given = (message as { readonly $typeName?: unknown }).$typeName;
  if (given !== undefined && given !== typeName) throw wrongValue;
}

/** Fields that the schema does not know, as they came. Only a message has them, an init shape does not. */
export function writeUnknown(bytes: Buffer, at: number, fields: readonly UnknownField[]): number {
  let p = at;
  for (const { no, wireType, data } of fields)
    p = writeRaw(bytes, writeVarint(bytes, p, ((no << 3) | wireType) >>> 0), data);
  return p;
}

/** The end of a message body: a value that ran past the limit was cut. */
export function endMessage(pos: number): void {
  if (pos > cursor.limit) throw truncated;
  cursor.pos = pos;
}

/** Map keys are strings in objects; here they become what is written. Throws a Refusal for a key that is no such value. */
export function integerKey(key: string): number {
  const value = Number(key);
  if (String(value) !== key) throw wrongValue;
  return value;
}

export function booleanKey(key: string): boolean {
  if (key !== "true" && key !== "false") throw wrongValue;
  return key === "true";
}
