/**
 * Which metadata names exist, and which are not the user's to set.
 * Source: grpc/doc/PROTOCOL-HTTP2.md (Custom-Metadata), RFC 9113 section 8.2.2 (connection-specific fields).
 */

const namePattern = /^[0-9a-z_.-]+$/;

/** Fields that belong to HTTP or to gRPC's own mapping; a second one would corrupt the request. */
const reserved: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "content-type",
  "expect",
  "host",
  "http2-settings",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "user-agent",
]);

/**
 * Whether a (lower-case) name is the transport's own: pseudo fields, `grpc-*`, `holdfast-*`, and fields of HTTP itself.
 * Users cannot set them, and what a peer sends under them does not become metadata.
 */
export function isReservedName(name: string): boolean {
  return name.startsWith("grpc-") || name.startsWith(":") || name.startsWith("holdfast-") || reserved.has(name);
}

/** Whether a name holds bytes (base64 on the wire) instead of text. */
export function isBinaryName(name: string): boolean {
  return name.endsWith("-bin");
}

/** Whether a lower-case name is made of the characters that gRPC allows: 0-9 a-z _ - and the dot. */
export function isWellFormedName(name: string): boolean {
  return namePattern.test(name);
}
