/**
 * `grpc-status-details-bin`: a google.rpc.Status, read and written by hand, for it is three fields.
 *
 * message Status { int32 code = 1; string message = 2; repeated google.protobuf.Any details = 3; }
 * message Any { string type_url = 1; bytes value = 2; }
 */
import type { ErrorDetail } from "../../call/error.ts";

/** A decoded google.rpc.Status. */
export interface StatusDetails {
  /** gRPC's number; it should equal `grpc-status`. */
  readonly code: number;
  readonly message: string;
  readonly details: readonly ErrorDetail[];
}

const typePrefix = "type.googleapis.com/";

/** The bytes of a google.rpc.Status. The type "a.b.C" becomes "type.googleapis.com/a.b.C". */
export function encodeStatusDetails(status: StatusDetails): Buffer {
  const anys = status.details.map(({ type, value }) => ({ url: Buffer.from(typePrefix + type, "utf8"), value }));
  const message = Buffer.from(status.message, "utf8");
  const parts: Uint8Array[] = [];
  if (status.code !== 0) parts.push(Buffer.from([0x08]), varint(status.code));
  if (message.length > 0) parts.push(Buffer.from([0x12]), varint(message.length), message);
  for (const { url, value } of anys) {
    const fields: Uint8Array[] = [Buffer.from([0x0a]), varint(url.length), url];
    if (value.length > 0) fields.push(Buffer.from([0x12]), varint(value.length), value);
    const length = fields.reduce((sum, field) => sum + field.length, 0);
    parts.push(Buffer.from([0x1a]), varint(length), ...fields);
  }
  return Buffer.concat(parts);
}

/**
 * The google.rpc.Status in the bytes; undefined if they are malformed. Unknown fields are skipped; values are copied, so that they
 * do not hold on to the bytes. Text that is not UTF-8 gets U+FFFD: a bad message must not hide the error it describes.
 */
export function decodeStatusDetails(bytes: Uint8Array): StatusDetails | undefined {
  const reader = new FieldReader(bytes, 0, bytes.length);
  let code = 0;
  let message = "";
  const details: ErrorDetail[] = [];
  while (reader.next()) {
    if (reader.field === 1 && reader.wireType === 0) code = reader.value | 0;
    else if (reader.field === 2 && reader.wireType === 2) message = textOf(bytes, reader);
    else if (reader.field === 3 && reader.wireType === 2) {
      const detail = decodeAny(bytes, reader.start, reader.end);
      if (detail === undefined) return undefined;
      details.push(detail);
    }
  }
  return reader.isMalformed ? undefined : { code, message, details };
}

function decodeAny(bytes: Uint8Array, start: number, end: number): ErrorDetail | undefined {
  const reader = new FieldReader(bytes, start, end);
  let url = "";
  let value: Uint8Array = new Uint8Array(0);
  while (reader.next()) {
    if (reader.field === 1 && reader.wireType === 2) url = textOf(bytes, reader);
    else if (reader.field === 2 && reader.wireType === 2) {
      value = new Uint8Array(bytes.subarray(reader.start, reader.end));
    }
  }
  // The type is what stands behind the last slash (google/protobuf/any.proto).
  return reader.isMalformed ? undefined : { type: url.slice(url.lastIndexOf("/") + 1), value };
}

function textOf(bytes: Uint8Array, { start, end }: FieldReader): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString("utf8");
}

/** Walks the fields of one protobuf message. Groups are refused, as they are in all of Holdfast. */
class FieldReader {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  #at: number;
  field = 0;
  wireType = 0;
  /** Of a varint field: its lower 32 bits. */
  value = 0;
  /** Of a length-delimited field: its payload. */
  start = 0;
  end = 0;
  isMalformed = false;

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  /** Goes to the next field; false at the end, or when `isMalformed`. */
  next(): boolean {
    if (this.isMalformed || this.#at >= this.#end) return false;
    const tag = this.#varint();
    this.field = tag >>> 3;
    this.wireType = tag & 7;
    if (this.field === 0) this.isMalformed = true;
    switch (this.wireType) {
      case 0:
        this.value = this.#varint();
        break;
      case 1:
        this.#skip(8);
        break;
      case 2:
        this.#skip(this.#varint() >>> 0);
        break;
      case 5:
        this.#skip(4);
        break;
      default:
        this.isMalformed = true;
    }
    return !this.isMalformed;
  }

  /** The lower 32 bits, signed. */
  #varint(): number {
    let value = 0;
    for (let i = 0; i < 10; i++) {
      if (this.#at >= this.#end) break;
      const byte = this.#bytes[this.#at++] as number;
      if (i < 5) value |= (byte & 0x7f) << (7 * i);
      if (byte < 0x80) return value;
    }
    this.isMalformed = true;
    return 0;
  }

  #skip(length: number): void {
    this.start = this.#at;
    this.end = this.#at + length;
    if (this.end > this.#end) this.isMalformed = true;
    this.#at = this.end;
  }
}

/** A varint of an int32; negative ones take ten bytes, as protobuf has it. */
function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  while (rest > 0x7fn) {
    bytes.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}
