import assert from "node:assert/strict";
import { test } from "node:test";
import type { Code } from "../../call/code.ts";
import { codeNumber } from "../../call/code.ts";
import type { MethodInfo } from "../../call/method.ts";
import { DEFAULT_BACKOFF } from "../../policy/recover/backoff.ts";
import type { Preset } from "./policy.ts";
import { codeBits, defaultSettings, presetNames, presetRows } from "./presets.ts";
import { resolvePolicy } from "./resolve-policy.ts";

const find: MethodInfo = { service: "a.B", name: "find", path: "/a.B/Find", kind: "unary", effect: "none" };

test("the presets have the numbers of the reference", () => {
  const rows: Readonly<Record<Preset, readonly unknown[]>> = {
    standard: [30_000, 3, 50, 1_000, "overdue", undefined, true],
    interactive: [3_000, 3, 25, 250, "overdue", undefined, true],
    background: [300_000, 5, 1_000, 30_000, undefined, "sheddable", true],
    none: [30_000, 1, 50, 1_000, undefined, undefined, false],
  };
  for (const preset of presetNames) {
    const { policy } = resolvePolicy({ method: find, client: preset });
    const { timeoutMs, attemptsMax, failureBackoff, hedge, priority, throttle, gate, integrity } = policy;
    const { kind, baseMs, factor, maxMs, jitter } = failureBackoff;
    const copy = hedge === false ? undefined : hedge.kind;
    assert.deepEqual([timeoutMs, attemptsMax, baseMs, maxMs, copy, priority, throttle], rows[preset], preset);
    assert.deepEqual([kind, factor, jitter], ["exponential", 2, "full"], preset);
    assert.deepEqual(policy.timeoutBackoff, failureBackoff, preset);
    assert.deepEqual([gate, integrity], [throttle, throttle], preset);
    assert.deepEqual([policy.mode, policy.copies, policy.attemptTimeoutMs], ["failover", 1, Infinity], preset);
    assert.equal(policy.preset, preset);
    assert.ok(Object.isFrozen(presetRows[preset]));
  }
});

test("no policy is the standard preset with the deadline of the method's kind", () => {
  const silent = resolvePolicy({ method: find });
  const standard = resolvePolicy({ method: find, client: "standard" });
  assert.deepEqual({ ...silent.policy, timeoutMs: 30_000 }, standard.policy);
  assert.equal(silent.policy.timeoutMs, undefined);
  assert.deepEqual(silent.policy.failureBackoff, DEFAULT_BACKOFF);
  assert.deepEqual(new Set(silent.origins.values()), new Set(["default"]));
  assert.deepEqual(silent.policy.hedge, { kind: "overdue", copiesMax: 1 });
  assert.deepEqual(silent.notes, []);
});

test("the failures that are repeated are DESIGN's five, and an overload is not among them", () => {
  const five: readonly Code[] = ["UNAVAILABLE", "INTERNAL", "UNKNOWN", "DATA_LOSS", "DEADLINE_EXCEEDED"];
  assert.equal(defaultSettings.codes, codeBits(five));
  for (const code of five) assert.notEqual(defaultSettings.codes & (1 << codeNumber(code)), 0, code);
  assert.equal(defaultSettings.codes & (1 << codeNumber("RESOURCE_EXHAUSTED")), 0);
  assert.equal(defaultSettings.codes & (1 << codeNumber("ABORTED")), 0);
  assert.equal(codeBits([]), 0);
});
