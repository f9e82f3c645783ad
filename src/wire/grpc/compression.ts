/**
 * Message encodings: identity, gzip, deflate. In gRPC "deflate" is the zlib format.
 * Source: grpc/doc/PROTOCOL-HTTP2.md (Message-Encoding), grpc/doc/compression.md.
 *
 * The synchronous functions of node:zlib are pure (bytes in, bytes out); they hold the loop for the time of one message.
 */
import { deflateSync, gunzipSync, gzipSync, inflateSync } from "node:zlib";

/** An encoding this side can write and read. */
export type Encoding = "identity" | "gzip" | "deflate";

/** All of them, most wanted first. */
export const encodings: readonly Encoding[] = Object.freeze(["identity", "gzip", "deflate"] as const);

/** What `grpc-accept-encoding` says. */
export const acceptEncoding: string = encodings.join(",");

/** Why a message could not be decompressed: it would be larger than allowed, or its bytes are damaged. */
export class CompressionError extends Error {
  readonly kind: "too-large" | "corrupt";

  constructor(kind: "too-large" | "corrupt", text: string, cause?: unknown) {
    super(text, { cause });
    this.name = "CompressionError";
    this.kind = kind;
  }
}

/** The encoding of that name, or undefined if this side does not know it. Names are case-sensitive, as in gRPC's implementations. */
export function encodingOf(name: string): Encoding | undefined {
  return encodings.find((encoding) => encoding === name);
}

/** The encodings that a peer's `grpc-accept-encoding` names and this side knows; unknown names are ignored. Identity is always among them. */
export function acceptedEncodings(text: string): readonly Encoding[] {
  const named = text.split(",").map((name) => name.trim());
  return encodings.filter((encoding) => encoding === "identity" || named.includes(encoding));
}

/** The message in that encoding. Identity gives the same bytes back, not a copy. */
export function compress(encoding: Encoding, bytes: Buffer): Buffer {
  switch (encoding) {
    case "identity":
      return bytes;
    case "gzip":
      return gzipSync(bytes);
    case "deflate":
      return deflateSync(bytes);
  }
}

/**
 * The message out of that encoding. Throws {@link CompressionError}: "too-large" if it has more than `bytesMax` bytes, found while
 * inflating, so that a bomb costs no more than `bytesMax`; "corrupt" for damaged or truncated input, and for bytes behind its end.
 */
export function decompress(encoding: Encoding, bytes: Buffer, bytesMax: number): Buffer {
  const inflated = encoding === "identity" ? bytes : inflate(encoding, bytes, bytesMax);
  if (inflated.length > bytesMax) throw tooLarge(bytesMax);
  return inflated;
}

function inflate(encoding: "gzip" | "deflate", bytes: Buffer, bytesMax: number): Buffer {
  // Node needs at least 1 here; decompress compares again. The chunk size follows the input, for a small message would keep Node's 16 KiB.
  const maxOutputLength = Math.max(1, bytesMax);
  const chunkSize = Math.min(65_536, Math.max(1_024, bytes.length * 4));
  const inflated = inflateWithInfo(encoding, bytes, { maxOutputLength, chunkSize, info: true }, bytesMax);
  if (inflated.engine.bytesWritten !== bytes.length) {
    throw new CompressionError("corrupt", `a ${encoding} message goes on behind its end`);
  }
  return inflated.buffer;
}

/** What node:zlib gives with `info`: the output, and an engine that knows how much input it took. */
interface Inflated {
  readonly buffer: Buffer;
  readonly engine: { readonly bytesWritten: number };
}

function inflateWithInfo(
  encoding: "gzip" | "deflate",
  bytes: Buffer,
  options: { readonly maxOutputLength: number; readonly chunkSize: number; readonly info: true },
  bytesMax: number,
): Inflated {
  try {
    // The declared type does not know `info`.
    const inflated: unknown = encoding === "gzip" ? gunzipSync(bytes, options) : inflateSync(bytes, options);
    return inflated as Inflated;
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    if (code === "ERR_BUFFER_TOO_LARGE") throw tooLarge(bytesMax);
    throw new CompressionError("corrupt", `a ${encoding} message cannot be decompressed (${code})`, error);
  }
}

function tooLarge(bytesMax: number): CompressionError {
  return new CompressionError("too-large", `a message has more than ${bytesMax} bytes when decompressed`);
}
