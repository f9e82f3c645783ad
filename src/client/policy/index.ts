/**
 * The door `holdfast/policy`: policies as values, and the switches of a running channel.
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
export { createSwitches, type Mechanism, type Switches, type SwitchesOptions, type SwitchState } from "../switches.ts";
