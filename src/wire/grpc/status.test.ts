import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  codeFromHttp2Error,
  codeFromHttpStatus,
  cutStatusMessage,
  decodeStatusMessage,
  encodeStatusMessage,
  parseStatusCode,
} from "./status.ts";

test("HTTP statuses map as gRPC's table has it, all others to UNKNOWN", () => {
  const table = {
    400: "INTERNAL",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "UNIMPLEMENTED",
    429: "UNAVAILABLE",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "UNAVAILABLE",
  };
  for (let status = 0; status < 1_000; status++) {
    assert.equal(codeFromHttpStatus(status), (table as Record<number, string>)[status] ?? "UNKNOWN");
  }
});

test("HTTP/2 error codes map as gRPC's table has it, unknown ones to INTERNAL", () => {
  const table = { 7: "UNAVAILABLE", 8: "CANCELLED", 11: "RESOURCE_EXHAUSTED", 12: "PERMISSION_DENIED" };
  for (const code of [...Array(14).keys(), 255, 2 ** 32 - 1]) {
    assert.equal(codeFromHttp2Error(code), (table as Record<number, string>)[code] ?? "INTERNAL");
  }
});

test("a status is decimal digits and nothing else", () => {
  assert.equal(parseStatusCode("0"), 0);
  assert.equal(parseStatusCode("16"), 16);
  assert.equal(parseStatusCode("007"), 7);
  assert.equal(parseStatusCode("999"), 999);
  for (const text of ["", "-1", "+1", " 1", "1 ", "0x1", "1.0", "OK", "1234567890", "١"]) {
    assert.equal(parseStatusCode(text), undefined, text);
  }
});

test("the interop test's special message is written as grpc-go writes it", () => {
  const message = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n";
  const encoded = "%09%0Atest with whitespace%0D%0Aand Unicode BMP %E2%98%BA and non-BMP %F0%9F%98%88%09%0A";
  assert.equal(encodeStatusMessage(message), encoded);
  assert.equal(decodeStatusMessage(encoded), message);
});

test("plain text stays as it is, the percent sign and spaces at the ends do not", () => {
  assert.equal(encodeStatusMessage("no such order (42)!"), "no such order (42)!");
  assert.equal(encodeStatusMessage("100%"), "100%25");
  assert.equal(encodeStatusMessage(" a b "), "%20a b%20");
  assert.equal(encodeStatusMessage(""), "");
  assert.equal(encodeStatusMessage(" "), "%20");
});

test("what is written is a valid HTTP/2 field value and reads back the same", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: "grapheme" }), fc.string({ unit: "binary-ascii" })), (text) => {
      const encoded = encodeStatusMessage(text);
      assert.match(encoded, /^(?:[!-~](?:[ -~]*[!-~])?)?$/);
      assert.equal(decodeStatusMessage(encoded), text);
    }),
  );
});

test("lone surrogates become U+FFFD", () => {
  assert.equal(decodeStatusMessage(encodeStatusMessage("a\ud800b")), "a\ufffdb");
});

test("decoding never fails: bad escapes stay, bad UTF-8 becomes U+FFFD", () => {
  const cases: readonly [string, string][] = [
    ["%", "%"],
    ["%4", "%4"],
    ["%zz", "%zz"],
    ["100% sure", "100% sure"],
    ["%41%", "A%"],
    ["%%41", "%A"],
    ["%e2%98%ba", "☺"],
    ["%FF", "\ufffd"],
    ["%E2%98", "\ufffd"],
    ["%00", "\0"],
    ["%2541", "%41"],
    ["\u00e2\u0098\u00ba", "☺"],
    ["☺%41", "☺A"],
  ];
  for (const [encoded, text] of cases) assert.equal(decodeStatusMessage(encoded), text, encoded);
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: "binary" }), fc.stringMatching(/^[%0-9a-f]*$/)), (text) => {
      assert.ok(decodeStatusMessage(text).isWellFormed());
    }),
  );
});

test("a text is cut between characters, to the bytes that it has encoded, and not at all if it fits", () => {
  assert.equal(cutStatusMessage("abc", 13), "abc");
  assert.equal(cutStatusMessage("a".repeat(30), 20), `${"a".repeat(7)}\u2026`);
  // A pair of surrogates is twelve bytes: eleven are no room for one.
  assert.equal(cutStatusMessage("😀😀😀", 36), "😀\u2026");
  assert.equal(cutStatusMessage("😀😀😀", 24), "\u2026");
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 300 }), fc.integer({ min: 13, max: 3_000 }), (text, max) => {
      const cut = cutStatusMessage(text, max);
      assert.ok(encodeStatusMessage(cut).length <= max);
      if (cut === text) return;
      assert.ok(cut.endsWith("\u2026") && text.startsWith(cut.slice(0, -1)));
      assert.ok(cut.isWellFormed() || !text.isWellFormed());
      assert.ok(encodeStatusMessage(text).length > max - 4);
    }),
    { seed: 7, numRuns: 500 },
  );
});
