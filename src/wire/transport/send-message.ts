/**
 * Hot path: one message into DATA frames. Encoded in place into the connection's output when it fits a frame and the
 * windows; else into a buffer of its own, which waits in the stream's queue.
 */
import { type ChecksumSink, checksumOf } from "../grpc/checksum.ts";
import { type Encoding, compress } from "../grpc/compression.ts";
import { messagePrefixBytes, writeMessagePrefix } from "../grpc/deframer.ts";
import type { MessageCodec } from "../grpc/message-codec.ts";
import type { Http2Connection } from "../http2/connection.ts";
import { FRAME_HEADER_BYTES } from "../http2/frame.ts";
import type { Http2Stream } from "../http2/stream.ts";

const IN_FRONT = FRAME_HEADER_BYTES + messagePrefixBytes;
/** Room that is asked for first. A message that needs more is tried once again in a fresh slab. */
const FIRST_GUESS = 512;
const FRESH_SLAB = 65_536;
/** Giving smaller messages' memory back by hand costs more than it saves. */
const SPEND_BYTES_MIN = 16_384;

/**
 * Sends a message and returns its bytes; `ends` also ends our side of the stream. Throws what the codec throws for a wrong value, before
 * anything was sent. Ask `stream.queuedBytes` whether the peer's window had room. A `sink` is told the checksum of the message as it was
 * encoded, before compression and without its prefix.
 */
export function sendMessage(
  engine: Http2Connection,
  stream: Http2Stream,
  codec: MessageCodec,
  message: unknown,
  encoding: Encoding | undefined,
  ends: boolean,
  sink: ChecksumSink | undefined,
): number {
  if (encoding !== undefined && encoding !== "identity") {
    const bytes = codec.encode(message);
    if (sink !== undefined) sink.checksum = checksumOf(bytes, 0, bytes.length);
    sendBytes(engine, stream, compress(encoding, bytes), true, ends);
    return bytes.length;
  }
  const output = engine.output;
  output.reserve(FIRST_GUESS);
  let end = codec.encodeInto(message, output.bytes, output.at + IN_FRONT);
  // A borrowed rest of a slab may be short: how a message is framed must not depend on what others left.
  if (end < 0 && output.bytes.length - output.at < FRESH_SLAB) {
    output.reserve(FRESH_SLAB);
    end = codec.encodeInto(message, output.bytes, output.at + IN_FRONT);
  }
  if (end < 0) {
    const bytes = codec.encode(message);
    if (sink !== undefined) sink.checksum = checksumOf(bytes, 0, bytes.length);
    sendBytes(engine, stream, bytes, false, ends);
    return bytes.length;
  }
  const payload = output.at + FRAME_HEADER_BYTES;
  const length = end - payload;
  if (sink !== undefined) sink.checksum = checksumOf(output.bytes, payload + messagePrefixBytes, end);
  writeMessagePrefix(output.bytes, payload, false, length - messagePrefixBytes);
  if (length <= engine.dataRoom(stream)) engine.commitData(stream, length, ends);
  else engine.sendData(stream, Buffer.from(output.bytes.subarray(payload, end)), ends);
  return length;
}

function sendBytes(
  engine: Http2Connection,
  stream: Http2Stream,
  bytes: Buffer,
  isCompressed: boolean,
  ends: boolean,
): void {
  const prefix = Buffer.allocUnsafe(messagePrefixBytes);
  writeMessagePrefix(prefix, 0, isCompressed, bytes.length);
  if (bytes.length === 0) {
    engine.sendData(stream, prefix, ends);
    return;
  }
  engine.sendData(stream, prefix, false);
  // Left to the collector, large messages are what makes it run (docs/decisions/read-chunks.md).
  if (bytes.length >= SPEND_BYTES_MIN && bytes.buffer.byteLength === bytes.length) {
    engine.sendOwnData(stream, bytes, ends);
  } else {
    engine.sendData(stream, bytes, ends);
  }
}
