import assert from "node:assert/strict";
import { it } from "node:test";
import { effectOfKind, type FetchInit, type FetchInput, requestFacts } from "./http-request.ts";

const URL_TEXT = "https://pay.example:8443/charges?id=1";

it("GET and HEAD have effect none, PUT and DELETE idempotent, POST with a key once, all else unknown", () => {
  const cases: readonly [FetchInput, FetchInit, effect: string][] = [
    [URL_TEXT, undefined, "none"],
    [new URL(URL_TEXT), { method: "head" }, "none"],
    [URL_TEXT, { method: "put" }, "idempotent"],
    [new Request(URL_TEXT, { method: "DELETE" }), undefined, "idempotent"],
    [URL_TEXT, { method: "POST" }, "unknown"],
    [URL_TEXT, { method: "POST", headers: { "Idempotency-Key": "k1" } }, "once"],
    [URL_TEXT, { method: "POST", headers: [["idempotency-key", "k1"]] }, "once"],
    [new Request(URL_TEXT, { method: "POST", headers: { "idempotency-key": "k1" } }), undefined, "once"],
    [new Request(URL_TEXT, { method: "POST", headers: { "idempotency-key": "k1" } }), { headers: {} }, "unknown"],
    [new Request(URL_TEXT, { method: "PUT" }), { method: "PATCH" }, "unknown"],
    [URL_TEXT, { method: "PATCH", headers: { "idempotency-key": "k1" } }, "unknown"],
    [URL_TEXT, { method: "OPTIONS" }, "unknown"],
  ];
  for (const [input, init, effect] of cases) {
    const facts = requestFacts(input, init);
    assert.ok(facts !== undefined);
    assert.equal(effectOfKind[facts.kind], effect, `${JSON.stringify(init)}`);
    assert.equal(facts.host, "pay.example:8443");
  }
});

it("a body that can be read once cannot be sent again", () => {
  const stream = new ReadableStream<Uint8Array>();
  const can = (body: unknown): boolean | undefined =>
    requestFacts(URL_TEXT, { method: "PUT", body } as FetchInit)?.canSendAgain;
  for (const body of [
    undefined,
    null,
    "text",
    new Uint8Array(3),
    new ArrayBuffer(3),
    new Blob(["x"]),
    new FormData(),
    new URLSearchParams("a=1"),
  ]) {
    assert.equal(can(body), true, String(body));
  }
  assert.equal(can(stream), false);
  assert.equal(can(globalThis.Array.from("ab")[Symbol.iterator]()), false, "whatever is not known");
  assert.equal(requestFacts(new Request(URL_TEXT), undefined)?.canSendAgain, true);
  assert.equal(requestFacts(new Request(URL_TEXT, { method: "PUT", body: "x" }), undefined)?.canSendAgain, false);
});

it("the signal is the second argument's, else the request's; null takes it away", () => {
  const own = AbortSignal.abort();
  const other = new AbortController().signal;
  const request = new Request(URL_TEXT, { signal: other });
  assert.equal(requestFacts(request, { signal: own })?.signal, own);
  assert.equal(requestFacts(request, {})?.signal, request.signal);
  assert.equal(requestFacts(request, { signal: null })?.signal, undefined);
  assert.equal(requestFacts(URL_TEXT, undefined)?.signal, undefined);
});

it("what is no request to an HTTP server is left to fetch", () => {
  const odd: unknown[] = [
    "not a url",
    "/relative",
    "data:text/plain,hi",
    "ftp://a.example/",
    5,
    null,
    undefined,
    Symbol("x"),
    {},
  ];
  for (const input of odd) assert.equal(requestFacts(input as FetchInput, undefined), undefined);
  const headers = { "bad name": "x" };
  assert.equal(requestFacts(URL_TEXT, { method: "POST", headers })?.kind, "POST", "fetch refuses the header itself");
});
