import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { CallKind, Effect, MethodInfo } from "../../call/method.ts";
import type { Policy, Preset } from "./policy.ts";
import { codeBits, presetNames, presetRows } from "./presets.ts";
import { callPolicy, resolveCall, resolvePolicy, type PolicyLevels } from "./resolve-policy.ts";
import { parseServiceConfig, serviceConfigEntry } from "./service-config.ts";

function methodOf(effect: Effect, kind: CallKind = "unary"): MethodInfo {
  return { service: "shop.v1.Shop", name: "buy", path: "/shop.v1.Shop/Buy", kind, effect };
}
const none = methodOf("none");

function fromConfig(entry: object): NonNullable<PolicyLevels["serviceConfig"]> {
  const config = parseServiceConfig(
    { methodConfig: [{ name: [{ service: "shop.v1.Shop" }], ...entry }] },
    "shop.v1.Shop",
  );
  return serviceConfigEntry(config, none) ?? assert.fail("no entry");
}

test("of the levels the later one wins, key by key, and each value knows its level", () => {
  const levels: [keyof PolicyLevels | "start", unknown, number | undefined, string][] = [
    ["start", undefined, undefined, "default"],
    ["contractTimeoutMs", 100, 100, "contract"],
    ["serviceConfig", fromConfig({ timeout: "0.2s" }), 200, "service-config"],
    ["client", { timeoutMs: 300 }, 300, "client"],
    ["own", { timeoutMs: 400 }, 400, "method"],
    ["call", "none", 30_000, "preset"],
  ];
  let given: PolicyLevels = { method: none };
  for (const [level, value, timeoutMs, origin] of levels) {
    if (level !== "start") given = { ...given, [level]: value };
    const { policy, origins } = resolvePolicy(given);
    assert.equal(policy.timeoutMs, timeoutMs, level);
    assert.equal(origins.get("timeoutMs"), origin, level);
  }
});

test("a later level changes the keys that it states and leaves the others", () => {
  const { policy, origins } = resolvePolicy({
    method: none,
    client: { retry: { attemptsMax: 7, codes: ["UNAVAILABLE"] }, hedge: { afterMs: 40, copiesMax: 2 } },
    own: { retry: { backoff: { timeout: { kind: "constant", baseMs: 9 } } }, hedge: { after: "p98" } },
    call: { retry: { attemptsMax: Infinity } },
  });
  assert.equal(policy.attemptsMax, Infinity);
  assert.equal(policy.codes, codeBits(["UNAVAILABLE"]));
  assert.equal(policy.failureBackoff.baseMs, 50);
  assert.equal(policy.timeoutBackoff.baseMs, 9);
  assert.deepEqual(policy.hedge, { kind: "quantile", quantile: 0.98, copiesMax: 2 });
  const wanted = {
    "retry.attemptsMax": "call",
    "retry.codes": "client",
    "retry.backoff.failure": "default",
    "retry.backoff.timeout": "method",
    hedge: "method",
    "hedge.after": "method",
    "hedge.copiesMax": "client",
    throttle: "default",
  };
  assert.deepEqual(Object.fromEntries(Object.keys(wanted).map((key) => [key, origins.get(key)])), wanted);
});

test("within a level the preset stands first, whatever the order of the keys", () => {
  for (const client of [
    { preset: "background", timeoutMs: 5_000, retry: { attemptsMax: 2 } },
    { timeoutMs: 5_000, retry: { attemptsMax: 2 }, preset: "background" },
  ]) {
    const { policy, origins } = resolvePolicy({ method: none, client });
    assert.deepEqual([policy.timeoutMs, policy.attemptsMax, policy.failureBackoff.baseMs], [5_000, 2, 1_000]);
    assert.deepEqual([origins.get("timeoutMs"), origins.get("retry.backoff.failure")], ["client", "preset"]);
  }
});

test("a preset at a later level takes back what stood below it, but codes", () => {
  const own = {
    timeoutMs: 5,
    attemptTimeoutMs: 2,
    mode: { kind: "forking", copies: 3 },
    throttle: false,
    retry: { codes: ["UNAVAILABLE"] },
    fallback: () => ({}),
  } as const;
  const { policy } = resolvePolicy({ method: none, own, call: "standard" });
  const standard = resolvePolicy({ method: none, client: "standard" }).policy;
  assert.deepEqual(policy, { ...standard, codes: codeBits(["UNAVAILABLE"]), fallback: own.fallback });
});

test("none is plain gRPC: one attempt, one peer, a deadline, no protections, no fallback", () => {
  const own = { mode: { kind: "forking", copies: 3 }, attemptTimeoutMs: 5, fallback: () => ({}) };
  const { policy } = resolvePolicy({ method: none, own, call: "none" });
  const { timeoutMs, attemptTimeoutMs, mode, copies, attemptsMax, hedge, throttle, gate, integrity, fallback } = policy;
  assert.deepEqual([timeoutMs, attemptTimeoutMs, mode, copies, attemptsMax], [30_000, Infinity, "failover", 1, 1]);
  assert.deepEqual([hedge, throttle, gate, integrity, fallback], [false, false, false, false, undefined]);
});

test("a preset without a priority goes back to the contract's", () => {
  const priorityOf = (levels: Omit<PolicyLevels, "method">): unknown => {
    const { policy, origins } = resolvePolicy({ method: none, ...levels });
    return [policy.priority, origins.get("priority")];
  };
  assert.deepEqual(priorityOf({ client: "background" }), ["sheddable", "preset"]);
  assert.deepEqual(priorityOf({ client: "background", call: "interactive" }), [undefined, "default"]);
  assert.deepEqual(priorityOf({ contractPriority: "critical", client: "interactive" }), ["critical", "contract"]);
  assert.deepEqual(priorityOf({ contractPriority: "critical", client: "background", call: "none" }), [
    "critical",
    "contract",
  ]);
  assert.deepEqual(priorityOf({ client: { priority: "normal" } }), ["normal", "client"]);
});

test("false turns a layer off, an object turns it on again", () => {
  const base = { retry: { attemptsMax: 4 }, hedge: { copiesMax: 2 } } as const;
  const off = resolvePolicy({
    method: none,
    client: base,
    own: { retry: false, hedge: false, attemptTimeoutMs: false },
  });
  assert.deepEqual([off.policy.attemptsMax, off.policy.hedge], [1, false]);
  assert.deepEqual([off.origins.get("retry.attemptsMax"), off.origins.get("hedge.copiesMax")], ["method", undefined]);
  const on = resolveCall(off, { retry: {}, hedge: {} });
  assert.deepEqual([on.policy.attemptsMax, on.policy.hedge], [4, { kind: "overdue", copiesMax: 2 }]);
});

test("failfast is one attempt that waits for no peer, whatever lower levels say", () => {
  const client = { retry: { attemptsMax: 5 }, hedge: { after: "p95" } } as const;
  const { policy, origins } = resolvePolicy({ method: none, client, call: { mode: "failfast" } });
  assert.deepEqual([policy.mode, policy.attemptsMax, policy.hedge, policy.waitForReady], ["failfast", 1, false, false]);
  assert.deepEqual([origins.get("retry.attemptsMax"), origins.get("waitForReady")], ["call", "call"]);
});

test("forking starts its copies at once, and they count as attempts", () => {
  const forking = { mode: { kind: "forking", copies: 3 } } as const;
  const of = (client: object): unknown[] => {
    const { mode, copies, attemptsMax, hedge } = resolvePolicy({
      method: none,
      client: { ...forking, ...client },
    }).policy;
    return [mode, copies, attemptsMax, hedge];
  };
  assert.deepEqual(of({}), ["forking", 3, 3, false]);
  assert.deepEqual(of({ retry: { attemptsMax: 5 } }), ["forking", 3, 5, false]);
  assert.deepEqual(of({ retry: false }), ["forking", 3, 3, false]);
});

test("what a method may not have is left out at the client's level, with a note", () => {
  const client: Policy = { mode: { kind: "forking", copies: 2 }, retry: { codes: ["UNAVAILABLE"], attemptsMax: 4 } };
  const of = (effect: Effect): unknown[] => {
    const { policy, notes } = resolvePolicy({ method: methodOf(effect), client });
    return [policy.mode, policy.codes, policy.attemptsMax, notes];
  };
  const bits = codeBits(["UNAVAILABLE"]);
  assert.deepEqual(of("none"), ["forking", bits, 4, []]);
  assert.deepEqual(of("idempotent"), ["forking", bits, 4, []]);
  assert.deepEqual(of("once"), [
    "failover",
    bits,
    4,
    ["policy.mode is left out (effect once: a copy would wait for the first)"],
  ]);
  assert.deepEqual(of("unknown"), [
    "failover",
    0,
    4,
    [
      "policy.mode is left out (effect unknown: a copy may do the work twice)",
      "policy.retry.codes is left out (effect unknown: it is repeated only if it provably never reached a handler)",
    ],
  ]);
  const hedged = resolvePolicy({ method: methodOf("once"), client: { hedge: { after: "p95" } } });
  assert.deepEqual(hedged.policy.hedge, false);
  assert.deepEqual(hedged.notes, ["policy.hedge is left out (effect once: a copy would wait for the first)"]);
});

test("a method that says unknown is never copied and repeated only unreached, also by default and by preset", () => {
  for (const client of [undefined, ...presetNames]) {
    for (const effect of ["once", "unknown"] as const) {
      const { policy, notes, origins } = resolvePolicy({ method: methodOf(effect), client });
      assert.equal(policy.hedge, false, `${client} ${effect}`);
      assert.equal(origins.get("hedge"), "contract");
      assert.equal(policy.codes === 0, effect === "unknown", `${client} ${effect}`);
      assert.deepEqual(notes, []);
    }
  }
});

test("the same under methods or per call is a RangeError that names method, effect and what to do", () => {
  const cases: [Effect, object, string][] = [
    [
      "once",
      { hedge: {} },
      ".hedge is refused for /shop.v1.Shop/Buy (effect once: a copy would wait for the first): declare effect none or idempotent, or leave hedge out",
    ],
    [
      "unknown",
      { hedge: { afterMs: 5 } },
      ".hedge is refused for /shop.v1.Shop/Buy (effect unknown: a copy may do the work twice): declare effect none or idempotent, or leave hedge out",
    ],
    [
      "once",
      { mode: { kind: "forking", copies: 2 } },
      ".mode is refused for /shop.v1.Shop/Buy (effect once: a copy would wait for the first): declare effect none or idempotent, or take another mode",
    ],
    [
      "unknown",
      { retry: { codes: ["UNAVAILABLE"] } },
      ".retry.codes is refused for /shop.v1.Shop/Buy (effect unknown: it is repeated only if it provably never reached a handler): declare effect none, idempotent or once, or leave codes out",
    ],
  ];
  for (const [effect, policy, message] of cases) {
    const method = methodOf(effect);
    const base = resolvePolicy({ method });
    assert.throws(() => resolvePolicy({ method, own: policy }), {
      name: "RangeError",
      message: `methods.buy${message}`,
    });
    assert.throws(() => resolvePolicy({ method, call: policy }), { name: "RangeError", message: `policy${message}` });
    assert.throws(() => callPolicy(base, policy), { name: "RangeError", message: `policy${message}` });
  }
  assert.doesNotThrow(() => resolvePolicy({ method: methodOf("once"), own: { hedge: false, mode: "failfast" } }));
  assert.doesNotThrow(() => resolvePolicy({ method: methodOf("once"), own: { retry: { codes: ["UNAVAILABLE"] } } }));
});

test("only a unary method has a fallback", () => {
  const fallback = (): object => ({});
  assert.equal(resolvePolicy({ method: none, own: { fallback } }).policy.fallback, fallback);
  assert.throws(() => resolvePolicy({ method: methodOf("none", "server-stream"), own: { fallback } }), {
    name: "RangeError",
    message:
      "methods.buy.fallback is refused for /shop.v1.Shop/Buy (only a unary method has a fallback, this one is server-stream): leave fallback out",
  });
});

test("a reply stream has the deadline of its contract, its service config and its own entry, not the client's or a preset's", () => {
  for (const kind of ["server-stream", "bidi"] as const) {
    const method = methodOf("none", kind);
    const of = (levels: Omit<PolicyLevels, "method">): unknown => resolvePolicy({ method, ...levels }).policy.timeoutMs;
    assert.equal(of({}), undefined);
    assert.equal(of({ client: "interactive" }), undefined);
    assert.equal(of({ client: { timeoutMs: 5 } }), undefined);
    assert.equal(of({ own: { preset: "interactive" }, call: "none" }), undefined);
    assert.equal(of({ contractTimeoutMs: 7, client: { timeoutMs: 5 } }), 7);
    assert.equal(of({ serviceConfig: fromConfig({ timeout: "3s" }) }), 3_000);
    assert.equal(of({ own: { timeoutMs: 9 } }), 9);
    assert.deepEqual(resolvePolicy({ method, client: { preset: "none", timeoutMs: 5 } }).notes, [
      "policy.timeoutMs is left out (a reply stream has no deadline but its own)",
    ]);
  }
  const upload = resolvePolicy({ method: methodOf("none", "client-stream"), client: { timeoutMs: 5 } });
  assert.deepEqual([upload.policy.timeoutMs, upload.notes], [5, []]);
});

test("a service config is narrowed by the effect, with a note", () => {
  const retryPolicy = {
    maxAttempts: 4,
    initialBackoff: "0.1s",
    maxBackoff: "1s",
    backoffMultiplier: 2,
    retryableStatusCodes: ["UNAVAILABLE"],
  };
  const { policy, notes } = resolvePolicy({ method: methodOf("unknown"), serviceConfig: fromConfig({ retryPolicy }) });
  assert.deepEqual([policy.attemptsMax, policy.codes, policy.failureBackoff.baseMs], [4, 0, 100]);
  assert.deepEqual(notes, [
    "serviceConfig.methodConfig[0].retryPolicy.retryableStatusCodes is left out (effect unknown: it is repeated only if it provably never reached a handler)",
  ]);
  const hedgingPolicy = { maxAttempts: 3, hedgingDelay: "0.05s" };
  const once = resolvePolicy({ method: methodOf("once"), serviceConfig: fromConfig({ hedgingPolicy }) });
  assert.deepEqual([once.policy.hedge, once.policy.attemptsMax], [false, 3]);
  assert.deepEqual(once.notes, [
    "serviceConfig.methodConfig[0].hedgingPolicy is left out (effect once: a copy would wait for the first)",
  ]);
});

test("a call's policy is resolved once for each preset and each object, and never mixed between methods", () => {
  const base = resolvePolicy({ method: none, own: { timeoutMs: 700 } });
  const other = resolvePolicy({ method: methodOf("once"), own: { timeoutMs: 800 } });
  assert.equal(callPolicy(base, undefined), base.policy);
  assert.equal(callPolicy(base, "none"), callPolicy(base, "none"));
  assert.deepEqual(
    callPolicy(base, "none"),
    resolvePolicy({ method: none, own: { timeoutMs: 700 }, call: "none" }).policy,
  );
  const given = { retry: { attemptsMax: 2 } } as const;
  const first = callPolicy(base, given);
  assert.equal(callPolicy(base, given), first);
  assert.deepEqual([first.timeoutMs, first.attemptsMax], [700, 2]);
  assert.deepEqual([callPolicy(other, given).timeoutMs, callPolicy(other, given).hedge], [800, false]);
  assert.equal(callPolicy(base, { retry: { attemptsMax: 2 } }), first, "a literal that says the same");
  assert.throws(() => callPolicy(base, "nine"), RangeError);
  assert.throws(() => callPolicy(base, "nine"), RangeError, "a refusal is not remembered as an answer");
  for (const wrong of [null, 5, []]) assert.throws(() => callPolicy(base, wrong), TypeError);
});

test("literals of many contents are each resolved rightly, also after an object was changed", () => {
  const base = resolvePolicy({ method: none });
  for (let round = 0; round < 3; round++) {
    for (let attemptsMax = 1; attemptsMax <= 10; attemptsMax++) {
      assert.equal(callPolicy(base, { retry: { attemptsMax } }).attemptsMax, attemptsMax);
    }
  }
  const changed = { retry: { attemptsMax: 9 } };
  assert.equal(callPolicy(base, changed).attemptsMax, 9);
  changed.retry.attemptsMax = 2;
  assert.equal(callPolicy(base, { retry: { attemptsMax: 2 } }).attemptsMax, 2);
  assert.equal(callPolicy(base, { retry: { attemptsMax: 9 } }).attemptsMax, 9);
  callPolicy(base, {});
  for (const wrong of [new Map(), [], () => ({})]) assert.throws(() => callPolicy(base, wrong), TypeError);
});

test("what comes out is frozen, and what was given is not touched", () => {
  const client = Object.freeze({ retry: Object.freeze({ attemptsMax: 2, codes: Object.freeze(["UNAVAILABLE"]) }) });
  const own = { hedge: { afterMs: 5 } };
  const resolution = resolvePolicy({ method: none, client, own });
  const { policy } = resolution;
  assert.ok(Object.isFrozen(resolution) && Object.isFrozen(policy) && Object.isFrozen(policy.failureBackoff));
  assert.ok(Object.isFrozen(policy.hedge) && Object.isFrozen(resolution.notes));
  assert.deepEqual(own, { hedge: { afterMs: 5 } });
  assert.ok(!Object.isFrozen(own) && !Object.isFrozen(own.hedge));
  own.hedge.afterMs = 9;
  assert.deepEqual(policy.hedge, { kind: "fixed", afterMs: 5, copiesMax: 1 });
});

const anyPolicy = fc.record(
  {
    preset: fc.constantFrom(...presetNames),
    timeoutMs: fc.integer({ min: 1, max: 100_000 }),
    attemptTimeoutMs: fc.oneof(fc.constant(false as const), fc.integer({ min: 1, max: 1_000 })),
    priority: fc.constantFrom("critical" as const, "normal" as const, "sheddable" as const),
    retry: fc.oneof(
      fc.constant(false as const),
      fc.record(
        {
          attemptsMax: fc.oneof(fc.integer({ min: 1, max: 10 }), fc.constant(Infinity)),
          codes: fc.subarray(["UNAVAILABLE", "INTERNAL", "DATA_LOSS"] as const),
        },
        { requiredKeys: [] },
      ),
    ),
    hedge: fc.oneof(
      fc.constant(false as const),
      fc.record(
        { afterMs: fc.integer({ min: 1, max: 500 }), copiesMax: fc.integer({ min: 1, max: 3 }) },
        { requiredKeys: [] },
      ),
    ),
    throttle: fc.constant(false as const),
    gate: fc.constant(false as const),
    integrity: fc.constant(false as const),
  },
  { requiredKeys: [] },
);
type Any = Partial<{
  preset: Preset;
  timeoutMs: number;
  attemptTimeoutMs: number | false;
  priority: "critical" | "normal" | "sheddable";
  retry: false | { attemptsMax?: number; codes?: readonly ("UNAVAILABLE" | "INTERNAL" | "DATA_LOSS")[] };
  hedge: false | { afterMs?: number; copiesMax?: number };
  throttle: false;
  gate: false;
  integrity: false;
}>;

/** The other way round: from the last level backwards, the first that says something. */
function latest<T>(
  levels: readonly Any[],
  stated: (level: Any) => T | undefined,
  row: (preset: Preset) => T | undefined,
  otherwise: T,
): T {
  for (const level of [...levels].reverse()) {
    const value = stated(level) ?? (level.preset === undefined ? undefined : row(level.preset));
    if (value !== undefined) return value;
  }
  return otherwise;
}

function wantedOf(levels: readonly Any[]): object {
  const retryOf = ({ retry }: Any): { attemptsMax?: number } => (retry === undefined || retry === false ? {} : retry);
  const hedgeOf = ({ hedge }: Any): { afterMs?: number; copiesMax?: number } =>
    hedge === undefined || hedge === false ? {} : hedge;
  const isRetryOn = latest(
    levels,
    ({ retry }) => (retry === undefined ? undefined : retry !== false),
    () => true,
    true,
  );
  const isHedgeOn = latest(
    levels,
    ({ hedge }) => (hedge === undefined ? undefined : hedge !== false),
    (preset) => presetRows[preset].hedge,
    true,
  );
  const afterMs = latest(
    levels,
    (level) => hedgeOf(level).afterMs,
    () => 0,
    0,
  );
  const copiesMax = latest(
    levels,
    (level) => hedgeOf(level).copiesMax,
    () => 1,
    1,
  );
  const attempts = latest(
    levels,
    (level) => retryOf(level).attemptsMax,
    (preset) => presetRows[preset].attemptsMax,
    3,
  );
  const isOn = (key: "throttle" | "gate" | "integrity"): boolean =>
    latest(
      levels,
      (level) => level[key] as boolean | undefined,
      (preset) => presetRows[preset][key],
      true,
    );
  return {
    timeoutMs: latest<number | undefined>(
      levels,
      ({ timeoutMs }) => timeoutMs,
      (preset) => presetRows[preset].timeoutMs,
      undefined,
    ),
    attemptTimeoutMs: latest(
      levels,
      ({ attemptTimeoutMs }) => (attemptTimeoutMs === false ? Infinity : attemptTimeoutMs),
      () => Infinity,
      Infinity,
    ),
    attemptsMax: isRetryOn ? attempts : 1,
    hedge: isHedgeOn ? { ...(afterMs === 0 ? { kind: "overdue" } : { kind: "fixed", afterMs }), copiesMax } : false,
    throttle: isOn("throttle"),
    gate: isOn("gate"),
    integrity: isOn("integrity"),
  };
}

test("whatever three levels state, each key has the value of the last level that states it", () => {
  fc.assert(
    fc.property(anyPolicy, anyPolicy, anyPolicy, (client, own, call) => {
      const { timeoutMs: _timeoutMs, priority: _priority, ...callOnly } = call;
      const levels = { method: none, client, own, call: callOnly };
      const { policy } = resolvePolicy(levels);
      const wanted = wantedOf([client, own, callOnly] as Any[]);
      assert.deepEqual(
        Object.fromEntries(Object.keys(wanted).map((key) => [key, policy[key as keyof typeof policy]])),
        wanted,
      );
    }),
  );
});

test("resolving is idempotent: twice the same, and a policy stated again on top changes nothing", () => {
  fc.assert(
    fc.property(anyPolicy, anyPolicy, fc.constantFrom<Effect>("none", "idempotent", "once"), (client, call, effect) => {
      const method = methodOf(effect);
      const { timeoutMs: _timeoutMs, priority: _priority, hedge: _hedge, ...again } = call;
      const base = resolvePolicy({ method, client });
      assert.deepEqual(resolvePolicy({ method, client }), base);
      const once = resolveCall(base, again);
      assert.deepEqual(once, resolvePolicy({ method, client, call: again }));
      assert.deepEqual(resolveCall(once, again).policy, once.policy);
      assert.deepEqual(callPolicy(base, again), once.policy);
    }),
  );
});
