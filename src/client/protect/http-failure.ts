/**
 * What the end of a request of `fetch` means: which statuses and which network errors are failures, of whom, and whether anything was sent.
 */
import { RpcError } from "../../call/error.ts";
import { type AttemptFailure, attemptFailure } from "./attempt-failure.ts";
import { retryAfterMs } from "./retry-after.ts";

/** What went wrong before there was a connection to send the request on: Node's own codes, and undici's. */
const UNREACHED = new Set([
  "ECONNREFUSED",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EHOSTDOWN",
  "ENETDOWN",
  "EADDRNOTAVAIL",
  "ENOTFOUND",
  "EAI_AGAIN",
  "UND_ERR_CONNECT_TIMEOUT",
]);
/** Handshakes that failed: certificates and protocol, as node:tls and OpenSSL name them. */
const TLS =
  /^(ERR_TLS_|ERR_SSL_|CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE)/;

/** A failure for the statuses that say so; undefined: an answer. */
export function failureOfStatus(response: Response, wallMs: number): AttemptFailure | undefined {
  const { status } = response;
  if (status < 500 && status !== 429 && status !== 408) return undefined;
  const text = `HTTP ${status}`;
  const given = { value: response };
  const field = response.headers.get("retry-after");
  const afterMs = field === null ? undefined : retryAfterMs(field, wallMs);
  switch (status) {
    case 429:
      return attemptFailure("RESOURCE_EXHAUSTED", text, { kind: "overload", retryAfterMs: afterMs, given });
    case 408:
    case 502:
    case 503:
    case 504:
      return attemptFailure("UNAVAILABLE", text, { retryAfterMs: afterMs, given });
    case 501:
    case 505:
      // The server is well, and will not learn it by being asked again.
      return undefined;
    default:
      return attemptFailure("INTERNAL", text, { isFinal: true, given });
  }
}

/** What `fetch` threw. */
export function failureOfFetch(error: unknown): AttemptFailure {
  const code = codeOf(error);
  const { text, code: named } = RpcError.from(error);
  if (code !== undefined && UNREACHED.has(code)) {
    return attemptFailure("UNAVAILABLE", textOf(error, text), { reached: "no", phase: "connect", cause: error });
  }
  if (code !== undefined && TLS.test(code)) {
    // A certificate does not become right by being shown again.
    const more = { reached: "no", kind: "tls", phase: "connect", isFinal: true, cause: error } as const;
    return attemptFailure("UNAVAILABLE", textOf(error, text), more);
  }
  if (named !== "UNKNOWN") return attemptFailure(named, text, { cause: error });
  // undici's network errors have a cause; a TypeError without one is about what fetch was given.
  if (error instanceof TypeError && code === undefined && error.cause === undefined) {
    return attemptFailure("INVALID_ARGUMENT", text, { reached: "no", isFinal: true, isOurs: true, cause: error });
  }
  return attemptFailure("UNAVAILABLE", textOf(error, text), { kind: "reset", cause: error });
}

/** "fetch failed" says nothing; its cause does. */
function textOf(error: unknown, text: string): string {
  const cause = error instanceof Error ? error.cause : undefined;
  if (!(cause instanceof Error)) return text;
  // The error of several addresses that all refused has no words of its own, only a code.
  const words = cause.message === "" ? codeOf(cause) : cause.message;
  return words === undefined ? text : `${text}: ${words}`;
}

function codeOf(error: unknown): string | undefined {
  for (const each of [error, error instanceof Error ? error.cause : undefined]) {
    if (typeof each === "object" && each !== null && "code" in each && typeof each.code === "string") return each.code;
  }
  return undefined;
}
