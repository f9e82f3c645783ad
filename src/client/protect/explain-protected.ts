/**
 * How the calls of a protected function are handled, and why: the explanation of its policy, with what running calls have shown.
 */
import { type ExplainedLayer, explain, type Explanation, type LearnedFact } from "../policy/explanation.ts";
import { PEERS_MAX, type ProtectedPeer } from "./protected-peer.ts";
import type { ProtectedPlan } from "./protection.ts";

/** Gates that are shut and named one by one; the rest are counted. */
const GATES_SHOWN_MAX = 10;

/** `place`: what the policy's resolution wrote before keys that stand at the top here. */
export function explainProtected(plan: ProtectedPlan, place: string): Explanation {
  const explained = explain(plan.resolution, learnedOf(plan));
  const { method, layers, notes } = explained;
  const without = (text: string): string => text.replaceAll(place, "");
  return Object.freeze({
    method,
    layers: Object.freeze(layers.map((layer) => atTheTop(layer, without))),
    notes: Object.freeze(notes.map(without)),
    toString: () => without(explained.toString()),
  });
}

function atTheTop({ layer, isOn, why, values }: ExplainedLayer, without: (text: string) => string): ExplainedLayer {
  const placed = values.map((value) => Object.freeze({ ...value, where: without(value.where) }));
  return Object.freeze({ layer, isOn, why: without(why), values: Object.freeze(placed) });
}

function learnedOf({ protection, kind, info, policy, hasScope }: ProtectedPlan): readonly LearnedFact[] {
  const { budget, counters, peers, onlyPeer } = protection;
  const nowMs = protection.nowMs();
  const facts: LearnedFact[] = [
    { layer: "integrity", path: "integrity", value: "none", why: "a function has no wire", isOn: false },
    { layer: "wait", path: "waitForReady", value: false, why: "a function is there, or its gate is shut", isOn: false },
    {
      layer: "context",
      path: "context",
      value: hasScope ? "on" : "off",
      why: "calls inside the work inherit",
      isOn: hasScope,
    },
    { layer: "budget", path: "budget.left", value: Math.floor(budget.left(nowMs)), why: "of the last 10 s" },
    { layer: "calls", path: "calls.ended", value: counters.calls, why: "so far" },
    { layer: "calls", path: "calls.failed", value: counters.failures, why: "so far" },
    { layer: "calls", path: "calls.cancelled", value: counters.cancelled, why: "by their callers" },
    { layer: "calls", path: "calls.recovered", value: counters.recovered, why: "succeeded after a failed attempt" },
  ];
  const all = peers.size === 0 ? [onlyPeer] : peers.all();
  if (peers.size > 0)
    facts.push({ layer: "peers", path: "peers.known", value: peers.size, why: `at most ${PEERS_MAX}` });
  if (policy.gate) facts.push(...gateFacts(all, nowMs));
  const only = all.length === 1 ? all[0]?.stateOf(kind, info, budget).overdue?.delayMs(nowMs) : undefined;
  if (only !== undefined && only !== Infinity) {
    facts.push({
      layer: "hedge",
      path: "hedge.afterMs",
      value: Math.round(only * 1_000) / 1_000,
      why: "1.5 x p99 of the last 30 s",
    });
  }
  return facts;
}

function gateFacts(peers: readonly ProtectedPeer[], nowMs: number): readonly LearnedFact[] {
  const shut = peers.filter(({ breaker }) => breaker.state !== "closed");
  const named = shut.slice(0, GATES_SHOWN_MAX).map(({ key, breaker }): LearnedFact => {
    const leftMs = Math.max(0, Math.ceil(breaker.untilMs - nowMs));
    const value = breaker.state === "shut" && leftMs > 0 ? `shut for ${leftMs} ms` : "lets one call through at a time";
    return { layer: "gate", path: `gate.${key}`, value, why: breaker.why };
  });
  const more = shut.length - named.length;
  return more > 0
    ? [...named, { layer: "gate", path: "gate.more", value: `${more} more are not open`, why: "" }]
    : named;
}
