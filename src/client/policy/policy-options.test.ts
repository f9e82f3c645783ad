import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { MethodInfo } from "../../call/method.ts";
import { checkMethodNames, policyStatements } from "./policy-options.ts";
import { resolvePolicy } from "./resolve-policy.ts";

const find: MethodInfo = { service: "a.B", name: "find", path: "/a.B/Find", kind: "unary", effect: "none" };

function refusal(work: () => unknown): Error {
  try {
    work();
  } catch (error) {
    assert.ok(error instanceof Error);
    return error;
  }
  return assert.fail("was not refused");
}

/** What a client's policy must not be, and what is said about it. */
const wrong: readonly [unknown, typeof TypeError | typeof RangeError, string][] = [
  [
    "interactiv",
    RangeError,
    'policy must be "standard" or "interactive" or "background" or "none", got "interactiv" (did you mean "interactive"?)',
  ],
  [null, TypeError, "policy must be an object, got null"],
  [7, TypeError, "policy must be an object, got 7"],
  [[], TypeError, "policy must be an object, got an array"],
  [{ timeout: 5 }, TypeError, 'unknown key "policy.timeout", did you mean "policy.timeoutMs"?'],
  [
    { cache: { ttlMs: 5 } },
    TypeError,
    'unknown key "policy.cache", known are preset, timeoutMs, attemptTimeoutMs, priority, mode, retry, hedge, throttle, gate, integrity',
  ],
  [
    { preset: "fast" },
    RangeError,
    'policy.preset must be "standard" or "interactive" or "background" or "none", got "fast"',
  ],
  [{ timeoutMs: 0 }, RangeError, "policy.timeoutMs must be 1..86_400_000 or Infinity, got 0"],
  [{ attemptTimeoutMs: Infinity }, RangeError, "policy.attemptTimeoutMs must be 1..86_400_000, got Infinity"],
  [
    { attemptTimeoutMs: true },
    TypeError,
    "policy.attemptTimeoutMs must be 1..86_400_000 or false, got true (on is the default)",
  ],
  [{ attemptTimeoutMs: "adaptive" }, TypeError, 'policy.attemptTimeoutMs must be a number, got "adaptive"'],
  [{ priority: "high" }, RangeError, 'policy.priority must be "critical" or "normal" or "sheddable", got "high"'],
  ...["available", "quorum", "forking"].map((mode): [unknown, typeof RangeError, string] => [
    { mode },
    RangeError,
    `policy.mode must be "failover", "failfast" or { kind: "forking", copies: 2..5 }, got "${mode}"`,
  ]),
  [
    { mode: { kind: "broadcast" } },
    RangeError,
    'policy.mode must be "failover", "failfast" or { kind: "forking", copies: 2..5 }, got kind "broadcast"',
  ],
  [{ mode: 3 }, TypeError, 'policy.mode must be "failover", "failfast" or { kind: "forking", copies: 2..5 }, got 3'],
  [
    { mode: [] },
    TypeError,
    'policy.mode must be "failover", "failfast" or { kind: "forking", copies: 2..5 }, got an array',
  ],
  [{ mode: null }, TypeError, "policy.mode must not be null (leave it out, or give undefined, for the default)"],
  [{ mode: { kind: "forking" } }, TypeError, "policy.mode.copies must be 2..5, got undefined"],
  [{ mode: { kind: "forking", copies: 6 } }, RangeError, "policy.mode.copies must be 2..5, got 6"],
  [{ mode: { kind: "forking", copies: 2.5 } }, RangeError, "policy.mode.copies must be an integer in 2..5, got 2.5"],
  [
    { mode: { kind: "forking", copies: 2, agree: 2 } },
    TypeError,
    'unknown key "policy.mode.agree", known are kind, copies',
  ],
  [{ retry: true }, TypeError, "policy.retry must be an object or false, got true (on is the default)"],
  [{ retry: { attemptsMax: 0 } }, RangeError, "policy.retry.attemptsMax must be 1..10 or Infinity, got 0"],
  [{ retry: { attemptsMax: 11 } }, RangeError, "policy.retry.attemptsMax must be 1..10 or Infinity, got 11"],
  [
    { retry: { attempts: 5 } },
    TypeError,
    'unknown key "policy.retry.attempts", did you mean "policy.retry.attemptsMax"?',
  ],
  [
    { retry: { codes: ["ABORTED"] } },
    RangeError,
    'policy.retry.codes[0] must be "UNKNOWN" or "DEADLINE_EXCEEDED" or "INTERNAL" or "UNAVAILABLE" or "DATA_LOSS", got "ABORTED" (it is an answer: whether to ask again is its caller\'s to decide)',
  ],
  [
    { retry: { codes: ["UNAVAILABLE", "RESOURCE_EXHAUSTED"] } },
    RangeError,
    'policy.retry.codes[1] must be "UNKNOWN" or "DEADLINE_EXCEEDED" or "INTERNAL" or "UNAVAILABLE" or "DATA_LOSS", got "RESOURCE_EXHAUSTED" (it is repeated when the server says after how long, and only then)',
  ],
  [
    { retry: { codes: [14] } },
    TypeError,
    'policy.retry.codes[0] must be "UNKNOWN" or "DEADLINE_EXCEEDED" or "INTERNAL" or "UNAVAILABLE" or "DATA_LOSS", got 14',
  ],
  [{ retry: { codes: "UNAVAILABLE" } }, TypeError, 'policy.retry.codes must be an array, got "UNAVAILABLE"'],
  [
    { retry: { backoff: { baseMs: 5 } } },
    TypeError,
    'policy.retry.backoff.kind must be "exponential" or "linear" or "constant", got undefined',
  ],
  [
    { retry: { backoff: { kind: "fibonacci", baseMs: 5 } } },
    RangeError,
    'policy.retry.backoff.kind must be "exponential" or "linear" or "constant", got "fibonacci"',
  ],
  [
    { retry: { backoff: { kind: "constant", baseMs: 5, factor: 2 } } },
    TypeError,
    'unknown key "policy.retry.backoff.factor", known are kind, baseMs, jitter, maxMs',
  ],
  [
    { retry: { backoff: { kind: "exponential", baseMs: 5, stepMs: 5 } } },
    TypeError,
    'unknown key "policy.retry.backoff.stepMs", known are kind, baseMs, jitter, maxMs, factor',
  ],
  [
    { retry: { backoff: { kind: "exponential" } } },
    TypeError,
    "policy.retry.backoff.baseMs must be 1..600_000, got undefined",
  ],
  [
    { retry: { backoff: { kind: "linear", baseMs: 5 } } },
    TypeError,
    "policy.retry.backoff.stepMs must be 1..600_000, got undefined",
  ],
  [
    { retry: { backoff: { kind: "exponential", baseMs: 0 } } },
    RangeError,
    "policy.retry.backoff.baseMs must be 1..600_000, got 0",
  ],
  [
    { retry: { backoff: { kind: "exponential", baseMs: 50, factor: 0.5 } } },
    RangeError,
    "policy.retry.backoff.factor must be 1..10, got 0.5",
  ],
  [
    { retry: { backoff: { kind: "exponential", baseMs: 50, maxMs: 10 } } },
    RangeError,
    "policy.retry.backoff.maxMs must be 50..3_600_000, got 10",
  ],
  [
    { retry: { backoff: { kind: "constant", baseMs: 50, jitter: "half" } } },
    RangeError,
    'policy.retry.backoff.jitter must be "none" or "equal" or "full" or "decorrelated", got "half"',
  ],
  [
    { retry: { backoff: { timeout: { kind: "constant" } } } },
    TypeError,
    "policy.retry.backoff.timeout.baseMs must be 1..600_000, got undefined",
  ],
  [
    { retry: { backoff: { failure: { kind: "constant", baseMs: 5 }, overload: {} } } },
    TypeError,
    'unknown key "policy.retry.backoff.overload", known are failure, timeout',
  ],
  [{ retry: { backoff: 50 } }, TypeError, "policy.retry.backoff must be an object, got 50"],
  [{ hedge: true }, TypeError, "policy.hedge must be an object or false, got true (on is the default)"],
  [
    { hedge: { after: "median" } },
    RangeError,
    'policy.hedge.after must be "overdue" or "p90" or "p95" or "p98" or "p99", got "median"',
  ],
  [{ hedge: { after: "p95", afterMs: 5 } }, TypeError, "give policy.hedge.after or policy.hedge.afterMs, not both"],
  [{ hedge: { afterMs: 0 } }, RangeError, "policy.hedge.afterMs must be 1..86_400_000, got 0"],
  [{ hedge: { copiesMax: 4 } }, RangeError, "policy.hedge.copiesMax must be 1..3, got 4"],
  [
    { throttle: true },
    TypeError,
    "policy.throttle may only be false here, got true (on is the default, its numbers are the channel's)",
  ],
  [
    { gate: {} },
    TypeError,
    "policy.gate may only be false here, got an object (Object) (on is the default, its numbers are the channel's)",
  ],
  [{ integrity: true }, TypeError, "policy.integrity may only be false here, got true (on is the default)"],
  [{ fallback: () => ({}) }, TypeError, "policy.fallback belongs under methods: a reply is one method's"],
  [
    { mode: "failfast", retry: { attemptsMax: 2 } },
    TypeError,
    "policy has mode failfast, which is one attempt, and retry.attemptsMax 2: give one of the two",
  ],
  [
    { mode: "failfast", hedge: {} },
    TypeError,
    "policy has mode failfast, which is one attempt, and hedge: give one of the two",
  ],
  [
    { mode: { kind: "forking", copies: 2 }, hedge: {} },
    TypeError,
    "policy has mode forking, which starts its copies at once, and hedge: give one of the two",
  ],
];

test("each wrong policy is refused where it is given, with key, range and value", () => {
  for (const [given, kind, message] of wrong) {
    const error = refusal(() => resolvePolicy({ method: find, client: given }));
    assert.equal(error.message, message);
    assert.ok(error instanceof kind, `${message}: ${error.name}`);
  }
});

test("under methods and per call the messages name their place", () => {
  const cases: readonly [object, string][] = [
    [{ own: { retry: { attemptsMax: 0 } } }, "methods.find.retry.attemptsMax must be 1..10 or Infinity, got 0"],
    [{ own: "none" }, 'methods.find must be an object, got "none"'],
    [{ own: { fallback: "x" } }, 'methods.find.fallback must be a function, got "x"'],
    [{ call: { timeoutMs: 5 } }, "policy.timeoutMs belongs beside policy: it is an option of the call itself"],
    [{ call: { priority: "normal" } }, "policy.priority belongs beside policy: it is an option of the call itself"],
    [{ call: { fallback: () => ({}) } }, "policy.fallback belongs under methods: a reply is one method's"],
    [
      { call: "nun" },
      'policy must be "standard" or "interactive" or "background" or "none", got "nun" (did you mean "none"?)',
    ],
  ];
  for (const [levels, message] of cases) {
    assert.equal(refusal(() => resolvePolicy({ method: find, ...levels })).message, message);
  }
});

test("a name under methods that the contract does not have is refused with the nearest one", () => {
  assert.equal(
    refusal(() => checkMethodNames({ fnid: {} }, ["find", "buy"])).message,
    'unknown key "methods.fnid", did you mean "methods.find"?',
  );
  assert.equal(refusal(() => checkMethodNames([], ["find"])).message, "methods must be an object, got an array");
  const own = { timeoutMs: 5 };
  assert.deepEqual({ ...checkMethodNames({ find: own }, ["find", "buy"]) }, { find: own, buy: undefined });
  assert.deepEqual({ ...checkMethodNames(undefined, ["find"]) }, { find: undefined });
});

test("a backoff takes the defaults of its own kind, once for both causes or once for each", () => {
  const backoff = (given: unknown): readonly unknown[] => {
    const { failureBackoff, timeoutBackoff } = resolvePolicy({
      method: find,
      client: { retry: { backoff: given } },
    }).policy;
    return [failureBackoff, timeoutBackoff];
  };
  const standard = { kind: "exponential", baseMs: 50, factor: 2, stepMs: 0, maxMs: 1_000, jitter: "full" };
  assert.deepEqual(backoff({ kind: "exponential", baseMs: 50 }), [standard, standard]);
  const linear = { kind: "linear", baseMs: 10, factor: 1, stepMs: 5, maxMs: 200, jitter: "none" };
  assert.deepEqual(backoff({ kind: "linear", baseMs: 10, stepMs: 5, jitter: "none" }), [linear, linear]);
  const constant = { kind: "constant", baseMs: 600_000, factor: 1, stepMs: 0, maxMs: 3_600_000, jitter: "full" };
  assert.deepEqual(backoff({ timeout: { kind: "constant", baseMs: 600_000 } }), [standard, constant]);
  assert.deepEqual(backoff({ failure: { kind: "linear", baseMs: 10, stepMs: 5, jitter: "none" } }), [linear, standard]);
  assert.deepEqual(backoff({}), [standard, standard]);
  assert.deepEqual(backoff({ failure: undefined }), [standard, standard]);
});

test("what is absent, undefined or inherited states nothing", () => {
  assert.deepEqual(policyStatements("policy", undefined, "client"), []);
  const inherited: unknown = Object.create({ retry: false, timeoutMs: 5, fallback: () => ({}) });
  assert.deepEqual(policyStatements("policy", inherited, "client"), []);
  const undefinedOnly = {
    preset: undefined,
    timeoutMs: undefined,
    retry: undefined,
    hedge: undefined,
    mode: undefined,
  };
  assert.deepEqual(policyStatements("policy", undefinedOnly, "client"), []);
});

test("whatever is given as a policy ends in statements, a TypeError or a RangeError", () => {
  const keys = fc.constantFrom("preset", "mode", "retry", "hedge", "timeoutMs", "throttle", "backoff", "__proto__");
  const inner = fc.dictionary(
    fc.constantFrom("kind", "attemptsMax", "backoff", "codes", "after", "failure"),
    fc.anything(),
  );
  fc.assert(
    fc.property(fc.dictionary(keys, fc.oneof(fc.anything(), inner)), (given) => {
      try {
        for (const { place } of policyStatements("policy", given, "client")) assert.match(place, /^policy\./);
      } catch (error) {
        assert.ok(error instanceof TypeError || error instanceof RangeError, String(error));
      }
    }),
  );
});
