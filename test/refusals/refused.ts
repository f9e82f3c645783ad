/**
 * What the compiler refuses about policies, handlers, and about who may call a service and with what, a line each. The text behind `@ts-expect-error` is what it must print: refused.test.ts
 * takes the directives out, runs the project's tsc, and looks. A line that would compile fails the ordinary type check.
 */
import { Orders } from "../../examples/streams/gen/shop/v1/orders_pb.ts";
import { annotate } from "../../src/schema/contract.ts";
import type { Principal } from "../../src/call/principal.ts";
import type { CallPolicy, ClientPolicy, MethodPolicies } from "../../src/client/policy/index.ts";
import type { Handlers, ServiceOptions } from "../../src/server/create-server.ts";
import type { ServerOptions } from "../../src/server/options.ts";
import type { RequestSchema } from "../../src/server/validate.ts";

const _once = annotate(Orders, { get: { effect: "once" }, watch: { effect: "none" } });
const _unknown = annotate(Orders, { get: { effect: "unknown" }, import: { effect: "idempotent" } });
type Once = MethodPolicies<typeof _once>;
type Unknown = MethodPolicies<typeof _unknown>;
interface User {
  readonly id: string;
  readonly roles: readonly string[];
}
type Service = ServiceOptions<typeof Orders, User>;
/** What handlers are given where the journal has transactions, and where it has none. */
type OfOnce = Parameters<Handlers<typeof _once, Principal, { readonly file: string }>["get"]>[1];
type OfUnknown = Parameters<Handlers<typeof _unknown, Principal, { readonly file: string }>["get"]>[1];
type OfMemory = Parameters<Handlers<typeof _once>["get"]>[1];

// Copies, which a method must be able to stand.
// @ts-expect-error hedging runs a call twice: declare effect none or idempotent
export const copyOnce: Once = { get: { hedge: { after: "p95" } } };
// @ts-expect-error hedging runs a call twice: declare effect none or idempotent
export const copyUnknown: Unknown = { get: { hedge: {} } };
// @ts-expect-error this mode executes a call several times: declare effect none or idempotent
export const forkOnce: Once = { get: { mode: { kind: "forking", copies: 2 } } };
// @ts-expect-error hedging runs a call twice: declare effect none or idempotent
export const callCopyOnce: CallPolicy<"once"> = { hedge: { afterMs: 20 } };
// @ts-expect-error this mode executes a call several times: declare effect none or idempotent
export const callForkUnknown: CallPolicy<"unknown"> = { mode: { kind: "forking", copies: 2 } };

// Repeats of what reached a handler.
// @ts-expect-error retrying a call that reached a handler repeats its effect: declare effect none, idempotent or once
export const codesUnknown: Unknown = { get: { retry: { codes: ["UNAVAILABLE"] } } };
// @ts-expect-error retrying a call that reached a handler repeats its effect: declare effect none, idempotent or once
export const callCodesUnknown: CallPolicy<"unknown"> = { retry: { codes: [] } };
// @ts-expect-error "ABORTED"
export const codeAborted: Once = { get: { retry: { codes: ["ABORTED"] } } };
// @ts-expect-error "RESOURCE_EXHAUSTED"
export const codeExhausted: ClientPolicy = { retry: { codes: ["RESOURCE_EXHAUSTED"] } };

// Fallbacks, which stand for one reply of one method.
// @ts-expect-error only a unary method has a fallback
export const fallbackStream: Once = { watch: { fallback: () => ({}) } };
// @ts-expect-error 'fallback' does not exist in type
export const fallbackClient: ClientPolicy = { fallback: () => ({}) };
// @ts-expect-error Type '{ id: number; }' is not assignable
export const fallbackReply: Once = { get: { fallback: () => ({ id: 5 }) } };

// What belongs elsewhere, is not there yet, or is misspelt.
// @ts-expect-error 'timeoutMs' does not exist in type
export const callTimeout: CallPolicy = { timeoutMs: 5 };
// @ts-expect-error 'priority' does not exist in type
export const callPriority: CallPolicy = { priority: "critical" };
// @ts-expect-error 'gett' does not exist in type
export const methodName: Once = { gett: { timeoutMs: 5 } };
// @ts-expect-error "available"
export const modeAvailable: ClientPolicy = { mode: "available" };
// @ts-expect-error "quorum"
export const modeQuorum: ClientPolicy = { mode: { kind: "quorum", copies: 3 } };
// @ts-expect-error 'cache' does not exist in type
export const cacheLater: ClientPolicy = { cache: { ttlMs: 5 } };
// @ts-expect-error "interactiv"
export const presetName: ClientPolicy = "interactiv";
// @ts-expect-error Type 'string' has no properties in common with type 'MethodPolicy
export const methodPreset: Once = { get: "none" };

// Transactions, which a journal must have and a method of effect once alone may use.
// @ts-expect-error transact is for methods with effect once
export const transactUnknown = (call: OfUnknown): unknown => call.transact(() => ({}));
// @ts-expect-error Property 'transact' does not exist on type
export const transactMemory = (call: OfMemory): unknown => call.transact(() => ({}));
// @ts-expect-error Property 'table' does not exist on type
export const transactOther = (call: OfOnce): unknown => call.transact((tx) => ({ id: tx.table }));

// Values.
// @ts-expect-error Type 'true' is not assignable to type 'false'
export const throttleOn: ClientPolicy = { throttle: true };
// @ts-expect-error Type 'string' is not assignable to type 'number | false | undefined'
export const attemptTimeout: ClientPolicy = { attemptTimeoutMs: "adaptive" };
// @ts-expect-error "p75"
export const hedgeMoment: ClientPolicy = { hedge: { after: "p75" } };
// @ts-expect-error 'stepMs' is missing
export const backoffStep: ClientPolicy = { retry: { backoff: { kind: "linear", baseMs: 5 } } };
// @ts-expect-error Type 'null' is not assignable to type
export const nothing: ClientPolicy = { hedge: null };

// Who may call, and with what.
// @ts-expect-error readonly chat: Rule<User>;
export const ruleForgotten: Service["authorize"] = { get: "anyone", watch: "anyone", import: ["ops/*"] };
// @ts-expect-error '"everyone"' is not assignable
export const ruleWord: Service["authorize"] = "everyone";
// @ts-expect-error Property 'role' does not exist on type 'User'
export const rulePrincipal: Service["authorize"] = (user) => user?.role === "buyer";
// @ts-expect-error Type 'number' is not assignable to type 'boolean | Promise<boolean>'
export const ruleCritical: ServerOptions<User>["critical"] = (user) => user?.roles.length ?? 0;
// @ts-expect-error Type 'string' is not assignable
export const principalText: ServerOptions<User>["authenticate"] = () => "ann";
// @ts-expect-error 'gett' does not exist in type
export const schemaMethod: Service["validate"] = { gett: undefined };
declare const _ofNumbers: RequestSchema<{ readonly id: number }>;
// @ts-expect-error Type 'number' is not assignable to type 'string'
export const schemaField: Service["validate"] = { get: _ofNumbers };

/** A schema may look at some fields, and there may be a rule for all methods or for each. */
declare const _ofSome: RequestSchema<{ readonly id?: string }>;
export const acceptedOfServices: readonly Service[] = [
  { authorize: "authenticated", validate: { get: _ofSome, watch: undefined } },
  { authorize: { get: "anyone", watch: (user) => user !== undefined, import: ["ops/*"], chat: async () => true } },
];

/** What compiles beside them: the same keys where the method may have them, undefined everywhere. */
/** What compiles beside them: a handler's transaction; the same keys where the method may have them, undefined everywhere. */
export const transacted = (call: OfOnce): unknown => call.transact((tx) => ({ id: tx.file }));
export const accepted: readonly [Once, Unknown, ClientPolicy, CallPolicy<"once">] = [
  {
    get: {
      hedge: false,
      mode: "failfast",
      retry: { codes: ["UNAVAILABLE"] },
      fallback: (error, { id }) => ({ id, sku: error.code }),
    },
    watch: { hedge: { after: "p98", copiesMax: 2 }, mode: undefined },
    import: { retry: { attemptsMax: Infinity } },
  },
  {
    get: { retry: { attemptsMax: 2, backoff: { failure: { kind: "constant", baseMs: 5 }, timeout: undefined } } },
    import: { mode: { kind: "forking", copies: 2 }, hedge: { afterMs: 5 } },
  },
  { preset: "interactive", hedge: {}, attemptTimeoutMs: false, integrity: false, timeoutMs: undefined },
  { retry: { codes: ["DATA_LOSS"] }, throttle: false },
];
