/**
 * Hot path: the writers of protobuf's values. Each takes bytes and a position and gives the position after what it wrote.
 *
 * A writer may run past the end: stores to a typed array beyond its length are dropped, and natives that would throw are given
 * only what fits. The position keeps counting, so the caller sees that it did not fit, and how much room was needed.
 * Source: protobuf encoding guide; bytes are those of protobuf-es's BinaryWriter.
 */
import { wrongValue } from "./invalid-message.ts";

/** Natives that `Buffer.write` and `toString` end in; called directly they cost half. */
interface Utf8Buffer extends Buffer {
  utf8Write(text: string, at: number): number;
}

/** Text up to this length is written by a loop; above it the native call is cheaper (measured: they meet at 20 to 24). */
const shortTextMax = 20;
/** Bytes up to this length are copied by a loop. */
const shortBytesMax = 24;

const doubles: Float64Array = new Float64Array(1);
const doubleWords: Uint32Array = new Uint32Array(doubles.buffer);
const floats: Float32Array = new Float32Array(1);
const floatWords: Uint32Array = new Uint32Array(floats.buffer);
const longs: BigInt64Array = new BigInt64Array(1);
const unsignedLongs: BigUint64Array = new BigUint64Array(longs.buffer);
const longWords: Uint32Array = new Uint32Array(longs.buffer);
/** The index of the low word: 0 on little-endian machines. */
const low: number = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1 ? 0 : 1;
const high: number = 1 - low;

/** An unsigned varint; `value` is an integer in 0 .. 2^32 - 1 (not checked). */
export function writeVarint(bytes: Buffer, at: number, value: number): number {
  let p = at;
  let rest = value;
  while (rest > 127) {
    bytes[p++] = (rest & 127) | 128;
    rest >>>= 7;
  }
  bytes[p++] = rest;
  return p;
}

/** int32 and enums: negative numbers take ten bytes. */
export function writeInt32(bytes: Buffer, at: number, value: unknown): number {
  if (typeof value !== "number") throw wrongValue;
  const int = value | 0;
  if (int !== value) throw wrongValue;
  if (int >= 0) return writeVarint(bytes, at, int);
  let p = at;
  let rest = int;
  for (let i = 0; i < 9; i++) {
    bytes[p++] = (rest & 127) | 128;
    rest >>= 7;
  }
  bytes[p++] = 1;
  return p;
}

export function writeUint32(bytes: Buffer, at: number, value: unknown): number {
  if (typeof value !== "number") throw wrongValue;
  const int = value >>> 0;
  if (int !== value) throw wrongValue;
  return writeVarint(bytes, at, int);
}

export function writeSint32(bytes: Buffer, at: number, value: unknown): number {
  if (typeof value !== "number") throw wrongValue;
  const int = value | 0;
  if (int !== value) throw wrongValue;
  return writeVarint(bytes, at, ((int << 1) ^ (int >> 31)) >>> 0);
}

export function writeBool(bytes: Buffer, at: number, value: unknown): number {
  if (typeof value !== "boolean") throw wrongValue;
  bytes[at] = value ? 1 : 0;
  return at + 1;
}

export function writeFixed32(bytes: Buffer, at: number, value: unknown): number {
  if (typeof value !== "number") throw wrongValue;
  const int = value >>> 0;
  if (int !== value) throw wrongValue;
  return writeWord(bytes, at, int);
}

export function writeSfixed32(bytes: Buffer, at: number, value: unknown): number {
  if (typeof value !== "number") throw wrongValue;
  const int = value | 0;
  if (int !== value) throw wrongValue;
  return writeWord(bytes, at, int);
}

export function writeDouble(bytes: Buffer, at: number, value: unknown): number {
  if (typeof value !== "number") throw wrongValue;
  doubles[0] = value;
  writeWord(bytes, at, doubleWords[low] as number);
  return writeWord(bytes, at + 4, doubleWords[high] as number);
}

/** Finite numbers that no float can hold are refused, as protobuf-es does. */
export function writeFloat(bytes: Buffer, at: number, value: unknown): number {
  if (typeof value !== "number") throw wrongValue;
  floats[0] = value;
  if (Number.isFinite(value) && !Number.isFinite(floats[0])) throw wrongValue;
  return writeWord(bytes, at, floatWords[0] as number);
}

export function writeInt64(bytes: Buffer, at: number, value: unknown): number {
  loadSigned(value);
  return writeLongVarint(bytes, at, longWords[low] as number, longWords[high] as number);
}

export function writeUint64(bytes: Buffer, at: number, value: unknown): number {
  loadUnsigned(value);
  return writeLongVarint(bytes, at, longWords[low] as number, longWords[high] as number);
}

export function writeSint64(bytes: Buffer, at: number, value: unknown): number {
  loadSigned(value);
  const lo = longWords[low] as number;
  const hi = longWords[high] as number;
  const sign = (hi | 0) >> 31;
  return writeLongVarint(bytes, at, ((lo << 1) ^ sign) >>> 0, (((hi << 1) | (lo >>> 31)) ^ sign) >>> 0);
}

export function writeFixed64(bytes: Buffer, at: number, value: unknown): number {
  loadUnsigned(value);
  writeWord(bytes, at, longWords[low] as number);
  return writeWord(bytes, at + 4, longWords[high] as number);
}

export function writeSfixed64(bytes: Buffer, at: number, value: unknown): number {
  loadSigned(value);
  writeWord(bytes, at, longWords[low] as number);
  return writeWord(bytes, at + 4, longWords[high] as number);
}

/** Length and UTF-8. A lone surrogate becomes U+FFFD, as TextEncoder does. */
export function writeText(bytes: Buffer, at: number, value: unknown): number {
  if (typeof value !== "string") throw wrongValue;
  const length = value.length;
  if (length > shortTextMax) return writeLongText(bytes, at, value);
  let p = at + 1;
  for (let i = 0; i < length; i++) {
    const code = value.charCodeAt(i);
    if (code > 127) return writeLongText(bytes, at, value);
    bytes[p++] = code;
  }
  bytes[at] = length;
  return p;
}

/** Length and bytes. Arrays of numbers are taken too, as protobuf-es's `create` does. */
export function writeBytes(bytes: Buffer, at: number, value: unknown): number {
  if (!(value instanceof Uint8Array)) {
    if (Array.isArray(value)) return writeBytes(bytes, at, Uint8Array.from(value as number[]));
    throw wrongValue;
  }
  const length = value.length;
  return writeRaw(bytes, writeVarint(bytes, at, length), value);
}

/** Bytes without their length. */
export function writeRaw(bytes: Buffer, at: number, value: Uint8Array): number {
  const length = value.length;
  const end = at + length;
  if (length <= shortBytesMax) {
    for (let i = 0; i < length; i++) bytes[at + i] = value[i] as number;
  } else if (end <= bytes.length) {
    bytes.set(value, at);
  }
  return end;
}

/**
 * Ends what began at `at` with one byte reserved for its length: fills in the length of [at + 1, end), and moves the content when
 * the length needs more than one byte. Gives the new end.
 */
export function closeLength(bytes: Buffer, at: number, end: number): number {
  const length = end - at - 1;
  if (length < 128) {
    bytes[at] = length;
    return end;
  }
  const shift = varintSize(length) - 1;
  // Content that ran past the end is lost already; copyWithin clamps.
  bytes.copyWithin(at + 1 + shift, at + 1, end);
  writeVarint(bytes, at, length);
  return end + shift;
}

/** How many bytes an unsigned varint takes. */
export function varintSize(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  if (value < 0x200000) return 3;
  return value < 0x10000000 ? 4 : 5;
}

function writeLongText(bytes: Buffer, at: number, value: string): number {
  // Most text is ASCII: the length is guessed to be that of the string.
  const guess = varintSize(value.length);
  if (at + 5 + value.length * 3 > bytes.length) {
    const length = Buffer.byteLength(value);
    const end = at + varintSize(length) + length;
    if (end > bytes.length) return end;
    const start = writeVarint(bytes, at, length);
    (bytes as Utf8Buffer).utf8Write(value, start);
    return end;
  }
  const written = (bytes as Utf8Buffer).utf8Write(value, at + guess);
  const size = varintSize(written);
  if (size !== guess) bytes.copyWithin(at + size, at + guess, at + guess + written);
  writeVarint(bytes, at, written);
  return at + size + written;
}

function writeWord(bytes: Buffer, at: number, word: number): number {
  bytes[at] = word;
  bytes[at + 1] = word >>> 8;
  bytes[at + 2] = word >>> 16;
  bytes[at + 3] = word >>> 24;
  return at + 4;
}

function writeLongVarint(bytes: Buffer, at: number, lo: number, hi: number): number {
  let p = at;
  let l = lo;
  let h = hi;
  while (h !== 0 || l > 127) {
    bytes[p++] = (l & 127) | 128;
    l = ((l >>> 7) | (h << 25)) >>> 0;
    h >>>= 7;
  }
  bytes[p++] = l;
  return p;
}

/** Puts a signed 64-bit value into `longWords`. Numbers and decimal strings (`jstype`) are taken too, as protobuf-es does. */
function loadSigned(value: unknown): void {
  const int = typeof value === "bigint" ? value : bigintOf(value);
  longs[0] = int;
  // The store keeps 64 bits only: a value out of range does not come back.
  if (longs[0] !== int) throw wrongValue;
}

function loadUnsigned(value: unknown): void {
  const int = typeof value === "bigint" ? value : bigintOf(value);
  unsignedLongs[0] = int;
  if (unsignedLongs[0] !== int) throw wrongValue;
}

function bigintOf(value: unknown): bigint {
  if (typeof value === "number" && Number.isInteger(value)) return BigInt(value);
  if (typeof value === "string" && /^-?\d{1,20}$/.test(value)) return BigInt(value);
  throw wrongValue;
}
