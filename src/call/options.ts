/**
 * Options as data: a shape says what each key may be, and one function checks what a user gave, fills in the defaults and
 * freezes the result. A typo fails where it was made.
 */

/** Absent and `undefined` mean the same, also under exactOptionalPropertyTypes. */
export type Options<T> = { readonly [K in keyof T]?: T[K] | undefined };

/** What one key may be. `T` is what it resolves to. */
export interface Option<T> {
  readonly rule: Rule;
  /** What an absent key resolves to. Objects have none: they resolve to the defaults of their own keys. */
  readonly fallback: T | undefined;
  /** Types only; absent at run time. */
  readonly "~type"?: T;
}

/** Key by key, what may be given. */
export type OptionShape = { readonly [key: string]: Option<unknown> };

/** What a shape resolves to. */
export type Resolved<S extends OptionShape> = { readonly [K in keyof S]: S[K] extends Option<infer T> ? T : never };

type Rule =
  | {
      readonly kind: "number";
      readonly min: number;
      readonly max: number;
      readonly integer: boolean;
      readonly infinity: boolean;
    }
  | { readonly kind: "boolean" }
  | { readonly kind: "word"; readonly words: readonly string[] }
  | { readonly kind: "text"; readonly lengthMin: number; readonly lengthMax: number }
  | { readonly kind: "function" }
  | { readonly kind: "any" }
  | { readonly kind: "object"; readonly shape: OptionShape }
  | { readonly kind: "list"; readonly item: Option<unknown>; readonly lengthMax: number }
  | { readonly kind: "record"; readonly item: Option<unknown> }
  | { readonly kind: "off"; readonly inner: Option<unknown> };

/** A number in min..max, both included. `integer` refuses fractions, `infinity` allows Infinity beside the range. */
export function numberOption<const D extends number | undefined>(facts: {
  readonly default: D;
  readonly min: number;
  readonly max: number;
  readonly integer?: boolean | undefined;
  readonly infinity?: boolean | undefined;
}): Option<number | WidenUndefined<D>> {
  const { min, max, integer = false, infinity = false } = facts;
  return option({ kind: "number", min, max, integer, infinity }, facts.default as number | WidenUndefined<D>);
}

/** true or false. */
export function booleanOption<const D extends boolean | undefined>(facts: {
  readonly default: D;
}): Option<boolean | WidenUndefined<D>> {
  return option({ kind: "boolean" }, facts.default as boolean | WidenUndefined<D>);
}

/** One of some words. */
export function wordOption<const W extends string, const D extends W | undefined = undefined>(
  words: readonly W[],
  facts?: { readonly default: D },
): Option<W | WidenUndefined<D>> {
  return option({ kind: "word", words: Object.freeze([...words]) }, facts?.default as W | WidenUndefined<D>);
}

/** A text, by default neither empty nor longer than 65,536 characters. */
export function textOption<const D extends string | undefined = undefined>(facts?: {
  readonly default?: D;
  readonly lengthMin?: number | undefined;
  readonly lengthMax?: number | undefined;
}): Option<string | WidenUndefined<D>> {
  const { lengthMin = 1, lengthMax = 65_536 } = facts ?? {};
  return option({ kind: "text", lengthMin, lengthMax }, facts?.default as string | WidenUndefined<D>);
}

/** A function; absent it is undefined. */
export function functionOption<F>(): Option<F | undefined> {
  return option({ kind: "function" }, undefined);
}

/** Anything but null; what it is, its user checks. Absent it is the default. */
export function anyOption<T>(facts?: { readonly default: T }): Option<T | undefined> {
  return option({ kind: "any" }, facts?.default);
}

/** An object with a shape of its own. Absent, it resolves to the defaults of its keys. */
export function objectOption<const S extends OptionShape>(shape: S): Option<Resolved<S>> {
  return option<Resolved<S>>({ kind: "object", shape }, undefined);
}

/** An array, frozen as a copy; absent it is empty. At most `lengthMax` items, 1,000 unless told. */
export function listOption<T>(item: Option<T>, facts?: { readonly lengthMax: number }): Option<readonly T[]> {
  return option({ kind: "list", item, lengthMax: facts?.lengthMax ?? 1_000 }, Object.freeze([]) as readonly T[]);
}

/** An object whose keys are the user's own; absent it is empty. An item that is undefined is absent. */
export function recordOption<T>(item: Option<T>): Option<Readonly<Record<string, T>>> {
  return option({ kind: "record", item }, Object.freeze({}) as Readonly<Record<string, T>>);
}

/** The inner option, or `false` for off. Absent it is what `default` says: false, or (undefined) the inner default. */
export function orFalse<T>(inner: Option<T>, facts?: { readonly default: false }): Option<T | false> {
  return option({ kind: "off", inner }, facts?.default);
}

/**
 * Checks what was given against a shape and gives the frozen result with defaults filled in. `path` stands in front of the
 * keys in messages ("" for none): `resolveOptions("retry", { attemptsMax: 0 }, shape)` throws RangeError("retry.attemptsMax must be 1..10, got 0").
 *
 * An absent or undefined key takes its default. Throws TypeError for null, for a wrong type and for an unknown key (with a suggestion),
 * RangeError for a number, word or length outside its range.
 */
export function resolveOptions<const S extends OptionShape>(path: string, given: unknown, shape: S): Resolved<S> {
  return resolveObject(path, given, shape) as Resolved<S>;
}

/** TypeError for a key that is not among `known`, with the nearest one as a suggestion. For checks made without a shape. */
export function unknownKeyError(path: string, key: string, known: readonly string[]): TypeError {
  const suggestion = nearest(key, known);
  const hint =
    suggestion !== undefined
      ? `, did you mean ${quote(join(path, suggestion))}?`
      : known.length === 0
        ? ", none is known here"
        : `, known are ${known.join(", ")}`;
  return new TypeError(`unknown key ${quote(join(path, key))}${hint}`);
}

/** What came, in a few words for an error message; texts are quoted and cut at 40 characters. */
export function describeValue(value: unknown): string {
  switch (typeof value) {
    case "string":
      return quote(value.length > 40 ? `${value.slice(0, 40)}…` : value);
    case "number":
    case "boolean":
    case "undefined":
      return String(value);
    case "bigint":
      return `${value}n`;
    case "function":
      return "a function";
    case "symbol":
      return "a symbol";
    default:
      if (value === null) return "null";
      if (Array.isArray(value)) return "an array";
      return `an object (${tagOf(value as object)})`;
  }
}

type WidenUndefined<D> = D extends undefined ? undefined : never;

function option<T>(rule: Rule, fallback: T | undefined): Option<T> {
  return Object.freeze({ rule: Object.freeze(rule), fallback });
}

function resolve(path: string, given: unknown, one: Option<unknown>): unknown {
  if (given === undefined) return resolveAbsent(path, one);
  if (given === null)
    throw new TypeError(`${path} must not be null (leave it out, or give undefined, for the default)`);
  const rule = one.rule;
  switch (rule.kind) {
    case "number":
      return resolveNumber(path, given, rule);
    case "boolean":
      if (typeof given !== "boolean") throw wrong(path, "true or false", given);
      return given;
    case "word":
      return resolveWord(path, given, rule.words);
    case "text":
      return resolveText(path, given, rule.lengthMin, rule.lengthMax);
    case "function":
      if (typeof given !== "function") throw wrong(path, "a function", given);
      return given;
    case "any":
      return given;
    case "object":
      return resolveObject(path, given, rule.shape);
    case "list":
      return resolveList(path, given, rule.item, rule.lengthMax);
    case "record":
      return resolveRecord(path, given, rule.item);
    case "off":
      return given === false ? false : resolveOrFalse(path, given, rule.inner);
  }
}

function resolveAbsent(path: string, one: Option<unknown>): unknown {
  if (one.fallback !== undefined) return one.fallback;
  if (one.rule.kind === "object") return resolveObject(path, {}, one.rule.shape);
  if (one.rule.kind === "off") return resolveAbsent(path, one.rule.inner);
  return undefined;
}

function resolveOrFalse(path: string, given: unknown, inner: Option<unknown>): unknown {
  // `true` is refused with the whole truth, not with what the inner rule alone would say.
  if (given === true && inner.rule.kind !== "boolean") {
    throw new TypeError(`${path} must be ${expectationOf(inner.rule)} or false, got true (on is the default)`);
  }
  return resolve(path, given, inner);
}

function resolveNumber(path: string, given: unknown, rule: Extract<Rule, { kind: "number" }>): number {
  if (typeof given !== "number") throw wrong(path, "a number", given);
  if (rule.infinity && given === Infinity) return given;
  const isInside = given >= rule.min && given <= rule.max && given !== Infinity;
  if (isInside && (!rule.integer || Number.isInteger(given))) return given;
  throw new RangeError(`${path} must be ${expectationOf(rule, isInside)}, got ${given}`);
}

function resolveWord(path: string, given: unknown, words: readonly string[]): string {
  const expected = words.map(quote).join(" or ");
  if (typeof given !== "string") throw wrong(path, expected, given);
  if (words.includes(given)) return given;
  const suggestion = nearest(given, words);
  const hint = suggestion === undefined ? "" : ` (did you mean ${quote(suggestion)}?)`;
  throw new RangeError(`${path} must be ${expected}, got ${describeValue(given)}${hint}`);
}

function resolveText(path: string, given: unknown, lengthMin: number, lengthMax: number): string {
  if (typeof given !== "string") throw wrong(path, "a text", given);
  if (given.length >= lengthMin && given.length <= lengthMax) return given;
  throw new RangeError(
    `${path} must have ${lengthMin}..${grouped(lengthMax)} characters, got ${grouped(given.length)}`,
  );
}

function resolveObject(path: string, given: unknown, shape: OptionShape): object {
  const keys = given === undefined ? [] : keysOf(path, given);
  for (const key of keys) {
    if (!Object.hasOwn(shape, key)) throw unknownKeyError(path, key, Object.keys(shape));
  }
  const result: Record<string, unknown> = {};
  for (const key of Object.keys(shape)) {
    // Own keys only: an inherited one was not given by this caller.
    const value = keys.includes(key) ? (given as Record<string, unknown>)[key] : undefined;
    result[key] = resolve(join(path, key), value, shape[key] as Option<unknown>);
  }
  return Object.freeze(result);
}

function resolveList(path: string, given: unknown, item: Option<unknown>, lengthMax: number): readonly unknown[] {
  if (!Array.isArray(given)) throw wrong(path, "an array", given);
  if (given.length > lengthMax) {
    throw new RangeError(`${path} must have at most ${grouped(lengthMax)} items, got ${grouped(given.length)}`);
  }
  return Object.freeze(Array.from(given, (one: unknown, index) => resolve(`${path}[${index}]`, one, item)));
}

function resolveRecord(path: string, given: unknown, item: Option<unknown>): object {
  const entries: [string, unknown][] = [];
  for (const key of keysOf(path, given)) {
    const value = (given as Record<string, unknown>)[key];
    if (value !== undefined) entries.push([key, resolve(join(path, key), value, item)]);
  }
  // fromEntries defines, so that a key called __proto__ is a key.
  return Object.freeze(Object.fromEntries(entries));
}

function keysOf(path: string, given: unknown): string[] {
  if (typeof given !== "object" || given === null || tagOf(given) !== "Object") {
    throw wrong(path === "" ? "options" : path, "an object", given);
  }
  return Object.keys(given);
}

function expectationOf(rule: Rule, hasFraction = false): string {
  switch (rule.kind) {
    case "number": {
      const range = `${grouped(rule.min)}..${grouped(rule.max)}`;
      return `${hasFraction ? "an integer in " : ""}${range}${rule.infinity ? " or Infinity" : ""}`;
    }
    case "word":
      return rule.words.map(quote).join(" or ");
    case "text":
      return "a text";
    case "list":
      return "an array";
    case "object":
    case "record":
      return "an object";
    case "boolean":
      return "true or false";
    case "function":
      return "a function";
    case "any":
      return "a value";
    case "off":
      return `${expectationOf(rule.inner.rule)} or false`;
  }
}

function wrong(path: string, expected: string, given: unknown): TypeError {
  return new TypeError(`${path} must be ${expected}, got ${describeValue(given)}`);
}

function tagOf(value: object): string {
  return Object.prototype.toString.call(value).slice(8, -1);
}

function join(path: string, key: string): string {
  return path === "" ? key : `${path}.${key}`;
}

function quote(text: string): string {
  return JSON.stringify(text);
}

/** 86400000 as 86_400_000, the way one would type it. */
function grouped(value: number): string {
  if (!Number.isInteger(value) || Math.abs(value) < 10_000) return String(value);
  return String(value).replace(/\B(?=(\d{3})+$)/g, "_");
}

/** The known key that was probably meant: a few typing errors away, or with the same beginning. */
function nearest(key: string, known: readonly string[]): string | undefined {
  const wanted = key.toLowerCase();
  if (wanted.length > 100) return undefined;
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(wanted.length / 3)) + 1;
  for (const candidate of known) {
    const lower = candidate.toLowerCase();
    const edits = editDistance(wanted, lower);
    const shared = sharedPrefixLength(wanted, lower);
    const isContinued = shared >= 3 && shared === Math.min(wanted.length, lower.length);
    const distance = isContinued ? Math.min(1.5, edits) : shared >= 4 ? Math.min(2, edits) : edits;
    if (distance < bestDistance && distance < Math.max(wanted.length, lower.length)) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

function sharedPrefixLength(a: string, b: string): number {
  let length = 0;
  while (length < a.length && length < b.length && a[length] === b[length]) length++;
  return length;
}

/** Levenshtein's distance, where two neighbours exchanged count once. */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const isSame = a[i - 1] === b[j - 1];
      let cost = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + (isSame ? 0 : 1));
      const isSwap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (isSwap) cost = Math.min(cost, (beforeLast[j - 2] ?? 0) + 1);
      row.push(cost);
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length] ?? 0;
}
