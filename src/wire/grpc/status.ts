/**
 * How a call's end looks on the wire: `grpc-status`, `grpc-message`, and the codes that stand in for a missing status.
 * Source: grpc/doc/PROTOCOL-HTTP2.md (Responses, Errors), grpc/doc/http-grpc-status-mapping.md.
 */
import type { Code } from "../../call/code.ts";

/** The code of an answer that has no `grpc-status`, by its HTTP status (http-grpc-status-mapping.md). 200 without a status is UNKNOWN too. */
export function codeFromHttpStatus(httpStatus: number): Code {
  switch (httpStatus) {
    case 400:
      return "INTERNAL";
    case 401:
      return "UNAUTHENTICATED";
    case 403:
      return "PERMISSION_DENIED";
    case 404:
      return "UNIMPLEMENTED";
    case 429:
    case 502:
    case 503:
    case 504:
      return "UNAVAILABLE";
    default:
      return "UNKNOWN";
  }
}

/**
 * The code of a stream that its peer reset, by the HTTP/2 error code (RFC 9113 section 7). Codes without a row in gRPC's
 * table, and unknown ones, are INTERNAL (RFC 9113: unknown codes may be treated as INTERNAL_ERROR).
 */
export function codeFromHttp2Error(errorCode: number): Code {
  switch (errorCode) {
    case 0x7: // REFUSED_STREAM: not processed, so that it is safe to repeat
      return "UNAVAILABLE";
    case 0x8: // CANCEL
      return "CANCELLED";
    case 0xb: // ENHANCE_YOUR_CALM
      return "RESOURCE_EXHAUSTED";
    case 0xc: // INADEQUATE_SECURITY
      return "PERMISSION_DENIED";
    default:
      return "INTERNAL";
  }
}

/** The number of a `grpc-status`: decimal digits alone, else undefined. Numbers above 16 are given as they are (`codeOf` makes them UNKNOWN). */
export function parseStatusCode(text: string): number | undefined {
  const length = text.length;
  if (length === 0 || length > 9) return undefined;
  let value = 0;
  for (let i = 0; i < length; i++) {
    const digit = text.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) return undefined;
    value = value * 10 + digit;
  }
  return value;
}

const ENCODED_UNIT_MAX = 9;
const ELLIPSIS_BYTES = 9;
/** A space at either end is written as three characters. */
const EDGE_BYTES = 4;

/** Neither a percent sign nor anything outside 0x20..0x7e, and no space at either end. */
const plainPattern = /^(?:[!-$&-~](?:[ -$&-~]*[!-$&-~])?)?$/;

/**
 * A text as `grpc-message`: UTF-8, where every byte outside 0x20..0x7e and the percent sign is written as %XX. Spaces at the
 * ends are written as %20, for HTTP/2 forbids them there (RFC 9113 section 8.2.1). Lone surrogates become U+FFFD.
 */
export function encodeStatusMessage(text: string): string {
  if (plainPattern.test(text)) return text;
  const bytes = Buffer.from(text, "utf8");
  let encoded = "";
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i] as number;
    const isAtEdge = i === 0 || i === bytes.length - 1;
    const isPlain = byte >= 0x20 && byte <= 0x7e && byte !== 0x25 && !(isAtEdge && byte === 0x20);
    encoded += isPlain ? String.fromCharCode(byte) : `%${byte < 16 ? "0" : ""}${byte.toString(16).toUpperCase()}`;
  }
  return encoded;
}

/**
 * A text whose {@link encodeStatusMessage} is at most `bytesMax` bytes (13 or more): itself, or its beginning and an ellipsis, cut between
 * two characters, never inside one.
 */
export function cutStatusMessage(text: string, bytesMax: number): string {
  // A UTF-16 unit is at most three bytes, and each at most three characters.
  if (text.length * ENCODED_UNIT_MAX <= bytesMax) return text;
  const room = bytesMax - ELLIPSIS_BYTES;
  let at = 0;
  let kept = 0;
  let bytes = EDGE_BYTES;
  for (const character of text) {
    bytes += encodedLength(character.codePointAt(0) as number);
    if (bytes > bytesMax) return `${text.slice(0, kept)}\u2026`;
    at += character.length;
    if (bytes <= room) kept = at;
  }
  return text;
}

/** Of one character; a lone surrogate goes as U+FFFD. */
function encodedLength(point: number): number {
  if (point < 0x80) return point >= 0x20 && point !== 0x7f && point !== 0x25 ? 1 : 3;
  return point < 0x800 ? 6 : point < 0x10000 ? 9 : 12;
}

/**
 * The text of a `grpc-message`. Never fails: what is no %XX stays as it is, bytes that are not UTF-8 become U+FFFD. Raw
 * bytes above 0x7e, which some peers send, are taken as UTF-8.
 */
export function decodeStatusMessage(text: string): string {
  if (plainPattern.test(text)) return text;
  const raw = Buffer.from(text, isLatin1(text) ? "latin1" : "utf8");
  const bytes = Buffer.allocUnsafe(raw.length);
  let length = 0;
  for (let i = 0; i < raw.length; i++) {
    const byte = raw[i] as number;
    const high = byte === 0x25 ? hexDigit(raw[i + 1]) : -1;
    const low = high >= 0 ? hexDigit(raw[i + 2]) : -1;
    if (low >= 0) {
      bytes[length++] = high * 16 + low;
      i += 2;
    } else {
      bytes[length++] = byte;
    }
  }
  return bytes.toString("utf8", 0, length);
}

function hexDigit(byte: number | undefined): number {
  if (byte === undefined) return -1;
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x61 + 10 : -1;
}

function isLatin1(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0xff) return false;
  return true;
}
