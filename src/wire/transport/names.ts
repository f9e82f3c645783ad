/**
 * The field names and constant fields of gRPC over HTTP/2 (grpc/doc/PROTOCOL-HTTP2.md), known to the engine by number.
 */
import { acceptEncoding } from "../grpc/compression.ts";
import { FIRST_OWN_NAME, FieldNames } from "../http2/field.ts";
import { FieldName, FieldToken } from "../http2/hpack-encoder.ts";

/** In trailers with `grpc-status: 0`: from where another call can go on with this stream. */
export const RESUME_TOKEN_NAME = "holdfast-resume-bin";

const OWN_NAMES = [
  "content-type",
  "grpc-status",
  "grpc-message",
  "grpc-timeout",
  "grpc-encoding",
  "grpc-accept-encoding",
  "grpc-status-details-bin",
  "user-agent",
  "traceparent",
  "tracestate",
  "holdfast-call-id",
  "grpc-retry-pushback-ms",
  "grpc-previous-rpc-attempts",
  "holdfast-priority",
  "holdfast-repeat",
  "holdfast-not-run",
  "holdfast-integrity",
  "holdfast-crc",
  RESUME_TOKEN_NAME,
  "holdfast-dedup",
  "holdfast-deduplicated",
  "holdfast-reason",
  "holdfast-health",
  "holdfast-nested",
] as const;

export const NAME_CONTENT_TYPE: number = FIRST_OWN_NAME;
export const NAME_GRPC_STATUS: number = FIRST_OWN_NAME + 1;
export const NAME_GRPC_MESSAGE: number = FIRST_OWN_NAME + 2;
export const NAME_GRPC_TIMEOUT: number = FIRST_OWN_NAME + 3;
export const NAME_GRPC_ENCODING: number = FIRST_OWN_NAME + 4;
export const NAME_GRPC_ACCEPT_ENCODING: number = FIRST_OWN_NAME + 5;
export const NAME_GRPC_STATUS_DETAILS: number = FIRST_OWN_NAME + 6;
export const NAME_USER_AGENT: number = FIRST_OWN_NAME + 7;
export const NAME_TRACEPARENT: number = FIRST_OWN_NAME + 8;
export const NAME_TRACESTATE: number = FIRST_OWN_NAME + 9;
export const NAME_CALL_ID: number = FIRST_OWN_NAME + 10;
export const NAME_PUSHBACK: number = FIRST_OWN_NAME + 11;
export const NAME_PREVIOUS_ATTEMPTS: number = FIRST_OWN_NAME + 12;
export const NAME_PRIORITY: number = FIRST_OWN_NAME + 13;
export const NAME_REPEAT: number = FIRST_OWN_NAME + 14;
export const NAME_NOT_RUN: number = FIRST_OWN_NAME + 15;
export const NAME_INTEGRITY: number = FIRST_OWN_NAME + 16;
export const NAME_CHECKSUM: number = FIRST_OWN_NAME + 17;
export const NAME_RESUME_TOKEN: number = FIRST_OWN_NAME + 18;
export const NAME_DEDUP: number = FIRST_OWN_NAME + 19;
export const NAME_DEDUPLICATED: number = FIRST_OWN_NAME + 20;
export const NAME_REASON: number = FIRST_OWN_NAME + 21;
export const NAME_HEALTH: number = FIRST_OWN_NAME + 22;
export const NAME_NESTED: number = FIRST_OWN_NAME + 23;

/** Positions among the raw names: their values stay bytes. */
export const RAW_TIMEOUT = 0;
export const RAW_TRACEPARENT = 1;
export const RAW_CALL_ID = 2;
export const RAW_CHECKSUM = 3;

const RAW_NAMES = ["grpc-timeout", "traceparent", "holdfast-call-id", "holdfast-crc"];

export const wireNames: FieldNames = new FieldNames(OWN_NAMES, RAW_NAMES);

export const methodPost: FieldToken = new FieldToken(":method", "POST");
export const schemeHttp: FieldToken = new FieldToken(":scheme", "http");
export const schemeHttps: FieldToken = new FieldToken(":scheme", "https");
export const status200: FieldToken = new FieldToken(":status", "200");
export const contentTypeGrpc: FieldToken = new FieldToken("content-type", "application/grpc+proto");
export const teTrailers: FieldToken = new FieldToken("te", "trailers");
export const userAgent: FieldToken = new FieldToken("user-agent", "holdfast/0.1.0");
export const acceptEncodings: FieldToken = new FieldToken("grpc-accept-encoding", acceptEncoding);
export const statusOk: FieldToken = new FieldToken("grpc-status", "0");
export const notRun: FieldToken = new FieldToken("holdfast-not-run", "1");
/** The answer is that of an earlier attempt, which the server kept. */
export const deduplicated: FieldToken = new FieldToken("holdfast-deduplicated", "1");
/** In an answer: its server serves, but not as well as it should. */
export const degraded: FieldToken = new FieldToken("holdfast-health", "degraded");
/** In a request to a server of the same process: a handler waits for it. */
export const nested: FieldToken = new FieldToken("holdfast-nested", "1");
export const repeatNo: FieldToken = new FieldToken("holdfast-repeat", "no");
/** In a request: give the reply a checksum, I compare it. In an answer: it has one, and your requests' are compared here too. */
export const integrityCrc32: FieldToken = new FieldToken("holdfast-integrity", "crc32");
export const encodingTokens: Readonly<Record<string, FieldToken>> = {
  gzip: new FieldToken("grpc-encoding", "gzip"),
  deflate: new FieldToken("grpc-encoding", "deflate"),
};

export const nameTimeout: FieldName = new FieldName("grpc-timeout");
export const nameTraceparent: FieldName = new FieldName("traceparent");
export const nameCallId: FieldName = new FieldName("holdfast-call-id");
export const nameChecksum: FieldName = new FieldName("holdfast-crc");
/** In a request: the only store whose server may run it. */
export const nameDedup: FieldName = new FieldName("holdfast-dedup");
