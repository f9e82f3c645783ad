/**
 * Binary metadata on the wire: base64, written without padding, read with or without.
 * Source: grpc/doc/PROTOCOL-HTTP2.md (Binary-Header).
 */
export { isBinaryName, isReservedName } from "../../call/metadata-names.ts";

/** Bytes as base64 without padding. */
export function binaryToText(bytes: Uint8Array): string {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
  // Cut by arithmetic: 1 or 2 bytes beyond a multiple of 3 are padded by 2 or 1 characters.
  const beyond = bytes.byteLength % 3;
  return beyond === 0 ? text : text.slice(0, beyond - 3);
}

/**
 * The bytes of base64, padded or not; undefined for anything else: another alphabet, spaces, padding that is too short or
 * in the middle, bits left over. One value has one form, so that nothing can be smuggled past a comparison.
 */
export function textToBinary(text: string): Uint8Array | undefined {
  const unpadded = withoutPadding(text);
  if (unpadded === undefined) return undefined;
  const bytes = Buffer.from(unpadded, "base64");
  // Node skips what it does not know; writing it again shows whether anything was skipped.
  return binaryToText(bytes) === unpadded ? bytes : undefined;
}

/** The values of a `-bin` field, which intermediaries may have joined by commas; undefined if one of them is malformed. */
export function textToBinaryList(text: string): Uint8Array[] | undefined {
  if (!text.includes(",")) {
    const bytes = textToBinary(text);
    return bytes === undefined ? undefined : [bytes];
  }
  const list: Uint8Array[] = [];
  for (const part of text.split(",")) {
    const bytes = textToBinary(trimmed(part));
    if (bytes === undefined) return undefined;
    list.push(bytes);
  }
  return list;
}

function withoutPadding(text: string): string | undefined {
  if (!text.endsWith("=")) return text;
  if (text.length % 4 !== 0) return undefined;
  return text.slice(0, text.endsWith("==") ? -2 : -1);
}

/** Without the spaces and tabs that HTTP allows around the members of a list (RFC 9110 section 5.6.1). */
function trimmed(part: string): string {
  return part.replace(/^[ \t]+|[ \t]+$/g, "");
}
