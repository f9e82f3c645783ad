/**
 * Who may: the rules of `authorize` and `critical`, checked when they are given and asked for each call.
 */
import type { Call } from "../call/call.ts";
import { describeValue } from "../call/options.ts";
import type { Principal } from "../call/principal.ts";
import { isThenable } from "./send-replies.ts";

/**
 * `"anyone"`; `"authenticated"`: whoever is known; patterns of principals' ids, in which `*` stands for any run of characters but
 * `/` at its end included (`spiffe://shop/batch/*`); or a function of yours. Deny comes before allow: a rule that throws, or whose promise
 * rejects, refuses.
 */
export type Rule<P extends Principal = Principal> =
  | "anyone"
  | "authenticated"
  | readonly string[]
  | ((principal: P | undefined, call: Call) => boolean | Promise<boolean>);

/** A rule that was looked at. */
export type CheckedRule =
  | { readonly kind: "anyone" | "authenticated" }
  | { readonly kind: "ids"; readonly patterns: readonly RegExp[] }
  | { readonly kind: "function"; readonly decide: (principal: Principal | undefined, call: Call) => unknown };

export const ANYONE: CheckedRule = Object.freeze({ kind: "anyone" });
export const AUTHENTICATED: CheckedRule = Object.freeze({ kind: "authenticated" });

/** Looks at a rule. TypeError, naming `name`, for what is none. */
export function checkRule(name: string, rule: unknown): CheckedRule {
  if (rule === "anyone") return ANYONE;
  if (rule === "authenticated") return AUTHENTICATED;
  if (typeof rule === "function") return { kind: "function", decide: rule as never };
  const isList = Array.isArray(rule) && rule.length > 0 && rule.every((id) => typeof id === "string" && id !== "");
  if (!isList) {
    throw new TypeError(
      `${name} must be "anyone", "authenticated", a list of principals' ids or a function, got ${describeValue(rule)}`,
    );
  }
  return { kind: "ids", patterns: (rule as readonly string[]).map(patternOf) };
}

/** Whether the rule lets the principal pass; a promise if the rule is a function that needs time. Never throws or rejects: that is a no. */
export function isAllowed(
  rule: CheckedRule,
  principal: Principal | undefined,
  call: () => Call,
): boolean | Promise<boolean> {
  switch (rule.kind) {
    case "anyone":
      return true;
    case "authenticated":
      return principal !== undefined;
    case "ids":
      return principal !== undefined && rule.patterns.some((pattern) => pattern.test(principal.id));
    case "function":
      return decided(rule.decide, principal, call);
  }
}

function decided(
  decide: (principal: Principal | undefined, call: Call) => unknown,
  principal: Principal | undefined,
  call: () => Call,
): boolean | Promise<boolean> {
  try {
    const answer: unknown = decide(principal, call());
    if (!isThenable(answer)) return answer === true;
    return Promise.resolve(answer).then(
      (late) => late === true,
      () => false,
    );
  } catch {
    return false;
  }
}

/** `*` is any run of characters within one part of a path; at the end, of all that follows. */
function patternOf(id: string): RegExp {
  const parts = id.split("*").map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`));
  const last = parts.pop() ?? "";
  const text = parts.length === 0 ? last : `${parts.join("[^/]*")}${last === "" ? ".*" : `[^/]*${last}`}`;
  return new RegExp(`^${text}$`, "s");
}
