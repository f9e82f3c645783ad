/**
 * A request known by its bytes: for the quarantine of what brings servers down. Asked for seldom, so it encodes anew.
 */
import { crc32 } from "node:zlib";
import type { MessageCodec } from "../schema/codec.ts";

/** CRC-32 and length of the message as it is sent; zeros for what cannot be sent. */
export interface PayloadHash {
  readonly hash: number;
  readonly bytes: number;
}

export function payloadHash(codec: MessageCodec, message: unknown): PayloadHash {
  try {
    const encoded = codec.encode(message);
    return { hash: crc32(encoded), bytes: encoded.length };
  } catch {
    // The attempt itself says what is wrong with it.
    return { hash: 0, bytes: 0 };
  }
}
