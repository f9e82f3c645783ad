import assert from "node:assert/strict";
import { it } from "node:test";
import fc from "fast-check";
import { retryAfterMs } from "./retry-after.ts";

const NOW = Date.UTC(2026, 10, 26, 12, 0, 0);

it("reads seconds and the three forms of a date", () => {
  assert.equal(retryAfterMs("120", NOW), 120_000);
  assert.equal(retryAfterMs(" 0 ", NOW), 0);
  assert.equal(retryAfterMs("Thu, 26 Nov 2026 12:00:05 GMT", NOW), 5_000);
  assert.equal(retryAfterMs("Thursday, 26-Nov-26 12:01:00 GMT", NOW), 60_000);
  assert.equal(retryAfterMs("Thu Nov 26 13:00:00 2026", NOW), 3_600_000);
  assert.equal(retryAfterMs("Sun Nov  1 00:00:00 2026", NOW), 0, "what is past is now");
  assert.equal(retryAfterMs("Sunday, 06-Nov-94 08:49:37 GMT", NOW), 0, "two digits far ahead are the past");
});

it("says nothing about anything else", () => {
  for (const field of [
    "",
    "soon",
    "-1",
    "1.5",
    "1e3",
    "99999999999",
    "Thu, 26 Foo 2026 12:00:05 GMT",
    "Thu, 32 Nov 2026 12:00:05 GMT",
    "Thu, 26 Nov 2026 25:00:05 GMT",
    "Thu, 26 Nov 2026 12:00:05 CET",
  ]) {
    assert.equal(retryAfterMs(field, NOW), undefined, field);
  }
});

it("agrees with Date about every date that Date prints", () => {
  const second = fc.integer({ min: Date.UTC(1970, 0, 1) / 1_000, max: Date.UTC(2399, 11, 31) / 1_000 });
  fc.assert(
    fc.property(second, second, (at, now) => {
      const expected = Math.max(0, (at - now) * 1_000);
      assert.equal(retryAfterMs(new Date(at * 1_000).toUTCString(), now * 1_000), expected);
    }),
  );
});

it("takes any text without throwing", () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 60 }), (text) => {
      const ms = retryAfterMs(text, NOW);
      assert.ok(ms === undefined || ms >= 0);
    }),
  );
});
