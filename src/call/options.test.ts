import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  anyOption,
  booleanOption,
  functionOption,
  listOption,
  numberOption,
  objectOption,
  orFalse,
  recordOption,
  type Resolved,
  resolveOptions,
  textOption,
  unknownKeyError,
  wordOption,
} from "./options.ts";

const retry = objectOption({
  attemptsMax: numberOption({ default: 3, min: 1, max: 10, integer: true }),
  jitter: wordOption(["none", "equal", "full"], { default: "full" }),
});
const shape = {
  timeoutMs: numberOption({ default: 30_000, min: 1, max: 86_400_000, infinity: true }),
  windowMs: numberOption({ default: undefined, min: 1, max: 10 }),
  failFast: booleanOption({ default: false }),
  name: textOption({ default: "x", lengthMax: 5 }),
  host: textOption(),
  onReply: functionOption<() => void>(),
  world: anyOption<object>(),
  retry: orFalse(retry),
  cache: orFalse(objectOption({ ttlMs: numberOption({ default: 1, min: 1, max: 9 }) }), { default: false }),
  peers: listOption(textOption(), { lengthMax: 3 }),
  methods: recordOption(retry),
};

function refusal(given: unknown, path = ""): Error {
  try {
    resolveOptions(path, given, shape);
  } catch (error) {
    assert.ok(error instanceof Error);
    return error;
  }
  return assert.fail("was not refused");
}

test("absent and undefined take the defaults, nested ones too, and the types are known", () => {
  const resolved: Resolved<typeof shape> = resolveOptions("", undefined, shape);
  const timeoutMs: number = resolved.timeoutMs;
  const windowMs: number | undefined = resolved.windowMs;
  assert.equal(timeoutMs, 30_000);
  assert.equal(windowMs, undefined);
  assert.deepEqual(resolved, {
    timeoutMs: 30_000,
    windowMs: undefined,
    failFast: false,
    name: "x",
    host: undefined,
    onReply: undefined,
    world: undefined,
    retry: { attemptsMax: 3, jitter: "full" },
    cache: false,
    peers: [],
    methods: {},
  });
  assert.deepEqual(resolveOptions("", { timeoutMs: undefined, retry: { attemptsMax: undefined } }, shape), resolved);
});

test("what is given replaces the default key by key, and the result is frozen through", () => {
  const world = {};
  const onReply = (): void => {};
  const given = {
    timeoutMs: Infinity,
    retry: { attemptsMax: 5 },
    cache: {},
    peers: ["a"],
    methods: { buy: { jitter: "none" } },
    world,
    onReply,
  };
  const resolved = resolveOptions("", given, shape);
  assert.equal(resolved.timeoutMs, Infinity);
  assert.deepEqual(resolved.retry, { attemptsMax: 5, jitter: "full" });
  assert.deepEqual(resolved.cache, { ttlMs: 1 });
  assert.deepEqual(resolved.methods, { buy: { attemptsMax: 3, jitter: "none" } });
  assert.equal(resolved.world, world);
  assert.equal(resolved.onReply, onReply);
  for (const frozen of [resolved, resolved.retry, resolved.peers, resolved.methods, resolved.methods["buy"]]) {
    assert.ok(Object.isFrozen(frozen));
  }
  assert.ok(!Object.isFrozen(world));
  assert.equal(resolveOptions("", { retry: false }, shape).retry, false);
});

test("a number outside its range is a RangeError with path, range and value", () => {
  const cases: readonly [unknown, string][] = [
    [{ retry: { attemptsMax: 0 } }, "retry.attemptsMax must be 1..10, got 0"],
    [{ retry: { attemptsMax: 11 } }, "retry.attemptsMax must be 1..10, got 11"],
    [{ retry: { attemptsMax: 1.5 } }, "retry.attemptsMax must be an integer in 1..10, got 1.5"],
    [{ retry: { attemptsMax: Infinity } }, "retry.attemptsMax must be 1..10, got Infinity"],
    [{ timeoutMs: 0 }, "timeoutMs must be 1..86_400_000 or Infinity, got 0"],
    [{ timeoutMs: NaN }, "timeoutMs must be 1..86_400_000 or Infinity, got NaN"],
    [{ timeoutMs: -Infinity }, "timeoutMs must be 1..86_400_000 or Infinity, got -Infinity"],
    [{ methods: { buy: { attemptsMax: 0 } } }, "methods.buy.attemptsMax must be 1..10, got 0"],
    [{ name: "" }, "name must have 1..5 characters, got 0"],
    [{ name: "abcdef" }, "name must have 1..5 characters, got 6"],
    [{ peers: ["a", "b", "c", "d"] }, "peers must have at most 3 items, got 4"],
    [
      { retry: { jitter: "ful" } },
      'retry.jitter must be "none" or "equal" or "full", got "ful" (did you mean "full"?)',
    ],
  ];
  for (const [given, message] of cases) {
    const error = refusal(given);
    assert.ok(error instanceof RangeError);
    assert.equal(error.message, message);
  }
});

test("a wrong type is a TypeError naming path, what was expected and what came", () => {
  const cases: readonly [unknown, string][] = [
    [{ timeoutMs: "5s" }, 'timeoutMs must be a number, got "5s"'],
    [{ timeoutMs: 5n }, "timeoutMs must be a number, got 5n"],
    [{ timeoutMs: null }, "timeoutMs must not be null (leave it out, or give undefined, for the default)"],
    [{ world: null }, "world must not be null (leave it out, or give undefined, for the default)"],
    [{ failFast: 1 }, "failFast must be true or false, got 1"],
    [{ name: 7 }, "name must be a text, got 7"],
    [{ onReply: {} }, "onReply must be a function, got an object (Object)"],
    [{ retry: true }, "retry must be an object or false, got true (on is the default)"],
    [{ retry: [] }, "retry must be an object, got an array"],
    [{ retry: new Map() }, "retry must be an object, got an object (Map)"],
    [{ peers: "a" }, 'peers must be an array, got "a"'],
    [{ peers: ["a", 1] }, "peers[1] must be a text, got 1"],
    [{ retry: { jitter: 1 } }, 'retry.jitter must be "none" or "equal" or "full", got 1'],
    [null, "options must be an object, got null"],
    [7, "options must be an object, got 7"],
    [() => {}, "options must be an object, got a function"],
  ];
  for (const [given, message] of cases) {
    const error = refusal(given);
    assert.ok(error instanceof TypeError, message);
    assert.equal(error.message, message);
  }
});

test("the given path stands in front", () => {
  assert.equal(
    refusal({ timeoutMs: 0 }, "policy").message,
    "policy.timeoutMs must be 1..86_400_000 or Infinity, got 0",
  );
  assert.equal(refusal(null, "policy").message, "policy must be an object, got null");
});

test("an unknown key is a TypeError that suggests the nearest one", () => {
  const cases: readonly [unknown, string][] = [
    [{ timeout: 5 }, 'unknown key "timeout", did you mean "timeoutMs"?'],
    [{ timeoutms: 5 }, 'unknown key "timeoutms", did you mean "timeoutMs"?'],
    [{ tiemoutMs: undefined }, 'unknown key "tiemoutMs", did you mean "timeoutMs"?'],
    [{ retries: 5 }, 'unknown key "retries", did you mean "retry"?'],
    [{ retry: { attempts: 5 } }, 'unknown key "retry.attempts", did you mean "retry.attemptsMax"?'],
    [{ retry: { zzzzzzz: 5 } }, 'unknown key "retry.zzzzzzz", known are attemptsMax, jitter'],
  ];
  for (const [given, message] of cases) {
    const error = refusal(given);
    assert.ok(error instanceof TypeError);
    assert.equal(error.message, message);
  }
  assert.equal(unknownKeyError("a", "b", []).message, 'unknown key "a.b", none is known here');
});

test("keys of Object.prototype are unknown keys, and prototypes of what is given are not read", () => {
  assert.match(refusal(JSON.parse('{"__proto__": {"timeoutMs": 5}}')).message, /unknown key "__proto__"/);
  assert.match(refusal({ constructor: 1 }).message, /unknown key "constructor"/);
  assert.equal(resolveOptions("", Object.create({ timeoutMs: 5 }), shape).timeoutMs, 30_000);
  const methods = resolveOptions("", { methods: JSON.parse('{"__proto__": {"attemptsMax": 5}}') }, shape).methods;
  assert.equal(Object.getPrototypeOf(methods), Object.prototype);
  assert.deepEqual(Object.getOwnPropertyDescriptor(methods, "__proto__")?.value, { attemptsMax: 5, jitter: "full" });
});

test("what was given is not changed, and not frozen", () => {
  const given = { retry: { attemptsMax: 2 }, peers: ["a"] };
  resolveOptions("", given, shape);
  assert.deepEqual(given, { retry: { attemptsMax: 2 }, peers: ["a"] });
  assert.ok(!Object.isFrozen(given.retry) && !Object.isFrozen(given.peers));
});

test("whatever is given ends in a resolved value, a TypeError or a RangeError", () => {
  const keys = fc.constantFrom(...Object.keys(shape), "timeout", "__proto__");
  fc.assert(
    fc.property(fc.dictionary(keys, fc.anything()), (given) => {
      try {
        const resolved = resolveOptions("", given, shape);
        assert.ok(resolved.timeoutMs >= 1);
        assert.deepEqual(Object.keys(resolved), Object.keys(shape));
      } catch (error) {
        assert.ok(error instanceof TypeError || error instanceof RangeError, String(error));
      }
    }),
  );
});
