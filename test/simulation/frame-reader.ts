/**
 * HTTP/2 frames in a stream of bytes, as far as somebody who looks on needs them: cut apart, header blocks joined and decoded. What
 * cannot be read makes the reader blind for good; it never throws, for it stands in the way of code under test.
 */
import { type Field, FieldSection } from "../../src/wire/http2/field.ts";
import {
  CLIENT_PREFACE,
  FLAG_END_HEADERS,
  FLAG_PADDED,
  FLAG_PRIORITY,
  FRAME_CONTINUATION,
  FRAME_DATA,
  FRAME_HEADER_BYTES,
  FRAME_HEADERS,
  FRAME_PUSH_PROMISE,
} from "../../src/wire/http2/frame.ts";
import { HpackDecoder } from "../../src/wire/http2/hpack-decoder.ts";
import { wireNames } from "../../src/wire/transport/names.ts";

/** Any peer's table and lists are smaller. */
const decoderLimits = { tableSizeMax: 65_536, fieldsMax: 1000, listBytesMax: 1_000_000, fieldBytesMax: 1_000_000 };
const noBytes = Buffer.alloc(0);

export interface SeenFrame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  /** Without padding and priority; of a header block the fields are in `fields`. */
  readonly payload: Buffer;
  /** Of HEADERS, when the whole block has been seen. */
  readonly fields: ReadonlyMap<string, string> | undefined;
}

export class FrameReader {
  /** What came could not be read: nothing more is told. */
  isBlind = false;
  private readonly told: (frame: SeenFrame) => void;
  private readonly decoder = new HpackDecoder(wireNames, decoderLimits);
  private readonly section = new FieldSection(wireNames);
  private rest: Buffer = noBytes;
  private prefaceLeft: number;
  /** A header block that goes on in CONTINUATION frames. */
  private block: { readonly flags: number; readonly stream: number; readonly parts: Buffer[] } | undefined = undefined;

  constructor(hasPreface: boolean, told: (frame: SeenFrame) => void) {
    this.prefaceLeft = hasPreface ? CLIENT_PREFACE.length : 0;
    this.told = told;
  }

  /** Takes what came; keeps no reference to it. */
  push(given: Buffer): void {
    if (this.isBlind) return;
    const skipped = Math.min(this.prefaceLeft, given.length);
    this.prefaceLeft -= skipped;
    const bytes = this.rest.length === 0 ? given.subarray(skipped) : Buffer.concat([this.rest, given]);
    let at = 0;
    while (bytes.length - at >= FRAME_HEADER_BYTES && !this.isBlind) {
      const end = at + FRAME_HEADER_BYTES + bytes.readUIntBE(at, 3);
      if (end > bytes.length) break;
      this.frame(bytes, at, end);
      at = end;
    }
    this.rest = at === bytes.length ? noBytes : Buffer.from(bytes.subarray(at));
  }

  private frame(bytes: Buffer, at: number, end: number): void {
    const type = bytes[at + 3] as number;
    const flags = bytes[at + 4] as number;
    const stream = bytes.readUInt32BE(at + 5) & 0x7fffffff;
    const payload = bytes.subarray(at + FRAME_HEADER_BYTES, end);
    if (type === FRAME_PUSH_PROMISE || (this.block !== undefined) !== (type === FRAME_CONTINUATION)) {
      this.isBlind = true;
    } else if (type === FRAME_HEADERS) {
      const part = withoutPadding(payload, flags, (flags & FLAG_PRIORITY) === 0 ? 0 : 5);
      this.block = { flags, stream, parts: [Buffer.from(part)] };
      if ((flags & FLAG_END_HEADERS) !== 0) this.headers();
    } else if (type === FRAME_CONTINUATION) {
      this.block?.parts.push(Buffer.from(payload));
      if ((flags & FLAG_END_HEADERS) !== 0) this.headers();
    } else {
      const shown = type === FRAME_DATA ? withoutPadding(payload, flags, 0) : payload;
      this.told({ type, flags, stream, payload: shown, fields: undefined });
    }
  }

  private headers(): void {
    const { block, section } = this;
    this.block = undefined;
    if (block === undefined) return;
    const bytes = Buffer.concat(block.parts);
    section.clear();
    if (!this.decoder.decode(bytes, 0, bytes.length, section)) {
      this.isBlind = true;
      return;
    }
    const fields = new Map<string, string>();
    for (let index = 0; index < section.count; index++) {
      const { name, value } = section.fields[index] as Field;
      fields.set(name, value);
    }
    this.told({ type: FRAME_HEADERS, flags: block.flags, stream: block.stream, payload: noBytes, fields });
  }
}

function withoutPadding(payload: Buffer, flags: number, skip: number): Buffer {
  if ((flags & FLAG_PADDED) === 0) return payload.subarray(skip);
  return payload.subarray(1 + skip, Math.max(1 + skip, payload.length - (payload[0] ?? 0)));
}
