/** Frames as a test writes them, and frames and header blocks as it reads them back. Knows nothing of the engine's state. */
import {
  CLIENT_PREFACE,
  FLAG_ACK,
  FLAG_END_HEADERS,
  FLAG_END_STREAM,
  FLAG_PADDED,
  FRAME_CONTINUATION,
  FRAME_DATA,
  FRAME_GOAWAY,
  FRAME_HEADER_BYTES,
  FRAME_HEADERS,
  FRAME_PING,
  FRAME_PRIORITY,
  FRAME_RST_STREAM,
  FRAME_SETTINGS,
  FRAME_WINDOW_UPDATE,
  readUint32,
  writeFrameHeader,
  writeUint32,
} from "../frame.ts";
import type { HpackEncoder } from "../hpack-encoder.ts";
import type { HeaderSource } from "../stream.ts";

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly id: number;
  readonly payload: Buffer;
}

export type Pair = readonly [name: string, value: string];

export const REQUEST_FIELDS: readonly Pair[] = [
  [":method", "POST"],
  [":scheme", "http"],
  [":path", "/calc.v1.Calculator/Add"],
  [":authority", "calc"],
  ["te", "trailers"],
  ["content-type", "application/grpc"],
];
export const RESPONSE_FIELDS: readonly Pair[] = [
  [":status", "200"],
  ["content-type", "application/grpc"],
];
export const TRAILER_FIELDS: readonly Pair[] = [["grpc-status", "0"]];

export function frame(type: number, flags: number, id: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const out = Buffer.alloc(FRAME_HEADER_BYTES + payload.length);
  writeFrameHeader(out, 0, payload.length, type, flags, id);
  out.set(payload, FRAME_HEADER_BYTES);
  return out;
}

/** A frame whose payload is these 32-bit numbers. */
export function numbers(type: number, flags: number, id: number, ...values: number[]): Buffer {
  const payload = Buffer.alloc(values.length * 4);
  values.forEach((value, i) => {
    writeUint32(payload, i * 4, value);
  });
  return frame(type, flags, id, payload);
}

export function settings(...entries: (readonly [id: number, value: number])[]): Buffer {
  const payload = Buffer.alloc(entries.length * 6);
  entries.forEach(([id, value], i) => {
    payload.writeUInt16BE(id, i * 6);
    payload.writeUInt32BE(value, i * 6 + 2);
  });
  return frame(FRAME_SETTINGS, 0, 0, payload);
}

export const settingsAck = (): Buffer => frame(FRAME_SETTINGS, FLAG_ACK, 0);
export const ping = (text = "12345678", flags = 0): Buffer => frame(FRAME_PING, flags, 0, Buffer.from(text, "latin1"));
export const reset = (id: number, code = 8): Buffer => numbers(FRAME_RST_STREAM, 0, id, code);
export const windowUpdate = (id: number, increment: number): Buffer => numbers(FRAME_WINDOW_UPDATE, 0, id, increment);
export const goAway = (lastId: number, code = 0): Buffer => numbers(FRAME_GOAWAY, 0, 0, lastId, code);
export const priority = (id: number, dependsOn = 0): Buffer =>
  Buffer.concat([frame(FRAME_PRIORITY, 0, id, Buffer.from([0, 0, 0, dependsOn, 15]))]);
export const continuation = (id: number, block: Uint8Array, ends: boolean): Buffer =>
  frame(FRAME_CONTINUATION, ends ? FLAG_END_HEADERS : 0, id, block);

export function data(id: number, payload: Uint8Array | number, ends = false): Buffer {
  const bytes = typeof payload === "number" ? Buffer.alloc(payload, 0x61) : payload;
  return frame(FRAME_DATA, ends ? FLAG_END_STREAM : 0, id, bytes);
}

/** `padding` is what the padding length says; the same number of zeros follows. */
export function paddedData(id: number, payload: number, padding: number, ends = false): Buffer {
  const bytes = Buffer.concat([Buffer.from([padding]), Buffer.alloc(payload, 0x61), Buffer.alloc(padding)]);
  return frame(FRAME_DATA, FLAG_PADDED | (ends ? FLAG_END_STREAM : 0), id, bytes);
}

export function headers(id: number, fields: readonly Pair[] | Uint8Array, ends = false): Buffer {
  const block = fields instanceof Uint8Array ? fields : blockOf(fields as readonly Pair[]);
  return frame(FRAME_HEADERS, FLAG_END_HEADERS | (ends ? FLAG_END_STREAM : 0), id, block);
}

export const request = (id: number, ends = false): Buffer => headers(id, REQUEST_FIELDS, ends);
export const response = (id: number, ends = false): Buffer => headers(id, RESPONSE_FIELDS, ends);
export const trailers = (id: number): Buffer => headers(id, TRAILER_FIELDS, true);

/** Literals that enter no table, so that a block means the same wherever it stands. Any bytes, also forbidden ones. */
export function blockOf(fields: readonly Pair[]): Buffer {
  return Buffer.concat(fields.map(([name, value]) => Buffer.concat([Buffer.from([0]), text(name), text(value)])));
}

/** What a client sends before anything else. */
export const clientStart = (...entries: (readonly [id: number, value: number])[]): Buffer =>
  Buffer.concat([CLIENT_PREFACE, settings(...entries)]);

/** All frames in `bytes`; what is cut off at the end is not one. */
export function parseFrames(bytes: Buffer): Frame[] {
  const found: Frame[] = [];
  let at = bytes.subarray(0, CLIENT_PREFACE.length).equals(CLIENT_PREFACE) ? CLIENT_PREFACE.length : 0;
  while (at + FRAME_HEADER_BYTES <= bytes.length) {
    const length = bytes.readUIntBE(at, 3);
    const payload = bytes.subarray(at + FRAME_HEADER_BYTES, at + FRAME_HEADER_BYTES + length);
    const id = readUint32(bytes, at + 5) & 0x7fffffff;
    found.push({ type: bytes[at + 3] as number, flags: bytes[at + 4] as number, id, payload });
    at += FRAME_HEADER_BYTES + length;
  }
  return found;
}

/** Header fields as the engine asks for them when it sends. */
export function sourceOf(fields: readonly Pair[]): HeaderSource {
  return {
    headerBytesMax: () => fields.reduce((sum, [name, value]) => sum + name.length + value.length + 16, 0),
    encodeHeaders: (encoder: HpackEncoder, out: Buffer, at: number) =>
      fields.reduce((position, [name, value]) => encoder.field(name, value, out, position), at),
  };
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value, "latin1");
  if (bytes.length < 127) return Buffer.concat([Buffer.from([bytes.length]), bytes]);
  const length = [127];
  let rest = bytes.length - 127;
  for (; rest > 127; rest >>>= 7) length.push((rest & 127) | 128);
  length.push(rest);
  return Buffer.concat([Buffer.from(length), bytes]);
}
