/**
 * Why Holdfast itself, not a server's handler, ended a call: a closed catalogue.
 */

/** Why Holdfast itself, not a server, ended the call. Closed; {@link reasons} explains each. */
export type Reason =
  | "DEADLINE"
  | "CANCELLED_BY_CALLER"
  | "UNREAD"
  | "CLIENT_CLOSED"
  | "NO_PEER"
  | "CONNECT_FAILED"
  | "CONNECTION_LOST"
  | "STREAM_RESET"
  | "TLS_FAILED"
  | "THROTTLED"
  | "STREAM_LIMIT"
  | "BUDGET_EMPTY"
  | "ADMISSION_REFUSED"
  | "DOOMED"
  | "SERVER_DRAINING"
  | "NOT_REPEATABLE"
  | "OUTCOME_UNKNOWN"
  | "POISON_SUSPECT"
  | "KEY_CONFLICT"
  | "OUTBOX_FULL"
  | "QUORUM_DISAGREED"
  | "CORRUPT"
  | "LOCAL_STALL"
  | "NOT_GRPC"
  | "PROTOCOL_ERROR"
  | "METHOD_UNKNOWN"
  | "COMPRESSION_UNKNOWN"
  | "MESSAGE_TOO_LARGE"
  | "METADATA_TOO_LARGE"
  | "INVALID_MESSAGE"
  | "HANDLER_FAILED";

/** What each reason means, in one line for people. */
export const reasons: Readonly<Record<Reason, string>> = Object.freeze({
  DEADLINE: "the call's deadline passed",
  CANCELLED_BY_CALLER: "the caller aborted its signal, left the loop, or cancelled the stream",
  UNREAD: "nobody began to read the reply stream in time",
  CLIENT_CLOSED: "the client or its channel was closed",
  NO_PEER: "no peer could be picked",
  CONNECT_FAILED: "no connection to the peer could be made",
  CONNECTION_LOST: "the connection was lost before the call had its answer",
  STREAM_RESET: "the peer reset the call's stream without a status",
  TLS_FAILED: "the TLS handshake failed, or proved the wrong name",
  THROTTLED: "the client refused what the server would have refused for overload",
  STREAM_LIMIT: "all connections were at the peer's limit of streams",
  BUDGET_EMPTY: "the budget for repeats was empty",
  ADMISSION_REFUSED: "the server refused the call for overload before running it",
  DOOMED: "the time left was too short for the method, so that the server did not begin",
  SERVER_DRAINING: "the server was shutting down and took no new calls",
  NOT_REPEATABLE: "the requests were no longer held, so that they could not be sent again",
  OUTCOME_UNKNOWN: "the call may have been done, and no peer left can tell",
  POISON_SUSPECT: "connections died while this call was on them; it is not sent again",
  KEY_CONFLICT: "the idempotency key was used before with another request",
  OUTBOX_FULL: "the outbox holds as many undelivered entries as it may",
  QUORUM_DISAGREED: "too few peers gave the same answer",
  CORRUPT: "a message's checksum did not match",
  LOCAL_STALL: "this process was stalled while the call waited",
  NOT_GRPC: "the peer's answer was not gRPC",
  PROTOCOL_ERROR: "the peer broke the rules of HTTP/2 or gRPC",
  METHOD_UNKNOWN: "the server does not have this method",
  COMPRESSION_UNKNOWN: "a message was compressed in a way that this side does not know",
  MESSAGE_TOO_LARGE: "a message was larger than messageBytesMax",
  METADATA_TOO_LARGE: "the metadata was larger than the receiver accepts",
  INVALID_MESSAGE: "a message could not be encoded or decoded",
  HANDLER_FAILED: "the handler threw something that is not an RpcError",
});
