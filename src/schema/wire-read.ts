/**
 * Hot path: the readers of protobuf's values.
 *
 * Where a value ends is left in the one `cursor`, for a function has one result; decoding is synchronous and never calls user
 * code, so one is enough. Bounds are checked where a length is announced; a varint or fixed value may read past the limit (the
 * bytes there are garbage or undefined), which the end of the message around it finds: position > limit.
 * What is accepted is what protobuf-es's BinaryReader accepts, but for groups.
 */
import { isUtf8 } from "node:buffer";
import { badTag, badText, groupFound, longVarint, truncated } from "./invalid-message.ts";

/** Where reading stands; see above. */
export interface Cursor {
  /** After the last thing that was read. */
  pos: number;
  /** The end of the bytes being decoded. */
  limit: number;
  lo: number;
  hi: number;
  /** The input is the message's own buffer, which nobody else keeps or writes to. */
  isOwned: boolean;
}

/** One field that the schema does not know, as protobuf-es keeps it. */
export interface UnknownField {
  readonly no: number;
  readonly wireType: number;
  readonly data: Uint8Array;
}

/** Natives that `Buffer.toString` ends in. */
interface Utf8Buffer extends Buffer {
  utf8Slice(start: number, end: number): string;
}

/** protobuf-es's limit: the outermost message is level 1. */
export const depthMax = 100;
/** From here on memory is not cleared before it is filled. */
const largeBytes = 4096;

export const cursor: Cursor = { pos: 0, limit: 0, lo: 0, hi: 0, isOwned: false };

const doubles: Float64Array = new Float64Array(1);
const doubleWords: Uint32Array = new Uint32Array(doubles.buffer);
const floats: Float32Array = new Float32Array(1);
const floatWords: Uint32Array = new Uint32Array(floats.buffer);
const longs: BigInt64Array = new BigInt64Array(1);
const unsignedLongs: BigUint64Array = new BigUint64Array(longs.buffer);
const longWords: Uint32Array = new Uint32Array(longs.buffer);
const low: number = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1 ? 0 : 1;
const high: number = 1 - low;

/** A tag at `at` that may have more than one byte. The rest of a varint beyond 32 bits is refused here, and only here. */
export function readTag(bytes: Buffer, at: number): number {
  const tag = readVarint(bytes, at);
  const size = cursor.pos - at;
  if (size > 5 || (size === 5 && (bytes[at + 4] as number) > 15)) throw badTag;
  return tag;
}

/** Groups (3, 4) and what does not exist (6, 7). */
export function isRefused(wireType: number): boolean {
  return wireType > 5 || wireType === 3 || wireType === 4;
}

/** Throws for wire types that no field may have: groups (3, 4) and what does not exist (6, 7). */
export function refuseWireType(wireType: number): never {
  throw wireType === 3 || wireType === 4 ? groupFound : badTag;
}

/** The low 32 bits, unsigned, of a varint of up to ten bytes. */
export function readVarint(bytes: Buffer, at: number): number {
  let p = at;
  let byte = bytes[p++] as number;
  let result = byte & 127;
  if (byte > 127) {
    byte = bytes[p++] as number;
    result |= (byte & 127) << 7;
    if (byte > 127) {
      byte = bytes[p++] as number;
      result |= (byte & 127) << 14;
      if (byte > 127) {
        byte = bytes[p++] as number;
        result |= (byte & 127) << 21;
        if (byte > 127) {
          byte = bytes[p++] as number;
          result |= (byte & 15) << 28;
          for (let count = 5; byte > 127; count++) {
            if (count === 10) throw longVarint;
            byte = bytes[p++] as number;
          }
        }
      }
    }
  }
  cursor.pos = p;
  return result >>> 0;
}

/** Puts a 64-bit varint into `cursor.lo` and `cursor.hi`. */
export function readLong(bytes: Buffer, at: number): void {
  let p = at;
  let lo = 0;
  let hi = 0;
  let byte = 0;
  for (let shift = 0; shift < 28; shift += 7) {
    byte = bytes[p++] as number;
    lo |= (byte & 127) << shift;
    if (!(byte > 127)) return leaveLong(lo, hi, p);
  }
  byte = bytes[p++] as number;
  lo |= (byte & 15) << 28;
  hi = (byte & 0x70) >> 4;
  if (!(byte > 127)) return leaveLong(lo, hi, p);
  for (let shift = 3; shift <= 31; shift += 7) {
    byte = bytes[p++] as number;
    hi |= (byte & 127) << shift;
    if (!(byte > 127)) return leaveLong(lo, hi, p);
  }
  throw longVarint;
}

export function readInt64(bytes: Buffer, at: number): bigint {
  readLong(bytes, at);
  return signedLong(cursor.lo, cursor.hi);
}

export function readUint64(bytes: Buffer, at: number): bigint {
  readLong(bytes, at);
  return unsignedLong(cursor.lo, cursor.hi);
}

export function readSint64(bytes: Buffer, at: number): bigint {
  readLong(bytes, at);
  const { lo, hi } = cursor;
  const sign = -(lo & 1);
  return signedLong(((lo >>> 1) | (hi << 31)) ^ sign, (hi >>> 1) ^ sign);
}

/** A varint that is true if any of its 64 bits is set. */
export function readBool(bytes: Buffer, at: number): boolean {
  readLong(bytes, at);
  return cursor.lo !== 0 || cursor.hi !== 0;
}

/** Four bytes as a signed word. Leaves the cursor alone, as all of fixed size do. */
export function readWord(bytes: Buffer, at: number): number {
  return (
    (bytes[at] as number) |
    ((bytes[at + 1] as number) << 8) |
    ((bytes[at + 2] as number) << 16) |
    ((bytes[at + 3] as number) << 24)
  );
}

export function readFloat(bytes: Buffer, at: number): number {
  floatWords[0] = readWord(bytes, at);
  return floats[0] as number;
}

export function readDouble(bytes: Buffer, at: number): number {
  doubleWords[low] = readWord(bytes, at);
  doubleWords[high] = readWord(bytes, at + 4);
  return doubles[0] as number;
}

export function readFixed64(bytes: Buffer, at: number): bigint {
  return unsignedLong(readWord(bytes, at), readWord(bytes, at + 4));
}

export function readSfixed64(bytes: Buffer, at: number): bigint {
  return signedLong(readWord(bytes, at), readWord(bytes, at + 4));
}

/** Text that must be UTF-8. A leading U+FEFF is text. */
export function readText(bytes: Buffer, start: number, end: number): string {
  const text = (bytes as Utf8Buffer).utf8Slice(start, end);
  // Decoding replaces what is not UTF-8 by U+FFFD, so only text that has one is looked at twice.
  if (text.includes("\ufffd") && !isUtf8(bytes.subarray(start, end))) throw badText;
  return text;
}

/** Text of a field whose UTF-8 is not checked (proto2, `utf8_validation = NONE`). */
export function readUncheckedText(bytes: Buffer, start: number, end: number): string {
  return (bytes as Utf8Buffer).utf8Slice(start, end);
}

/**
 * A copy in memory of its own: an alias would keep the whole received chunk alive. But where the input is the message's own
 * buffer and the field is most of it, the alias keeps little else alive and saves the copy.
 */
export function readBytes(bytes: Buffer, start: number, end: number): Uint8Array {
  const length = end - start;
  if (cursor.isOwned && length >= largeBytes && length * 2 >= bytes.length) {
    return new Uint8Array(bytes.buffer, bytes.byteOffset + start, length);
  }
  if (length >= largeBytes) {
    const large = Buffer.allocUnsafeSlow(length);
    bytes.copy(large, 0, start, end);
    return new Uint8Array(large.buffer);
  }
  const own = new Uint8Array(length);
  if (length > 32) {
    bytes.copy(own, 0, start, end);
  } else {
    for (let i = 0; i < length; i++) own[i] = bytes[start + i] as number;
  }
  return own;
}

/** The end of a length-delimited value whose length is announced at `at`; its content starts at `cursor.pos`. */
export function readEnd(bytes: Buffer, at: number): number {
  const length = readVarint(bytes, at);
  const end = cursor.pos + length;
  if (end > cursor.limit) throw truncated;
  return end;
}

/** Passes over the value at `at` and gives its end. */
export function skipValue(bytes: Buffer, at: number, wireType: number): number {
  let p = at;
  switch (wireType) {
    case 0:
      // As long as it likes: protobuf-es bounds a varint only where it reads one.
      while (p < cursor.limit && (bytes[p] as number) > 127) p++;
      p++;
      break;
    case 1:
      p += 8;
      break;
    case 2:
      p = readEnd(bytes, p);
      break;
    case 5:
      p += 4;
      break;
    default:
      refuseWireType(wireType);
  }
  if (p > cursor.limit) throw truncated;
  return p;
}

/** A field that is not known, copied out; leaves its end in `cursor.pos`. */
export function readUnknown(bytes: Buffer, at: number, no: number, wireType: number): UnknownField {
  const end = skipValue(bytes, at, wireType);
  const data = readBytes(bytes, at, end);
  cursor.pos = end;
  return { no, wireType, data };
}

/** A value that a closed enum does not have is kept as an unknown field, its varint written anew, as protobuf-es does. */
export function unknownEnumValue(no: number, wireType: number, value: number): UnknownField {
  const data: number[] = [];
  let rest = value;
  if (rest >= 0) {
    while (rest > 127) {
      data.push((rest & 127) | 128);
      rest >>>= 7;
    }
    data.push(rest);
  } else {
    for (let i = 0; i < 9; i++) {
      data.push((rest & 127) | 128);
      rest >>= 7;
    }
    data.push(1);
  }
  return { no, wireType, data: Uint8Array.from(data) };
}

function leaveLong(lo: number, hi: number, pos: number): void {
  cursor.lo = lo;
  cursor.hi = hi;
  cursor.pos = pos;
}

function signedLong(lo: number, hi: number): bigint {
  longWords[low] = lo;
  longWords[high] = hi;
  return longs[0] as bigint;
}

function unsignedLong(lo: number, hi: number): bigint {
  longWords[low] = lo;
  longWords[high] = hi;
  return unsignedLongs[0] as bigint;
}
