/**
 * The door `holdfast/policy`: policies as values. Types only.
 */
export type { Explanation, ExplainedLayer, ExplainedValue } from "./explanation.ts";
export type {
  Backoff,
  BackoffByCause,
  CallPolicy,
  ClientPolicy,
  Copies,
  Fallback,
  Hedge,
  MethodPolicies,
  MethodPolicy,
  Policy,
  Preset,
  RepeatableCode,
  Retry,
} from "./policy.ts";
export type { Origin } from "./resolved-policy.ts";
