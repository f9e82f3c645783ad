import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { formatTimeout, parseTimeout, parseTimeoutBytes } from "./timeout.ts";

test("writes the largest unit that loses nothing, else the finest that fits", () => {
  const cases: readonly [number, string][] = [
    [30_000, "30S"],
    [1_000, "1S"],
    [999.5, "999500u"],
    [100, "100m"],
    [1, "1m"],
    [0.25, "250u"],
    [0.000001, "1n"],
    [60_000, "1M"],
    [3_600_000, "1H"],
    [86_400_000, "24H"],
    [29_999.123456, "29999123u"],
    [99_999_999, "99999999m"],
    [100_000_000, "100000S"],
    [123_456_789.9, "123456S"],
    [99_999_999_999, "99999999S"],
    [100_000_000_000, "1666666M"],
    [6e12, "1666666H"],
    [1e300, "99999999H"],
    [Infinity, "99999999H"],
  ];
  for (const [ms, text] of cases) assert.equal(formatTimeout(ms), text, String(ms));
});

test("never writes 0, which the wire does not have", () => {
  for (const ms of [0, -0, -5, 1e-9, -Infinity]) assert.equal(formatTimeout(ms), "1n");
});

test("NaN is a programmer's error", () => {
  assert.throws(() => formatTimeout(NaN), RangeError);
});

test("reads all six units", () => {
  const cases: readonly [string, number][] = [
    ["1n", 0.000001],
    ["250u", 0.25],
    ["7m", 7],
    ["30S", 30_000],
    ["2M", 120_000],
    ["1H", 3_600_000],
    ["99999999H", 359_999_996_400_000],
    ["0S", 0],
    ["00000007m", 7],
  ];
  for (const [text, ms] of cases) assert.equal(parseTimeout(text), ms, text);
});

test("malformed ones are refused", () => {
  const malformed = [
    "",
    "S",
    "30",
    "30s",
    "30X",
    "123456789S",
    "-1S",
    "+1S",
    " 1S",
    "1S ",
    "1 S",
    "1.5S",
    "1e3m",
    "٣S",
    "1SS",
    "0x1S",
  ];
  for (const text of malformed) {
    const bytes = Buffer.from(text, "utf8");
    assert.equal(parseTimeout(text), undefined, text);
    assert.equal(parseTimeoutBytes(bytes, 0, bytes.length), NaN, text);
  }
});

test("what is written is well formed, never more than the truth, and at most 1/10,000 less", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.double({ min: 0.1, max: 3e14, noNaN: true }),
        fc.nat(100_000_000),
        fc.double({ min: 0.1, max: 1e5, noNaN: true }),
      ),
      (ms) => {
        const text = formatTimeout(ms);
        assert.match(text, /^[1-9][0-9]{0,7}[HMSmun]$/);
        const read = parseTimeout(text) ?? NaN;
        if (ms >= 0.1) assert.ok(read <= ms * (1 + 1e-12) && read >= ms * 0.9999, `${ms} ${text} ${read}`);
      },
    ),
    { numRuns: 2_000 },
  );
});

test("whole milliseconds up to a day survive unchanged", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 86_400_000 }), (ms) => {
      assert.equal(parseTimeout(formatTimeout(ms)), ms);
    }),
  );
});

test("bytes anywhere in a buffer and text are read alike, whatever they hold", () => {
  const arbitrary = fc.oneof(fc.string(), fc.stringMatching(/^[0-9]{1,10}[HMSmunx]$/));
  fc.assert(
    fc.property(arbitrary, fc.nat(8), (text, at) => {
      const bytes = Buffer.alloc(at + Buffer.byteLength(text) + 3, 0x31);
      const end = at + bytes.write(text, at, "utf8");
      const read = parseTimeoutBytes(bytes, at, end);
      assert.equal(Number.isNaN(read) ? undefined : read, parseTimeout(text));
    }),
  );
});

test("a range that leaves the buffer is malformed, not an exception", () => {
  assert.equal(parseTimeoutBytes(Buffer.from("1S"), 0, 5), NaN);
  assert.equal(parseTimeoutBytes(Buffer.from("1S"), 2, 1), NaN);
});
