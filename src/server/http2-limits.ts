/**
 * What a server's options mean for its HTTP/2 engine.
 */
import { DEFAULT_HTTP2_LIMITS, type Http2Limits } from "../wire/http2/limits.ts";

/** The largest frame that a peer may send: ours announces no other than HTTP/2's first (RFC 9113 6.5.2). */
const FRAME_BYTES_MAX = 16_384;
/** What an entry of ordinary metadata takes, 32 bytes added: so many of them fill the limit. */
const ENTRY_BYTES = 160;

/** Streams of a client that nobody knows, and of one with a certificate of our authority (DESIGN section 5). */
const STRANGERS_STREAMS = 100;
const KNOWN_STREAMS = 1_000;

/**
 * What the engine is told of a client, which is known or is not. One number, `metadataBytesMax`, opens all that stands in the way of so much metadata: a single value may fill it, and its block may
 * be as large as that many bytes written without compression, in full frames. It never goes below the defaults.
 */
export function http2LimitsOf(
  limits: { readonly metadataBytesMax: number; readonly streamsPerConnectionMax: number | undefined },
  isKnown: boolean,
): Http2Limits {
  const { metadataBytesMax } = limits;
  const streamsPerConnectionMax = limits.streamsPerConnectionMax ?? (isKnown ? KNOWN_STREAMS : STRANGERS_STREAMS);
  const defaults = DEFAULT_HTTP2_LIMITS;
  const blockBytesMax = Math.max(defaults.blockBytesMax, metadataBytesMax + FRAME_BYTES_MAX);
  return {
    ...defaults,
    streamsMax: streamsPerConnectionMax,
    // All streams of a connection may meet their deadlines at once: that is no attack.
    resetBurst: Math.max(defaults.resetBurst, 2 * streamsPerConnectionMax),
    listBytesMax: metadataBytesMax,
    fieldBytesMax: Math.max(defaults.fieldBytesMax, metadataBytesMax),
    fieldsMax: Math.max(defaults.fieldsMax, Math.floor(metadataBytesMax / ENTRY_BYTES)),
    blockBytesMax,
    continuationsMax: Math.max(defaults.continuationsMax, Math.ceil(blockBytesMax / FRAME_BYTES_MAX) + 1),
  };
}
