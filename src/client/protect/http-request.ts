/**
 * What a request of `fetch` says about itself before it is sent: whom it goes to, what a second execution would do, whether it can be sent again.
 */
import type { Effect } from "../../call/method.ts";

/** As `fetch` takes them. */
export type FetchInput = string | URL | Request;
export type FetchInit = RequestInit | undefined;

export const httpKinds = ["GET", "HEAD", "PUT", "DELETE", "POST", "POST with a key", "other"] as const;
/** A kind of request, which has a policy and statistics of its own; "POST with a key" is one with an Idempotency-Key. */
export type HttpKind = (typeof httpKinds)[number];

/** GET and HEAD change nothing, PUT and DELETE are idempotent (RFC 9110 section 9.2); a key lets the server know the second POST as the first. */
export const effectOfKind: Readonly<Record<HttpKind, Effect>> = Object.freeze({
  GET: "none",
  HEAD: "none",
  PUT: "idempotent",
  DELETE: "idempotent",
  POST: "unknown",
  "POST with a key": "once",
  other: "unknown",
});

export interface RequestFacts {
  readonly kind: HttpKind;
  /** Host and port: the peer's key. */
  readonly host: string;
  /** False for a body that can be read once. */
  readonly canSendAgain: boolean;
  readonly signal: AbortSignal | undefined;
}

/** undefined: no request to an HTTP server, or none that fetch would send; fetch itself says what is wrong with it. */
export function requestFacts(input: FetchInput, init: FetchInit): RequestFacts | undefined {
  const request = isRequest(input) ? input : undefined;
  const url = urlOf(input);
  if (url === undefined || (url.protocol !== "http:" && url.protocol !== "https:")) return undefined;
  return {
    kind: kindOf(String(init?.method ?? request?.method ?? "GET").toUpperCase(), request, init),
    host: url.host,
    canSendAgain: init?.body === undefined ? request === undefined || request.body === null : isReplayable(init.body),
    // null takes the request's own signal away.
    signal: (init?.signal === undefined ? request?.signal : init.signal) ?? undefined,
  };
}

function isRequest(input: FetchInput): input is Request {
  return typeof input === "object" && input !== null && "url" in input && "method" in input;
}

function urlOf(input: FetchInput): URL | undefined {
  try {
    return new URL(isRequest(input) ? input.url : String(input));
  } catch {
    return undefined;
  }
}

function kindOf(method: string, request: Request | undefined, init: FetchInit): HttpKind {
  if (method === "POST") return hasKey(request, init) ? "POST with a key" : "POST";
  return httpKinds.find((kind) => kind === method) ?? "other";
}

/** draft-ietf-httpapi-idempotency-key-header. Headers of the second argument take the place of the request's. */
function hasKey(request: Request | undefined, init: FetchInit): boolean {
  const given = init?.headers ?? request?.headers;
  try {
    return given !== undefined && new Headers(given).has("idempotency-key");
  } catch {
    // Malformed headers: fetch says so when it is called.
    return false;
  }
}

function isReplayable(body: unknown): boolean {
  return (
    body === null ||
    typeof body === "string" ||
    body instanceof ArrayBuffer ||
    ArrayBuffer.isView(body) ||
    body instanceof Blob ||
    body instanceof FormData ||
    body instanceof URLSearchParams
  );
}
