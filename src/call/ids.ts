/**
 * Hot path: call ids and trace context as words, and their hex forms. A call id is 32 hex digits: 48 bits of wall time
 * in milliseconds, 16 bits of check, 64 random bits; its mint time can be read from it. The check tells it from a key of the caller's own
 * that is 32 hex digits too (an MD5, a UUID), in which there is no time to be read. `traceparent` is W3C Trace Context level 1.
 */
import type { World } from "../world/world.ts";
import type { TraceWords } from "./scope.ts";

/** A call id as four 32-bit words. */
export interface IdWords {
  id0: number;
  id1: number;
  id2: number;
  id3: number;
}

const HEX: Buffer = Buffer.alloc(512);
for (let i = 0; i < 256; i++) HEX.write(i.toString(16).padStart(2, "0"), i * 2, "latin1");

const DIGIT: Int8Array = new Int8Array(256).fill(-1);
for (let i = 0; i < 10; i++) DIGIT[48 + i] = i;
for (let i = 0; i < 6; i++) DIGIT[97 + i] = 10 + i;

export const CALL_ID_BYTES = 32;
export const TRACEPARENT_BYTES = 55;

/** Writes a 32-bit word as eight hex digits. */
export function writeHexWord(out: Buffer, at: number, word: number): void {
  for (let shift = 24, p = at; shift >= 0; shift -= 8, p += 2) {
    const i = ((word >>> shift) & 0xff) << 1;
    out[p] = HEX[i] as number;
    out[p + 1] = HEX[i + 1] as number;
  }
}

/** Writes `00-<trace>-<span>-<flags>`. */
export function writeTraceparent(out: Buffer, at: number, words: TraceWords): void {
  out[at] = 48;
  out[at + 1] = 48;
  out[at + 2] = 45;
  writeHexWord(out, at + 3, words.trace0);
  writeHexWord(out, at + 11, words.trace1);
  writeHexWord(out, at + 19, words.trace2);
  writeHexWord(out, at + 27, words.trace3);
  out[at + 35] = 45;
  writeHexWord(out, at + 36, words.span0);
  writeHexWord(out, at + 44, words.span1);
  out[at + 52] = 45;
  const flags = (words.traceFlags & 0xff) << 1;
  out[at + 53] = HEX[flags] as number;
  out[at + 54] = HEX[flags + 1] as number;
}

/** Whether the last {@link readHexWord} met a character that is no lower-case hex digit. */
let isBadHex = false;

function readHexWord(bytes: Buffer, at: number): number {
  let word = 0;
  for (let i = at; i < at + 8; i++) {
    const digit = DIGIT[bytes[i] as number] as number;
    if (digit < 0) isBadHex = true;
    word = (word << 4) | digit;
  }
  return word;
}

/** Reads a traceparent of version 00 into `words`; false, and zeros, if it is malformed or all zero. */
export function readTraceparent(bytes: Buffer, start: number, end: number, words: TraceWords): boolean {
  if (
    end - start === TRACEPARENT_BYTES &&
    bytes[start + 2] === 45 &&
    bytes[start + 35] === 45 &&
    bytes[start + 52] === 45
  ) {
    isBadHex = bytes[start] !== 48 || bytes[start + 1] !== 48;
    words.trace0 = readHexWord(bytes, start + 3);
    words.trace1 = readHexWord(bytes, start + 11);
    words.trace2 = readHexWord(bytes, start + 19);
    words.trace3 = readHexWord(bytes, start + 27);
    words.span0 = readHexWord(bytes, start + 36);
    words.span1 = readHexWord(bytes, start + 44);
    const high = DIGIT[bytes[start + 53] as number] as number;
    const low = DIGIT[bytes[start + 54] as number] as number;
    words.traceFlags = (high << 4) | low;
    const isZero =
      (words.trace0 | words.trace1 | words.trace2 | words.trace3) === 0 || (words.span0 | words.span1) === 0;
    if (!isBadHex && !isZero && high >= 0 && low >= 0) return true;
  }
  words.trace0 = 0;
  words.trace1 = 0;
  words.trace2 = 0;
  words.trace3 = 0;
  words.span0 = 0;
  words.span1 = 0;
  words.traceFlags = 0;
  return false;
}

/** The eight hex digits of a word. */
export function hexOf(word: number): string {
  return (word >>> 0).toString(16).padStart(8, "0");
}

/** Makes a new id: 48 bits of wall time, 16 of check, 64 of chance. */
export function mintCallId(world: World, into: IdWords): void {
  const wallMs = world.clock.wallMs();
  const high = Math.floor(wallMs / 65_536);
  into.id0 = high | 0;
  into.id2 = world.random.uint32() | 0;
  into.id3 = world.random.uint32() | 0;
  const low = (wallMs - high * 65_536) & 0xffff;
  into.id1 = (low << 16) | checkOf(into.id0, low, into.id2, into.id3);
}

/** When an id was minted, in milliseconds since 1970 by its maker's clock; undefined for one that {@link mintCallId} has not made. */
export function mintedMsOf({ id0, id1, id2, id3 }: IdWords): number | undefined {
  const low = id1 >>> 16;
  return (id1 & 0xffff) === checkOf(id0, low, id2, id3) ? (id0 >>> 0) * 65_536 + low : undefined;
}

/** 16 bits that follow from the rest (the finalizer of MurmurHash3 over its words). */
function checkOf(id0: number, low: number, id2: number, id3: number): number {
  let h = id0 ^ Math.imul(low, 0x9e3779b1) ^ Math.imul(id2, 0x85ebca6b) ^ Math.imul(id3, 0xc2b2ae35);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) & 0xffff;
}

export function writeCallId(out: Buffer, at: number, words: IdWords): void {
  writeHexWord(out, at, words.id0);
  writeHexWord(out, at + 8, words.id1);
  writeHexWord(out, at + 16, words.id2);
  writeHexWord(out, at + 24, words.id3);
}

/** Reads 32 lower-case hex digits; false if they are something else (a key of the caller's own). */
export function readCallId(bytes: Buffer, at: number, into: IdWords): boolean {
  isBadHex = false;
  into.id0 = readHexWord(bytes, at);
  into.id1 = readHexWord(bytes, at + 8);
  into.id2 = readHexWord(bytes, at + 16);
  into.id3 = readHexWord(bytes, at + 24);
  return !isBadHex;
}

export function callIdText(words: IdWords): string {
  return hexOf(words.id0) + hexOf(words.id1) + hexOf(words.id2) + hexOf(words.id3);
}
