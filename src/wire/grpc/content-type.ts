/**
 * `content-type` of gRPC: `application/grpc`, `application/grpc+proto`, and the like.
 * Source: grpc/doc/PROTOCOL-HTTP2.md (Content-Type), RFC 9110 section 8.3.1.
 */

/** What Holdfast sends. */
export const grpcContentType = "application/grpc+proto";

/**
 * The message format of a gRPC content type, in lower case: "proto" for `application/grpc` and `application/grpc+proto`,
 * "json" for `application/grpc+json`; parameters behind a semicolon are ignored. Undefined for what is not gRPC (gRPC-Web is not).
 */
export function parseGrpcContentType(text: string): string | undefined {
  if (text === "application/grpc" || text === "application/grpc+proto") return "proto";
  const match = /^application\/grpc(?:\+([!#$&\-^_.+0-9a-z]+))?[ \t]*(?:;.*)?$/is.exec(text);
  if (match === null) return undefined;
  return match[1]?.toLowerCase() ?? "proto";
}
