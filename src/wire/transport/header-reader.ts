/**
 * Hot path: what gRPC says in header sections, read from decoded fields.
 */
import type { AnnouncedStore } from "../../call/dedup.ts";
import { type Encoding, encodingOf } from "../grpc/compression.ts";
import { parseGrpcContentType } from "../grpc/content-type.ts";
import { parseAnnouncedStore } from "../grpc/dedup-wire.ts";
import { isBinaryName, textToBinaryList } from "../grpc/metadata-wire.ts";
import type { Field, FieldSection } from "../http2/field.ts";

export type Pairs = (string | Uint8Array)[];

/** The message codec that a content-type names ("proto" if none), or undefined if it is not gRPC's. Kept in the field. */
export function contentTypeOf(field: Field): string | undefined {
  if (field.slot === undefined) field.slot = parseGrpcContentType(field.value) ?? false;
  return field.slot === false ? undefined : (field.slot as string);
}

/** The store of first answers that a field announces, or undefined if it cannot be read. Kept in the field: servers say it in every answer. */
export function storeIn(field: Field): AnnouncedStore | undefined {
  if (field.slot === undefined) field.slot = parseAnnouncedStore(field.value) ?? false;
  return field.slot === false ? undefined : (field.slot as AnnouncedStore);
}

/** The encoding that a field names, or undefined if we do not know it. */
export function encodingIn(field: Field): Encoding | undefined {
  return encodingOf(field.value);
}

/** Appends a field as metadata; binary values decoded. False: a binary value is no base64. */
export function appendField(pairs: Pairs, name: string, value: string): boolean {
  if (!isBinaryName(name)) {
    pairs.push(name, value);
    return true;
  }
  const values = textToBinaryList(value);
  if (values === undefined) return false;
  for (const bytes of values) pairs.push(name, bytes);
  return true;
}

/** The value of a raw name as text: from its bytes, or from a field if it came through a table. */
export function rawText(section: FieldSection, raw: number, nameId: number): string | undefined {
  const end = section.rawEnd[raw] as number;
  if (end !== 0) return section.rawBytes.toString("latin1", section.rawStart[raw], end);
  for (let i = 0; i < section.count; i++) {
    const field = section.fields[i] as Field;
    if (field.nameId === nameId) return field.value;
  }
  return undefined;
}
