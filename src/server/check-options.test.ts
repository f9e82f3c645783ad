import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type ChecksOptions, resolveChecks } from "./check-options.ts";

const check = (): void => {};

describe("the option checks", () => {
  it("takes a function or an object, and fills in the rest", () => {
    const checks = resolveChecks({ database: check, disk: { check, isEssential: true, intervalMs: 500 } });
    assert.deepEqual(checks, [
      { name: "database", check, isEssential: false, intervalMs: 10_000, timeoutMs: 2_000 },
      { name: "disk", check, isEssential: true, intervalMs: 500, timeoutMs: 500 },
    ]);
    assert.ok(Object.isFrozen(checks) && Object.isFrozen(checks[0]));
    assert.deepEqual(resolveChecks(undefined), []);
  });

  it("refuses what is no check, naming it", () => {
    const refusals: readonly (readonly [given: unknown, words: RegExp])[] = [
      [{ database: "select 1" }, /checks\.database must be a function or an object with one as check, got "select 1"/],
      [{ database: {} }, /checks\.database\.check must be a function, got undefined/],
      [{ database: null }, /checks\.database must not be null/],
      [{ database: { check, isEsential: true } }, /did you mean "checks\.database\.isEssential"/],
      [{ database: { check, intervalMs: 99 } }, /checks\.database\.intervalMs must be 100\.\.86_400_000, got 99/],
      [{ database: { check, timeoutMs: 0 } }, /checks\.database\.timeoutMs must be 1\.\.600_000, got 0/],
      [
        { database: { check, intervalMs: 1_000, timeoutMs: 1_001 } },
        /timeoutMs must be at most intervalMs \(1000\), got 1001/,
      ],
      [{ "": check }, /name must have 1\.\.100 characters/],
      [Object.fromEntries(Array.from({ length: 101 }, (_, i) => [`c${i}`, check])), /at most 100, got 101/],
      [[check], /checks must be an object/],
    ];
    for (const [given, words] of refusals) assert.throws(() => resolveChecks(given as ChecksOptions), words);
  });
});
