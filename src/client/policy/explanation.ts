/**
 * Why a call of a method would be handled as it would be: every value of its policy with where it came from, layer by layer in the order of
 * the stack. What running calls have learned is handed in.
 */
import { codesByNumber } from "../../call/code.ts";
import type { MethodInfo } from "../../call/method.ts";
import type { BackoffRule } from "../../policy/recover/backoff.ts";
import { isCopyable, isReplyStream, WHY_NO_CODES, whyNoCopy } from "./effect-rules.ts";
import { presetRows } from "./presets.ts";
import { attemptsOf } from "./resolve-policy.ts";
import type { HedgeMoment, Origin, Resolution, Settled } from "./resolved-policy.ts";

/** One value of a layer. */
export interface ExplainedValue {
  /** The key as one writes it: `retry.attemptsMax`. */
  readonly path: string;
  readonly value: unknown;
  readonly origin: Origin;
  /** Where it was written: `methods.buy.retry.attemptsMax`; "" for a default. */
  readonly where: string;
}

/** One layer of the client's stack, as it treats this method. */
export interface ExplainedLayer {
  readonly layer: string;
  readonly isOn: boolean;
  /** Why it is off or on. */
  readonly why: string;
  readonly values: readonly ExplainedValue[];
}

/** How the calls of a method are handled, and why. `String(explanation)` is a table to read. */
export interface Explanation {
  readonly method: MethodInfo;
  /** Outermost first. */
  readonly layers: readonly ExplainedLayer[];
  /** What a level stated and this method may not have. */
  readonly notes: readonly string[];
  toString(): string;
}

/** What running calls have shown about one layer: a budget's rest, the overdue delay, a switch that is off. */
export interface LearnedFact {
  /** A layer of the explanation ("retry", "hedge", "budget" …); an unknown one gets a layer of its own at the end. */
  readonly layer: string;
  readonly path: string;
  readonly value: unknown;
  /** In a few words, how it came about. */
  readonly why?: string | undefined;
  /** false: it turns the layer off, as a switch does. */
  readonly isOn?: boolean | undefined;
}

/** Explains a resolution; see `LearnedFact` for what may be added. */
export function explain(resolution: Resolution, learned: readonly LearnedFact[] = []): Explanation {
  const { method, notes } = resolution;
  const layers = withLearned(layersOf(resolution), learned);
  return Object.freeze({
    method,
    layers,
    notes,
    toString: () => printed(method, layers, notes),
  });
}

function layersOf(resolution: Resolution): readonly ExplainedLayer[] {
  return [
    deadlineLayer(resolution),
    priorityLayer(resolution),
    fallbackLayer(resolution),
    modeLayer(resolution),
    hedgeLayer(resolution),
    retryLayer(resolution),
    attemptLayer(resolution),
    protectionLayer("throttle", resolution.settings.throttle, "refuses locally what overloaded servers would refuse"),
    protectionLayer("gate", resolution.settings.gate, "keeps calls from peers that are thought ill"),
    waitLayer(resolution),
    protectionLayer("integrity", resolution.settings.integrity, "checksums towards peers that offer them"),
  ];
}

function layer(name: string, isOn: boolean, why: string, values: readonly ExplainedValue[] = []): ExplainedLayer {
  return Object.freeze({ layer: name, isOn, why, values: Object.freeze(values) });
}

function valueOf(path: string, value: unknown, { origin, place }: Settled<unknown>): ExplainedValue {
  return Object.freeze({ path, value, origin, where: place });
}

function deadlineLayer({ method, policy, settings }: Resolution): ExplainedLayer {
  const isStream = isReplyStream(method);
  const timeoutMs = policy.timeoutMs ?? (isStream ? Infinity : presetRows.standard.timeoutMs);
  if (timeoutMs !== Infinity) {
    return layer("deadline", true, "bounds the whole call", [valueOf("timeoutMs", timeoutMs, settings.timeoutMs)]);
  }
  const { place } = settings.timeoutMs;
  const why = place === "" ? "a reply stream: its headers come within 30000 ms" : `turned off by ${place}`;
  return layer("deadline", false, why);
}

function priorityLayer({ policy, settings }: Resolution): ExplainedLayer {
  const value = `the caller's, else ${policy.priority ?? "normal"}`;
  return layer("priority", true, "whom admission refuses first", [valueOf("priority", value, settings.priority)]);
}

function fallbackLayer({ policy, settings }: Resolution): ExplainedLayer {
  if (policy.fallback === undefined) {
    const { place } = settings.fallback;
    return layer("fallback", false, place === "" ? "none was given" : `turned off by ${place}`);
  }
  return layer("fallback", true, "answers in place of a failure", [valueOf("fallback", "given", settings.fallback)]);
}

function modeLayer({ policy, settings }: Resolution): ExplainedLayer {
  const { mode, copies } = policy;
  const values = [valueOf("mode", mode, settings.mode)];
  if (mode === "forking") values.push(valueOf("mode.copies", copies, settings.mode));
  return layer("mode", true, "how many copies run", values);
}

function hedgeLayer({ method, policy, settings }: Resolution): ExplainedLayer {
  const { hedge, hedgeAfter, copiesMax, mode } = settings;
  if (!isCopyable(method.effect)) return layer("hedge", false, whyNoCopy(method.effect));
  if (mode.value.kind === "failfast") return layer("hedge", false, `mode failfast: one attempt (${mode.place})`);
  if (mode.value.kind === "forking")
    return layer("hedge", false, `mode forking: its copies start at once (${mode.place})`);
  if (policy.hedge === false) return layer("hedge", false, `turned off by ${hedge.place}`);
  const { value } = hedgeAfter;
  const after =
    value.kind === "fixed"
      ? valueOf("hedge.afterMs", value.afterMs, hedgeAfter)
      : valueOf("hedge.after", momentText(value), hedgeAfter);
  return layer("hedge", true, "copies an attempt that takes unusually long", [
    after,
    valueOf("hedge.copiesMax", policy.hedge.copiesMax, copiesMax),
  ]);
}

function retryLayer({ method, policy, settings }: Resolution): ExplainedLayer {
  const { attemptsMax, failureBackoff, timeoutBackoff } = policy;
  const { mode, retry } = settings;
  if (mode.value.kind === "failfast") return layer("retry", false, `mode failfast: one attempt (${mode.place})`);
  if (attemptsMax === 1 && !retry.value) return layer("retry", false, `turned off by ${retry.place}`);
  if (attemptsMax === 1) return layer("retry", false, `one attempt (${settings.attemptsMax.place})`);
  const values = [valueOf("retry.attemptsMax", attemptsMax, attemptsOf(settings))];
  if (isSameRule(failureBackoff, timeoutBackoff)) {
    values.push(valueOf("retry.backoff", backoffText(failureBackoff), settings.failureBackoff));
  } else {
    values.push(valueOf("retry.backoff.failure", backoffText(failureBackoff), settings.failureBackoff));
    values.push(valueOf("retry.backoff.timeout", backoffText(timeoutBackoff), settings.timeoutBackoff));
  }
  const codes =
    method.effect === "unknown"
      ? { ...settings.codes, origin: "contract" as const, place: WHY_NO_CODES }
      : settings.codes;
  values.push(valueOf("retry.codes", codesText(policy.codes), codes));
  return layer("retry", true, "repeats at another peer first", values);
}

function attemptLayer({ policy, settings }: Resolution): ExplainedLayer {
  const { attemptTimeoutMs } = policy;
  if (attemptTimeoutMs === Infinity)
    return layer("attempt", false, "no attemptTimeoutMs: an attempt ends with its call");
  return layer("attempt", true, "ends an attempt that takes longer", [
    valueOf("attemptTimeoutMs", attemptTimeoutMs, settings.attemptTimeoutMs),
  ]);
}

function protectionLayer(
  name: "throttle" | "gate" | "integrity",
  setting: Settled<boolean>,
  why: string,
): ExplainedLayer {
  if (!setting.value) return layer(name, false, `turned off by ${setting.place}`);
  return layer(name, true, why, [valueOf(name, "on", setting)]);
}

function waitLayer({ policy, settings }: Resolution): ExplainedLayer {
  const from = settings.mode.value.kind === "failfast" ? settings.mode : settings.waitForReady;
  if (!policy.waitForReady) return layer("wait", false, `fails at once without a peer (${from.place})`);
  return layer("wait", true, "waits for a peer, at most 10000 ms", [valueOf("waitForReady", true, from)]);
}

/** Layers that nobody configures and that running calls have facts about, and what they stand behind. */
const LEARNED_AFTER: Readonly<Record<string, string>> = Object.freeze({ budget: "attempt" });

function withLearned(layers: readonly ExplainedLayer[], facts: readonly LearnedFact[]): readonly ExplainedLayer[] {
  const result = [...layers];
  for (const fact of facts) {
    let index = result.findIndex((one) => one.layer === fact.layer);
    if (index < 0) {
      const before = result.findIndex((one) => one.layer === LEARNED_AFTER[fact.layer]);
      index = before < 0 ? result.length : before + 1;
      result.splice(index, 0, layer(fact.layer, true, ""));
    }
    const known = result[index] as ExplainedLayer;
    const { path, value, why = "", isOn } = fact;
    const learned: ExplainedValue = Object.freeze({ path, value, origin: "learned", where: why });
    const isOff = isOn === false;
    result[index] = layer(known.layer, known.isOn && !isOff, isOff ? why : known.why, [...known.values, learned]);
  }
  return Object.freeze(result);
}

function momentText(moment: HedgeMoment): string {
  return moment.kind === "quantile" ? `p${Math.round(moment.quantile * 100)}` : moment.kind;
}

function isSameRule(a: BackoffRule, b: BackoffRule): boolean {
  return backoffText(a) === backoffText(b);
}

function backoffText({ kind, baseMs, factor, stepMs, maxMs, jitter }: BackoffRule): string {
  const growth = kind === "exponential" ? ` x${factor}` : kind === "linear" ? ` +${stepMs}` : "";
  const ceiling = kind === "constant" ? "" : ` <= ${maxMs}`;
  return `${baseMs}${growth}${ceiling} ms, ${jitter === "none" ? "no" : jitter} jitter`;
}

function codesText(bits: number): string {
  const names = codesByNumber.filter((_, number) => (bits & (1 << number)) !== 0);
  return names.length === 0 ? "only what never reached a handler" : names.join(", ");
}

const LAYER_WIDTH = 11;
/** Settings up to this long stand in one column; a longer one pushes its origin to the right. */
const SETTING_WIDTH_MAX = 40;

interface Row {
  readonly setting: string;
  readonly origin: string;
  readonly where: string;
}

function printed(method: MethodInfo, layers: readonly ExplainedLayer[], notes: readonly string[]): string {
  const rows = layers.map((one) => ({ name: one.layer, rows: rowsOf(one) }));
  const all = rows.flatMap((one) => one.rows);
  const settingWidth = widthOf(
    all.filter(({ setting }) => setting.length <= SETTING_WIDTH_MAX).map(({ setting }) => setting),
  );
  const originWidth = widthOf(all.map(({ origin }) => origin));
  const lines = [`${method.path.slice(1)}  ${method.kind}, effect ${method.effect}`];
  for (const one of rows) {
    one.rows.forEach(({ setting, origin, where }, index) => {
      const name = (index === 0 ? one.name : "").padEnd(LAYER_WIDTH);
      const from = origin === "" ? where : `${origin.padEnd(originWidth)}  ${where}`;
      lines.push(`  ${name}${setting.padEnd(settingWidth)}  ${from}`.trimEnd());
    });
  }
  for (const note of notes) lines.push(`  ${"note".padEnd(LAYER_WIDTH)}${note}`);
  return lines.join("\n");
}

function rowsOf({ layer: name, isOn, why, values }: ExplainedLayer): readonly Row[] {
  const rows = values.map(({ path, value, origin, where }) => {
    return { setting: `${labelOf(name, path)}${String(value)}`.trimEnd(), origin, where };
  });
  return isOn ? rows : [{ setting: "off", origin: "", where: why }, ...rows];
}

function widthOf(texts: readonly string[]): number {
  return texts.reduce((width, text) => Math.max(width, text.length), 0);
}

/** `retry.attemptsMax` under "retry" is "attemptsMax "; a value that the layer's name says all about has none. */
function labelOf(layerName: string, path: string): string {
  if (path === layerName) return "";
  const label = path.startsWith(`${layerName}.`) ? path.slice(layerName.length + 1) : path;
  return `${label} `;
}
