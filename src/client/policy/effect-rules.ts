/**
 * What a method may not have, and why: copies and repeats follow from its effect (DESIGN section 4), a deadline and a fallback from its kind.
 */
import type { Effect, MethodInfo } from "../../call/method.ts";
import type { ModeSetting, Statement } from "./resolved-policy.ts";

export interface Unfit {
  readonly why: string;
  /** What its writer can do. */
  readonly remedy: string;
}

/** Whether two executions of one call may overlap. */
export function isCopyable(effect: Effect): boolean {
  return effect === "none" || effect === "idempotent";
}

/** Why copies are out of the question for an effect. */
export function whyNoCopy(effect: Effect): string {
  return effect === "once"
    ? "effect once: a copy would wait for the first"
    : "effect unknown: a copy may do the work twice";
}

export const WHY_NO_CODES = "effect unknown: it is repeated only if it provably never reached a handler";

/** Why a method may not have what was stated; undefined if it may. */
export function unfitFor(method: MethodInfo, statement: Statement): Unfit | undefined {
  const { effect, kind } = method;
  switch (statement.key) {
    case "hedge":
      return statement.value && !isCopyable(effect)
        ? { why: whyNoCopy(effect), remedy: "declare effect none or idempotent, or leave hedge out" }
        : undefined;
    case "mode":
      return isForking(statement.value) && !isCopyable(effect)
        ? { why: whyNoCopy(effect), remedy: "declare effect none or idempotent, or take another mode" }
        : undefined;
    case "codes":
      return effect === "unknown"
        ? { why: WHY_NO_CODES, remedy: "declare effect none, idempotent or once, or leave codes out" }
        : undefined;
    case "fallback":
      return kind !== "unary" && statement.value !== undefined
        ? { why: `only a unary method has a fallback, this one is ${kind}`, remedy: "leave fallback out" }
        : undefined;
    default:
      return undefined;
  }
}

/** Whether replies come as a stream, which has no end to wait for. */
export function isReplyStream(method: MethodInfo): boolean {
  return method.kind === "server-stream" || method.kind === "bidi";
}

function isForking(mode: ModeSetting): boolean {
  return mode.kind === "forking";
}
