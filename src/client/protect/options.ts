/**
 * The options of a protected function: what may be given, defaults, limits; and the policy that they come to. Checked once, at creation.
 */
import type { RpcError } from "../../call/error.ts";
import type { Effect, MethodInfo } from "../../call/method.ts";
import {
  anyOption,
  type Option,
  functionOption,
  numberOption,
  objectOption,
  type OptionShape,
  resolveOptions,
  textOption,
  wordOption,
} from "../../call/options.ts";
import { nodeWorld } from "../../world/node.ts";
import type { Fetch } from "../../world/node-fetch.ts";
import type { World } from "../../world/world.ts";
import type { BudgetOptions } from "../options.ts";
import { policyKeys } from "../policy/policy-options.ts";
import type { Policy } from "../policy/policy.ts";
import { type PolicyLevels, type Resolution, resolvePolicy } from "../policy/resolve-policy.ts";
import type { AttemptVerdict } from "./attempt-failure.ts";

/** How a function is protected: who it is, what it does, and a policy as that of a method. docs/protect.md has the rules. */
export interface ProtectOptions<E extends Effect, A extends readonly unknown[], R> extends Policy<E> {
  /** Its name in errors, records and events: "pay.charge" is `charge` of service `pay`. Must be given; 1..256 characters. */
  readonly name: string;
  /** What a second execution would do. Default "unknown": repeated only if `classify` says "unreached". */
  readonly effect?: E | undefined;
  /** Who does the work: a gate, a throttle and statistics for each, such as for each host. 1..1024 characters; 1000 are remembered. Default one for all calls. */
  readonly peer?: ((...args: A) => string) | undefined;
  /**
   * Says what a result means: an RpcError is a failure of that kind, "unreached" a failure before anything was begun. undefined leaves it
   * as it seems: what was returned is a success, what was thrown a failure (`RpcError.from`). Default that for every result.
   */
  readonly classify?:
    | ((result: { readonly error: unknown } | { readonly value: R }) => RpcError | "unreached" | undefined)
    | undefined;
  /** An answer in place of a failure, which is recorded all the same; not asked when the caller has cancelled. Default none. */
  readonly fallback?: ((error: RpcError, ...args: A) => R | Promise<R>) | undefined;
  /** false: calls made inside the work inherit nothing from it (deadline, cancellation, priority, trace), which is about half of what a call costs. Default on. */
  readonly context?: false | undefined;
  /** Bounds repeats and copies. Default as each field says. */
  readonly budget?: BudgetOptions | undefined;
  /** Clock, timers and chance. Default the real ones; `holdfast/testing` has simulated ones. */
  readonly world?: World | undefined;
}

/** How a `fetch` is protected. Policies hold for each HTTP method where its effect allows them. */
export interface ProtectFetchOptions extends Policy {
  /** Its name in errors, records and events. Must be given; 1..256 characters. */
  readonly name: string;
  /** Bounds repeats and copies. Default as each field says. */
  readonly budget?: BudgetOptions | undefined;
  /** What is protected: another client's fetch, or a test's. Default the global `fetch`, as it is when called. */
  readonly fetch?: Fetch | undefined;
  /** Clock, timers and chance. Default the real ones; `holdfast/testing` has simulated ones. */
  readonly world?: World | undefined;
}

const common = {
  name: textOption({ lengthMax: 256 }),
  budget: objectOption({
    share: numberOption({ default: 0.1, min: 0, max: 1 }),
    perSecondMin: numberOption({ default: 1, min: 0, max: 1_000 }),
    copyShareMax: numberOption({ default: 0.02, min: 0, max: 1 }),
  }),
  world: anyOption<World>(),
};

const functionShape = {
  ...common,
  effect: wordOption<Effect, Effect>(["none", "idempotent", "once", "unknown"], { default: "unknown" }),
  peer: functionOption<(...args: readonly unknown[]) => unknown>(),
  classify: functionOption<(result: unknown) => AttemptVerdict>(),
  context: anyOption<unknown>(),
};
const fetchShape = { ...common, fetch: functionOption<Fetch>() };

/** Everything that a policy may state; what it may be, policy-options.ts knows. */
const policyNames = policyKeys.filter((key) => !key.includes("."));

type Given<S extends OptionShape> = { readonly [K in keyof S]: S[K] extends Option<infer T> ? T : never };

export interface CommonOptions {
  readonly name: string;
  readonly budget: BudgetOptions;
  readonly world: World;
  /** What was given of a policy. */
  readonly policy: Readonly<Record<string, unknown>>;
}
export type FunctionOptions = CommonOptions &
  Pick<Given<typeof functionShape>, "effect" | "peer" | "classify"> & { readonly hasScope: boolean };
export type FetchOptions = CommonOptions & Pick<Given<typeof fetchShape>, "fetch">;

export function resolveFunctionOptions(given: unknown): FunctionOptions {
  const own = resolveOptions("", given, withPolicy(functionShape, policyNames));
  const { effect, peer, classify, context } = own;
  if (context !== undefined && context !== false) {
    throw new TypeError(`context may only be false, got ${JSON.stringify(context)} (on is the default)`);
  }
  return { ...commonOf(own), effect, peer, classify, hasScope: context !== false };
}

export function resolveFetchOptions(given: unknown): FetchOptions {
  const names = policyNames.filter((key) => key !== "fallback");
  const own = resolveOptions("", given, withPolicy(fetchShape, names));
  return { ...commonOf(own), fetch: own.fetch };
}

function withPolicy<S extends OptionShape>(shape: S, names: readonly string[]): S {
  return { ...shape, ...Object.fromEntries(names.map((name) => [name, anyOption<unknown>()])) };
}

function commonOf(own: Given<typeof common>): CommonOptions {
  const { name, budget, world } = own;
  if (name === undefined) throw new TypeError("name must be a text, got undefined");
  const given = Object.entries(own).filter(([key, value]) => policyNames.includes(key) && value !== undefined);
  return { name, budget, world: world ?? nodeWorld, policy: Object.fromEntries(given) };
}

/** A function as a method: "pay.charge" is `charge` of `pay`; a name without a dot is both. */
export function methodOf(name: string, effect: Effect): MethodInfo {
  const dot = name.lastIndexOf(".");
  const isParted = dot > 0 && dot < name.length - 1;
  const service = isParted ? name.slice(0, dot) : name;
  const method = isParted ? name.slice(dot + 1) : name;
  return Object.freeze({ service, name: method, path: `/${service}/${method}`, kind: "unary", effect });
}

/**
 * What a policy comes to. `own`: of this very method, which refuses what it may not have; else of many, which leaves it out and notes it.
 * The places that errors and explanations name are the options' own: the policy's keys stand among them.
 */
export function resolveProtected(info: MethodInfo, policy: object, isOwn: boolean): Resolution {
  const levels: PolicyLevels = isOwn ? { method: info, own: policy } : { method: info, client: policy };
  try {
    return resolvePolicy(levels);
  } catch (error) {
    throw withoutPlace(error, placeOf(info, isOwn));
  }
}

/** What resolvePolicy writes before the keys of a level. */
export function placeOf({ name }: MethodInfo, isOwn: boolean): string {
  return isOwn ? `methods.${name}.` : "policy.";
}

function withoutPlace(error: unknown, place: string): unknown {
  if (!(error instanceof Error) || !error.message.includes(place)) return error;
  const Kind = error instanceof RangeError ? RangeError : TypeError;
  return new Kind(error.message.replaceAll(place, ""));
}
