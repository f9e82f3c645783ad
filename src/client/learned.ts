/**
 * What running calls have shown of a method, for `$explain`: budget, overdue delay, throttle, and what the switches say.
 */
import { type AnnouncedStore, isSameStore, NO_STORE } from "../call/dedup.ts";
import { mechanisms } from "../policy/protect/switches.ts";
import type { ChannelCore } from "./channel-core.ts";
import type { ClientMethod } from "./client-method.ts";
import type { LearnedFact } from "./policy/explanation.ts";

/** The layer of the explanation that a mechanism belongs to. */
const LAYER_OF: Readonly<Record<(typeof mechanisms)[number], string>> = {
  retry: "retry",
  hedge: "hedge",
  budget: "budget",
  throttle: "throttle",
  gate: "gate",
  suspicion: "gate",
  outlier: "gate",
  correlated: "gate",
  corruption: "integrity",
  poison: "retry",
  panic: "gate",
  "slow-start": "gate",
  integrity: "integrity",
};

export function learnedOf(channel: ChannelCore, { state }: ClientMethod): readonly LearnedFact[] {
  const nowMs = channel.nowMs();
  const facts: LearnedFact[] = [
    { layer: "budget", path: "budget.left", value: Math.floor(state.budget.left(nowMs)), why: "of the last 10 s" },
  ];
  const delayMs = state.overdue?.delayMs(nowMs) ?? Infinity;
  if (delayMs !== Infinity) {
    facts.push({ layer: "hedge", path: "hedge.afterMs", value: rounded(delayMs), why: "1.5 x p99 of the last 30 s" });
  }
  if (channel.isStandingDown) {
    facts.push({
      layer: "hedge",
      path: "hedge.copies",
      value: "standing down",
      why: "most peers became slower at once",
    });
  }
  if (state.info.effect === "once") facts.push(repeatedWhere(channel));
  const refusedShare = state.refusedShare(nowMs);
  if (refusedShare > 0) {
    facts.push({
      layer: "throttle",
      path: "throttle.refusedShare",
      value: rounded(refusedShare),
      why: "servers refuse calls",
    });
  }
  if (channel.health !== undefined) {
    const { request, from } = channel.health;
    facts.push({ layer: "health", path: "health.service", value: JSON.stringify(request.service), why: `by ${from}` });
  }
  for (const mechanism of mechanisms) {
    const switched = channel.switches.get(mechanism);
    if (switched === "on") continue;
    const isOn = switched === "observe" || LAYER_OF[mechanism] !== mechanism ? undefined : false;
    facts.push({ layer: LAYER_OF[mechanism], path: mechanism, value: switched, why: "by createSwitches", isOn });
  }
  return facts;
}

/** Where a `once` call that may have reached a handler is repeated, as far as peers have said where they keep first answers. */
function repeatedWhere({ peers }: ChannelCore): LearnedFact {
  const heard = peers.map(({ lastStore }) => lastStore).filter((store) => store !== undefined);
  const stores = heard.filter((store) => store !== NO_STORE);
  const fact = (path: string, why: string): LearnedFact => ({ layer: "retry", path, value: "", why });
  if (heard.length === 0) return fact("same connection only", "no peer has said yet where it keeps first answers");
  if (stores.length === 0) return fact("only what never reached a handler", "its peers keep no first answers");
  const words = [...new Set(stores.map(({ scope }) => scope))].join(" and ");
  const shared = stores.some((store) => store.scope !== "process" && isShared(store, stores));
  return fact(shared ? "peers of the same store" : "same peer only", `its dedup journal has scope ${words}`);
}

function isShared(store: AnnouncedStore, stores: readonly AnnouncedStore[]): boolean {
  return stores.filter((other) => isSameStore(store, other)).length > 1;
}

function rounded(value: number): number {
  return Math.round(value * 1_000) / 1_000;
}
