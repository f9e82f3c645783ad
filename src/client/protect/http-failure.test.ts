import assert from "node:assert/strict";
import { it } from "node:test";
import { failureOfFetch, failureOfStatus } from "./http-failure.ts";

const fetchFailed = (code: string, message = code): TypeError =>
  new TypeError("fetch failed", { cause: Object.assign(new Error(message), { code }) });

it("408, 502, 503 and 504 are UNAVAILABLE, 429 is overload, other 5xx are final, all else is an answer", () => {
  const of = (status: number): string => {
    const failed = failureOfStatus(new Response(null, { status }), 0);
    return failed === undefined ? "answer" : `${failed.code}${failed.isFinal ? " final" : ""}`;
  };
  for (const status of [200, 204, 301, 304, 400, 401, 403, 404, 409, 410, 422, 501, 505])
    assert.equal(of(status), "answer");
  for (const status of [408, 502, 503, 504]) assert.equal(of(status), "UNAVAILABLE");
  assert.equal(of(429), "RESOURCE_EXHAUSTED");
  for (const status of [500, 506, 507, 508, 511, 520, 599]) assert.equal(of(status), "INTERNAL final");
});

it("Retry-After is a pushback; one that cannot be read is none", () => {
  const of = (status: number, field: string): number | undefined =>
    failureOfStatus(new Response(null, { status, headers: { "retry-after": field } }), 0)?.retryAfterMs;
  assert.equal(of(429, "3"), 3_000);
  assert.equal(of(503, "0"), 0);
  assert.equal(of(429, "Thu, 01 Jan 1970 00:00:09 GMT"), 9_000);
  assert.equal(of(429, "soon"), undefined);
});

it("what happened before there was a connection never reached the server", () => {
  for (const code of [
    "ECONNREFUSED",
    "ENOTFOUND",
    "EAI_AGAIN",
    "EHOSTUNREACH",
    "ENETUNREACH",
    "UND_ERR_CONNECT_TIMEOUT",
  ]) {
    const failed = failureOfFetch(fetchFailed(code));
    assert.equal(failed.reached, "no", code);
    assert.equal(failed.code, "UNAVAILABLE");
    assert.equal(failed.isFinal, false);
  }
  const many = Object.assign(new AggregateError([new Error("a")], ""), { code: "ECONNREFUSED" });
  assert.equal(failureOfFetch(new TypeError("fetch failed", { cause: many })).text, "fetch failed: ECONNREFUSED");
});

it("what happened on a connection may have reached it", () => {
  for (const code of ["ECONNRESET", "EPIPE", "UND_ERR_SOCKET", "UND_ERR_HEADERS_TIMEOUT"]) {
    const failed = failureOfFetch(fetchFailed(code, "other side closed"));
    assert.equal(failed.reached, "maybe", code);
    assert.equal(failed.code, "UNAVAILABLE");
    assert.equal(failed.text, "fetch failed: other side closed");
  }
  assert.equal(failureOfFetch(Object.assign(new Error("socket hang up"), { code: "ECONNRESET" })).reached, "maybe");
});

it("a certificate that is wrong stays wrong, and what fetch was given wrongly is nobody's fault but the caller's", () => {
  const tls = failureOfFetch(fetchFailed("ERR_TLS_CERT_ALTNAME_INVALID"));
  assert.deepEqual([tls.kind, tls.reached, tls.isFinal], ["tls", "no", true]);
  assert.equal(failureOfFetch(fetchFailed("DEPTH_ZERO_SELF_SIGNED_CERT")).isFinal, true);
  const bug = failureOfFetch(new TypeError("Request with GET/HEAD method cannot have body."));
  assert.deepEqual([bug.code, bug.isFinal, bug.isOurs], ["INVALID_ARGUMENT", true, true]);
});

it("an abort that is not ours is a cancellation, and anything may be thrown", () => {
  assert.equal(failureOfFetch(new DOMException("gone", "AbortError")).code, "CANCELLED");
  assert.equal(failureOfFetch(new DOMException("late", "TimeoutError")).code, "DEADLINE_EXCEEDED");
  for (const thrown of [undefined, null, "text", { code: 5 }]) assert.equal(failureOfFetch(thrown).code, "UNAVAILABLE");
});
