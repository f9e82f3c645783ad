import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { encodeStatusMessage } from "../grpc/status.ts";
import { fittingStatus } from "./fitting-status.ts";
import { pairsListBytes, type Status } from "./server-exchange.ts";

const status = (text: string, detailsBytes: number | undefined, metadata?: readonly string[]): Status => ({
  code: "ABORTED",
  text,
  metadata,
  details: detailsBytes === undefined ? undefined : Buffer.alloc(detailsBytes),
  retryAfterMs: 70,
  isNotRun: true,
  reason: "DOOMED",
});
const bytesOf = ({ text, details, metadata }: Status): number =>
  encodeStatusMessage(text).length + Math.ceil(((details?.length ?? 0) * 4) / 3) + pairsListBytes(metadata ?? []);
const fitted = (given: Status, listBytesMax: number): Status =>
  fittingStatus(given, pairsListBytes(given.metadata ?? []), listBytesMax);

test("what fits goes as it is, the same object", () => {
  const small = status("no tea", 100, ["a", "b"]);
  for (const max of [1_200, 8_192, 16_384, Infinity]) assert.equal(fitted(small, max), small);
});

test("the details go before the text is cut, and the metadata last; code, pushback, mark and reason stay", () => {
  const metadata = ["a", "b".repeat(1_000)];
  const steps: readonly (readonly [Status, number, boolean, number, boolean])[] = [
    [status("t".repeat(1_000), 6_000, metadata), 16_384, false, 1_000, true],
    [status("t".repeat(9_000), 10, metadata), 16_384, false, 7_156, true],
    [status("t".repeat(9_000), 10, metadata), 4_096, false, 2_155, true],
    [status("t".repeat(9_000), undefined, metadata), 1_900, false, 992, false],
    [status("t", 10, ["a", "b".repeat(70_000)]), 16_384, true, 1, false],
    [status("t", 10, metadata), 100, false, 0, false],
  ];
  for (const [given, max, hasDetails, length, hasMetadata] of steps) {
    const { text, details, metadata: kept, ...rest } = fitted(given, max);
    assert.deepEqual([details !== undefined, text.length, kept !== undefined], [hasDetails, length, hasMetadata]);
    assert.deepEqual(rest, { code: "ABORTED", retryAfterMs: 70, isNotRun: true, reason: "DOOMED" });
  }
});

test("details that leave no room for an empty text go too", () => {
  assert.equal(fitted(status("", 7_000), Infinity).details, undefined);
});

test("whatever is given stays within the peer's limit, if that has room for the other fields", () => {
  fc.assert(
    fc.property(
      fc.string({ unit: "binary", maxLength: 4_000 }),
      fc.nat(9_000),
      fc.nat(9_000),
      fc.integer({ min: 1_000, max: 20_000 }),
      (text, details, metadata, max) => {
        const result = fitted(status(text, details, ["a", "b".repeat(metadata)]), max);
        assert.ok(bytesOf(result) <= max - 896, `${bytesOf(result)} of ${max}`);
        assert.ok(text.startsWith(result.text.replace(/\u2026$/u, "")));
      },
    ),
    { seed: 7, numRuns: 300 },
  );
});
