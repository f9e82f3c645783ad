import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { MethodInfo } from "../../call/method.ts";
import { codeBits } from "./presets.ts";
import { resolvePolicy } from "./resolve-policy.ts";
import type { ResolvedPolicy } from "./resolved-policy.ts";
import { parseServiceConfig, type ServiceConfig, serviceConfigEntry } from "./service-config.ts";

const SERVICE = "shop.v1.Shop";

function methodOf(name: string): MethodInfo {
  return { service: SERVICE, name: name.toLowerCase(), path: `/${SERVICE}/${name}`, kind: "unary", effect: "none" };
}

/** A config with one entry for the whole service. */
function entry(facts: object): object {
  return { methodConfig: [{ name: [{ service: SERVICE }], ...facts }] };
}

function policyOf(config: ServiceConfig, name = "Find"): ResolvedPolicy {
  return resolvePolicy({ method: methodOf(name), serviceConfig: serviceConfigEntry(config, methodOf(name)) }).policy;
}

const retryPolicy = {
  maxAttempts: 4,
  initialBackoff: "0.1s",
  maxBackoff: "1s",
  backoffMultiplier: 2,
  retryableStatusCodes: ["UNAVAILABLE"],
};

test("reads a retry policy: attempts, backoff with full jitter, codes in any case or as numbers (A6)", () => {
  const text = JSON.stringify(entry({ timeout: "1.5s", waitForReady: true, retryPolicy }));
  const { timeoutMs, attemptsMax, failureBackoff, timeoutBackoff, codes, waitForReady } = policyOf(
    parseServiceConfig(text, SERVICE),
  );
  const backoff = { kind: "exponential", baseMs: 100, factor: 2, stepMs: 0, maxMs: 1_000, jitter: "full" };
  assert.deepEqual([timeoutMs, attemptsMax, waitForReady], [1_500, 4, true]);
  assert.deepEqual([failureBackoff, timeoutBackoff], [backoff, backoff]);
  assert.equal(codes, codeBits(["UNAVAILABLE"]));
  const mixed = { ...retryPolicy, retryableStatusCodes: ["unavailable", 13, "Data_Loss"] };
  const read = policyOf(parseServiceConfig(entry({ retryPolicy: mixed }), SERVICE));
  assert.equal(read.codes, codeBits(["UNAVAILABLE", "INTERNAL", "DATA_LOSS"]));
});

test("a multiplier below one, a first wait above the longest, and a per-attempt timeout are taken as they are", () => {
  const given = {
    ...retryPolicy,
    initialBackoff: "2s",
    backoffMultiplier: 0.5,
    maxBackoff: "0.000000001s",
    perAttemptRecvTimeout: "0.25s",
  };
  const { failureBackoff, attemptTimeoutMs } = policyOf(parseServiceConfig(entry({ retryPolicy: given }), SERVICE));
  assert.deepEqual([failureBackoff.factor, failureBackoff.baseMs, failureBackoff.maxMs], [0.5, 1e-6, 1e-6]);
  assert.equal(attemptTimeoutMs, 250);
});

test("more than 5 attempts are 5, and noted (A6; pitfall 16)", () => {
  const config = parseServiceConfig(entry({ retryPolicy: { ...retryPolicy, maxAttempts: 9 } }), SERVICE);
  assert.equal(policyOf(config).attemptsMax, 5);
  assert.deepEqual(config.otherwise?.notes, [
    "serviceConfig.methodConfig[0].retryPolicy.maxAttempts 9 is taken as 5 (gRFC A6)",
  ]);
});

test("a hedging policy becomes copies after a fixed wait; without a wait, forking (A6)", () => {
  const hedged = policyOf(
    parseServiceConfig(
      entry({ hedgingPolicy: { maxAttempts: 3, hedgingDelay: "0.05s", nonFatalStatusCodes: ["UNAVAILABLE"] } }),
      SERVICE,
    ),
  );
  assert.deepEqual(hedged.hedge, { kind: "fixed", afterMs: 50, copiesMax: 2 });
  assert.deepEqual([hedged.mode, hedged.attemptsMax, hedged.codes], ["failover", 3, codeBits(["UNAVAILABLE"])]);
  for (const hedgingPolicy of [{ maxAttempts: 4 }, { maxAttempts: 4, hedgingDelay: "0s" }]) {
    const forked = policyOf(parseServiceConfig(entry({ hedgingPolicy }), SERVICE));
    assert.deepEqual([forked.mode, forked.copies, forked.attemptsMax, forked.hedge], ["forking", 4, 4, false]);
  }
  const many = parseServiceConfig(entry({ hedgingPolicy: { maxAttempts: 5, hedgingDelay: "1s" } }), SERVICE);
  assert.deepEqual(policyOf(many).hedge, { kind: "fixed", afterMs: 1_000, copiesMax: 3 });
  assert.equal(many.otherwise?.notes.length, 1);
});

test("codes that are never repeated are left out, and noted", () => {
  const retryableStatusCodes = ["UNAVAILABLE", "ABORTED", "RESOURCE_EXHAUSTED", "ABORTED"];
  const config = parseServiceConfig(entry({ retryPolicy: { ...retryPolicy, retryableStatusCodes } }), SERVICE);
  assert.equal(policyOf(config).codes, codeBits(["UNAVAILABLE"]));
  assert.deepEqual(config.otherwise?.notes, [
    "serviceConfig.methodConfig[0].retryPolicy.retryableStatusCodes: ABORTED is left out (it is an answer: whether to ask again is its caller's to decide)",
    "serviceConfig.methodConfig[0].retryPolicy.retryableStatusCodes: RESOURCE_EXHAUSTED is left out (it is repeated when the server says after how long, and only then)",
  ]);
});

test("the most specific entry counts, and alone", () => {
  const config = parseServiceConfig(
    {
      methodConfig: [
        { name: [{}], timeout: "1s", waitForReady: false },
        { name: [{ service: SERVICE }, { service: "other.Service" }], timeout: "2s" },
        { name: [{ service: SERVICE, method: "Buy" }], retryPolicy },
      ],
    },
    SERVICE,
  );
  assert.deepEqual([policyOf(config).timeoutMs, policyOf(config).waitForReady], [2_000, true]);
  assert.deepEqual([policyOf(config, "Buy").timeoutMs, policyOf(config, "Buy").attemptsMax], [undefined, 4]);
  const wild = parseServiceConfig(
    { methodConfig: [{ name: [{ service: "", method: null }], timeout: "1s" }] },
    SERVICE,
  );
  assert.equal(policyOf(wild).timeoutMs, 1_000);
});

test("null is absent, as in every proto3 JSON", () => {
  const text = `{"methodConfig":[{"name":[{"service":"${SERVICE}","method":null}],"timeout":null,"retryPolicy":null}],"retryThrottling":null}`;
  const config = parseServiceConfig(text, SERVICE);
  assert.deepEqual(config.otherwise?.statements, []);
  assert.deepEqual(config.notes, []);
});

test("an entry without a name is for no method, and noted", () => {
  const config = parseServiceConfig({ methodConfig: [{ name: [], timeout: "1s" }] }, SERVICE);
  assert.equal(config.otherwise, undefined);
  assert.equal(config.byMethod.size, 0);
});

test("a config without an entry for the service is refused, with the services it has (grpc-node#2342)", () => {
  const methodConfig = [{ name: [{ service: "shop.v1.Shopp" }, { service: "shop.v2.Shop", method: "Buy" }] }];
  assert.throws(() => parseServiceConfig({ methodConfig }, SERVICE), {
    name: "RangeError",
    message: "serviceConfig.methodConfig has no entry for shop.v1.Shop, it has shop.v1.Shopp, shop.v2.Shop",
  });
  const many = Array.from({ length: 12 }, (_, index) => ({ name: [{ service: `s${index}` }] }));
  assert.throws(() => parseServiceConfig({ methodConfig: many }, SERVICE), /it has s0, .*s9 and 2 more$/);
  assert.equal(parseServiceConfig({}, SERVICE).otherwise, undefined);
  assert.equal(parseServiceConfig({ loadBalancingConfig: [{ round_robin: {} }] }, SERVICE).balance, "round-robin");
});

test("a method that the contract does not have is noted with the nearest one", () => {
  const methodConfig = [
    {
      name: [
        { service: SERVICE, method: "Byu" },
        { service: SERVICE, method: "Find" },
      ],
    },
  ];
  const { notes } = parseServiceConfig({ methodConfig }, SERVICE, ["Buy", "Find"]);
  assert.deepEqual(notes, [
    "serviceConfig.methodConfig[0] names Byu, which is no method of shop.v1.Shop, did you mean Buy?",
  ]);
});

test("the first known balancer is taken; others, and what has another form here, are noted", () => {
  const of = (config: object): unknown[] => {
    const { balance, notes } = parseServiceConfig(config, SERVICE);
    return [balance, notes];
  };
  assert.deepEqual(of({}), [undefined, []]);
  assert.deepEqual(of({ loadBalancingPolicy: "ROUND_ROBIN" }), ["round-robin", []]);
  assert.deepEqual(of({ loadBalancingPolicy: "pick_first", loadBalancingConfig: [{ round_robin: {} }] }), [
    "round-robin",
    [],
  ]);
  assert.deepEqual(
    of({ loadBalancingConfig: [{ xds_experimental: { a: 1 } }, { least_request_experimental: { choiceCount: 2 } }] }),
    [
      "p2c-ewma",
      [
        "serviceConfig.loadBalancingConfig[0] xds_experimental has no effect: it is none of ours",
        "serviceConfig.loadBalancingConfig[1] least_request_experimental is served by p2c-ewma: the load of a peer is measured here",
      ],
    ],
  );
  assert.deepEqual(of({ loadBalancingConfig: [{ weighted_round_robin: {} }] })[0], "p2c-ewma");
  assert.deepEqual(of({ loadBalancingConfig: [{ pick_first: { shuffleAddressList: true } }] }), [
    undefined,
    ["serviceConfig.loadBalancingConfig[0] pick_first has no effect: calls are spread over all peers"],
  ]);
});

test("throttling, message sizes and connection scaling are checked or accepted, and noted as having no effect", () => {
  const config = parseServiceConfig(
    {
      ...entry({ maxRequestMessageBytes: 0, maxResponseMessageBytes: 1_024 }),
      retryThrottling: { maxTokens: 10, tokenRatio: 0.1 },
      connectionScaling: { maxConnectionsPerSubchannel: 2 },
    },
    SERVICE,
  );
  assert.deepEqual(config.notes, [
    "serviceConfig.retryThrottling has no effect: repeats and copies draw on the channel's budget",
    "serviceConfig.connectionScaling has no effect: connections grow at 80 % of the peer's stream limit",
  ]);
  assert.deepEqual(config.otherwise?.notes, [
    "serviceConfig.methodConfig[0].maxRequestMessageBytes has no effect: messageBytesMax is the channel's",
    "serviceConfig.methodConfig[0].maxResponseMessageBytes has no effect: messageBytesMax is the channel's",
  ]);
});

test("the notes of the whole config reach every method's explanation", () => {
  const throttling = { retryThrottling: { maxTokens: 10, tokenRatio: 0.1 } };
  for (const config of [throttling, { ...throttling, ...entry({ maxRequestMessageBytes: 1 }) }]) {
    const parsed = parseServiceConfig(config, SERVICE);
    const { notes } = resolvePolicy({
      method: methodOf("Buy"),
      serviceConfig: serviceConfigEntry(parsed, methodOf("Buy")),
    });
    assert.deepEqual(notes, [...parsed.notes, ...(parsed.otherwise?.notes ?? [])]);
    assert.equal(parsed.notes.length, 1);
  }
});

test("the service whose health is watched is given back", () => {
  assert.equal(parseServiceConfig({ healthCheckConfig: { serviceName: "shop" } }, SERVICE).healthService, "shop");
  assert.equal(parseServiceConfig({ healthCheckConfig: { serviceName: "" } }, SERVICE).healthService, "");
  assert.equal(parseServiceConfig({ healthCheckConfig: {} }, SERVICE).healthService, undefined);
});

test("a duration is exact to the nanosecond, never a hair below what is written", () => {
  for (const [timeout, timeoutMs] of [
    ["0.57s", 570],
    ["4.35s", 4_350],
    ["12s", 12_000],
    ["1.000000001s", 1_000.000001],
  ] as const) {
    assert.equal(policyOf(parseServiceConfig(entry({ timeout }), SERVICE)).timeoutMs, timeoutMs, timeout);
  }
});

test("a timeout beyond a day is a day, one below a millisecond is one, and both are noted", () => {
  for (const [timeout, timeoutMs] of [
    ["315576000000s", 86_400_000],
    ["0.000000001s", 1],
  ] as const) {
    const config = parseServiceConfig(entry({ timeout }), SERVICE);
    assert.equal(policyOf(config).timeoutMs, timeoutMs);
    assert.deepEqual(config.otherwise?.notes, [
      `serviceConfig.methodConfig[0].timeout "${timeout}" is taken as ${timeoutMs} ms`,
    ]);
  }
});

const at = "serviceConfig.methodConfig[0]";
const badCode = `${at}.retryPolicy.retryableStatusCodes`;
const without = (key: keyof typeof retryPolicy): object =>
  entry({ retryPolicy: Object.fromEntries(Object.entries(retryPolicy).filter(([name]) => name !== key)) });
const withRetry = (facts: object): object => entry({ retryPolicy: { ...retryPolicy, ...facts } });

const invalid: readonly [unknown, string, string][] = [
  [null, "TypeError", "serviceConfig must be an object, got null"],
  ["[]", "TypeError", "serviceConfig must be an object, got an array"],
  ['"round_robin"', "TypeError", 'serviceConfig must be an object, got "round_robin"'],
  [
    { methodConfigs: [] },
    "TypeError",
    'unknown key "serviceConfig.methodConfigs", did you mean "serviceConfig.methodConfig"?',
  ],
  [{ methodConfig: {} }, "TypeError", "serviceConfig.methodConfig must be an array, got an object (Object)"],
  [{ methodConfig: [5] }, "TypeError", `${at} must be an object, got 5`],
  [
    { methodConfig: [{ name: { service: SERVICE } }] },
    "TypeError",
    `${at}.name must be an array, got an object (Object)`,
  ],
  [{ methodConfig: [{ name: [{ service: 5 }] }] }, "TypeError", `${at}.name[0].service must be a text, got 5`],
  [
    { methodConfig: [{ name: [{ method: "Buy" }] }] },
    "RangeError",
    `${at}.name[0].service must not be empty where method is "Buy"`,
  ],
  [
    { methodConfig: [{ name: [{ service: SERVICE }] }, { name: [{ service: SERVICE, method: "" }] }] },
    "RangeError",
    `serviceConfig.methodConfig[1].name[0] is ${SERVICE}, which ${at}.name[0] is already`,
  ],
  [
    { methodConfig: [{ name: [{}, {}] }] },
    "RangeError",
    `${at}.name[1] is the one for all methods, which ${at}.name[0] is already`,
  ],
  [entry({ retrypolicy: {} }), "TypeError", `unknown key "${at}.retrypolicy", did you mean "${at}.retryPolicy"?`],
  [entry({ waitForReady: "yes" }), "TypeError", `${at}.waitForReady must be true or false, got "yes"`],
  [entry({ timeout: 3 }), "TypeError", `${at}.timeout must be a duration such as "1.5s", got 3`],
  [entry({ timeout: "3" }), "RangeError", `${at}.timeout must be a duration such as "1.5s", got "3"`],
  [entry({ timeout: "-1s" }), "RangeError", `${at}.timeout must be a duration such as "1.5s", got "-1s"`],
  [entry({ timeout: "1ms" }), "RangeError", `${at}.timeout must be a duration such as "1.5s", got "1ms"`],
  [entry({ timeout: "0s" }), "RangeError", `${at}.timeout must be more than "0s", got "0s"`],
  [
    entry({ maxRequestMessageBytes: -1 }),
    "RangeError",
    `${at}.maxRequestMessageBytes must be 0..4_294_967_295, got -1`,
  ],
  [
    entry({ retryPolicy, hedgingPolicy: { maxAttempts: 2 } }),
    "RangeError",
    `${at} must have retryPolicy or hedgingPolicy, not both`,
  ],
  [withRetry({ maxAttempts: 1 }), "RangeError", `${at}.retryPolicy.maxAttempts must be 2..4_294_967_295, got 1`],
  [withRetry({ maxAttempts: "4" }), "TypeError", `${at}.retryPolicy.maxAttempts must be a number, got "4"`],
  [without("maxAttempts"), "TypeError", `${at}.retryPolicy.maxAttempts must be 2 or more, got nothing`],
  [
    without("initialBackoff"),
    "TypeError",
    `${at}.retryPolicy.initialBackoff must be a duration such as "1.5s", got nothing`,
  ],
  [without("maxBackoff"), "TypeError", `${at}.retryPolicy.maxBackoff must be a duration such as "1.5s", got nothing`],
  [
    without("backoffMultiplier"),
    "TypeError",
    `${at}.retryPolicy.backoffMultiplier must be a number above 0, got nothing`,
  ],
  [without("retryableStatusCodes"), "TypeError", `${badCode} must be a list of at least one code, got nothing`],
  [
    withRetry({ initialBackoff: "0s" }),
    "RangeError",
    `${at}.retryPolicy.initialBackoff must be more than "0s", got "0s"`,
  ],
  [
    withRetry({ backoffMultiplier: 0 }),
    "RangeError",
    `${at}.retryPolicy.backoffMultiplier must be a number above 0, got 0`,
  ],
  [withRetry({ retryableStatusCodes: [] }), "TypeError", `${badCode} must be a list of at least one code, got nothing`],
  [
    withRetry({ retryableStatusCodes: "UNAVAILABLE" }),
    "TypeError",
    `${badCode} must be an array of status codes, got "UNAVAILABLE"`,
  ],
  [
    withRetry({ retryableStatusCodes: ["OK"] }),
    "RangeError",
    `${badCode}[0] must be the name or number of a gRPC failure, got "OK"`,
  ],
  [
    withRetry({ retryableStatusCodes: [17] }),
    "RangeError",
    `${badCode}[0] must be the name or number of a gRPC failure, got 17`,
  ],
  [
    withRetry({ retryableStatusCodes: [{}] }),
    "TypeError",
    `${badCode}[0] must be the name or number of a gRPC failure, got an object (Object)`,
  ],
  [
    withRetry({ jitter: 1 }),
    "TypeError",
    `unknown key "${at}.retryPolicy.jitter", known are maxAttempts, initialBackoff, maxBackoff, backoffMultiplier, retryableStatusCodes, perAttemptRecvTimeout`,
  ],
  [entry({ hedgingPolicy: {} }), "TypeError", `${at}.hedgingPolicy.maxAttempts must be 2 or more, got nothing`],
  [
    { retryThrottling: { tokenRatio: 0.1 } },
    "TypeError",
    "serviceConfig.retryThrottling.maxTokens must be 1..1000, got undefined",
  ],
  [
    { retryThrottling: { maxTokens: 1_001, tokenRatio: 1 } },
    "RangeError",
    "serviceConfig.retryThrottling.maxTokens must be 1..1000, got 1001",
  ],
  [
    { retryThrottling: { maxTokens: 10, tokenRatio: 0 } },
    "RangeError",
    "serviceConfig.retryThrottling.tokenRatio must be a number above 0, got 0",
  ],
  [
    { loadBalancingConfig: [{ a: {}, b: {} }] },
    "RangeError",
    "serviceConfig.loadBalancingConfig[0] must have one key, the policy's name, got 2",
  ],
  [
    { loadBalancingConfig: [{ round_robin: 5 }] },
    "TypeError",
    "serviceConfig.loadBalancingConfig[0].round_robin must be an object, got 5",
  ],
  [
    { healthCheckConfig: { serviceName: 5 } },
    "TypeError",
    "serviceConfig.healthCheckConfig.serviceName must be a text, got 5",
  ],
];

test("each invalid config is refused with its JSON path", () => {
  for (const [given, name, message] of invalid) {
    assert.throws(() => parseServiceConfig(given as object, SERVICE), { name, message });
  }
  assert.throws(
    () => parseServiceConfig("{", SERVICE),
    (error: unknown) => {
      assert.ok(error instanceof RangeError && error.cause instanceof SyntaxError);
      assert.match(error.message, /^serviceConfig must be JSON: /);
      return true;
    },
  );
});

test("a config that refers to itself ends", () => {
  const config: Record<string, unknown> = {};
  config["methodConfig"] = [config];
  assert.throws(() => parseServiceConfig(config, SERVICE), TypeError);
});

test("whatever is given as a service config ends in a config, a TypeError or a RangeError", () => {
  const keys = fc.constantFrom(
    "name",
    "service",
    "timeout",
    "retryPolicy",
    "maxAttempts",
    "methodConfig",
    "loadBalancingConfig",
  );
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof(
      { maxDepth: 5 },
      fc.anything(),
      fc.array(tie("tree"), { maxLength: 3 }),
      fc.dictionary(keys, tie("tree"), { maxKeys: 4 }),
    ),
  }));
  fc.assert(
    fc.property(fc.oneof(tree, fc.json()), (given) => {
      try {
        assert.equal(parseServiceConfig(given as object, SERVICE).service, SERVICE);
      } catch (error) {
        assert.ok(error instanceof TypeError || error instanceof RangeError, String(error));
      }
    }),
  );
});
