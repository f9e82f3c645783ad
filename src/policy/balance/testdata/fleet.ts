/**
 * What the tests of balancing share: peers that are ready, attempts, a gate that can be closed, and calls in virtual time.
 */
import type { Outstanding } from "../../../call/outstanding.ts";
import type { Random } from "../../../world/random.ts";
import { seededRandom } from "../../../world/seeded-random.ts";
import { type BalanceKind, type Balancer, createBalancer, type PickGate } from "../balancer.ts";
import { Candidate } from "../candidate.ts";

export const kinds: readonly BalanceKind[] = ["p2c-ewma", "round-robin", "weighted", "random", "least-loaded"];

export const openGate: PickGate<Candidate> = { admits: () => true };

export function newAttempt(): Outstanding {
  return { startedMs: Number.NaN, isOutstanding: false, outstandingPrevious: undefined, outstandingNext: undefined };
}

/** One ready peer. */
export function readyPeer(facts?: ConstructorParameters<typeof Candidate>[0]): Candidate {
  const peer = new Candidate(facts);
  peer.isReady = true;
  return peer;
}

export function readyPeers(count: number): readonly Candidate[] {
  return Array.from({ length: count }, () => readyPeer());
}

/** An attempt that is answered after so long, alone at its peer. */
export function observe(peer: Candidate, latencyMs: number, nowMs: number): void {
  const attempt = newAttempt();
  peer.began(attempt, nowMs - latencyMs);
  peer.answered(attempt, nowMs);
  peer.ended(attempt);
}

/** An attempt that fails after so long, alone at its peer. */
export function fail(peer: Candidate, latencyMs: number, nowMs: number): void {
  const attempt = newAttempt();
  peer.began(attempt, nowMs - latencyMs);
  peer.failed(attempt, nowMs);
  peer.ended(attempt);
}

/** A balancer that was told of its peers. */
export function balancerOf(
  kind: BalanceKind,
  peers: readonly Candidate[],
  facts?: {
    readonly seed?: number;
    readonly gate?: PickGate<Candidate>;
    readonly zone?: string;
    readonly slowStartMs?: number;
    readonly nowMs?: number;
  },
): Balancer<Candidate> {
  const { seed = 1, gate = openGate, zone, slowStartMs, nowMs = 0 } = facts ?? {};
  const balancer = createBalancer({ kind, random: seededRandom(seed), gate, zone, slowStartMs });
  balancer.changed(peers, nowMs);
  return balancer;
}

/** How often each peer is picked, of so many picks at one moment, without a call being made. */
export function countPicks(
  balancer: Balancer<Candidate>,
  peers: readonly Candidate[],
  picks: number,
  facts?: { readonly nowMs?: number; readonly excluded?: readonly Candidate[] },
): readonly number[] {
  const counts = new Map(peers.map((peer) => [peer, 0]));
  for (let i = 0; i < picks; i += 1) {
    const peer = balancer.pick(facts?.nowMs ?? 0, facts?.excluded);
    if (peer !== undefined) counts.set(peer, (counts.get(peer) ?? 0) + 1);
  }
  return [...counts.values()];
}

/** What a peer does with a call that is sent to it at this time. */
export interface Outcome {
  readonly afterMs: number;
  readonly isFailure?: boolean;
}
export type Behaviour = (nowMs: number, random: Random) => Outcome;

export interface Scenario {
  readonly kind: BalanceKind;
  readonly seed: number;
  readonly perSecond: number;
  readonly durationMs: number;
  readonly behaviours: readonly Behaviour[];
  /** A copy is sent to another peer after so long; none unless told. */
  readonly copyAfterMs?: number;
  /** Called before the calls of each millisecond. */
  readonly beforeTick?: (nowMs: number, peers: readonly Candidate[], balancer: Balancer<Candidate>) => void;
}

export interface Finding {
  /** Latency of each call, in the order of their ends; failures count as they end. */
  readonly latenciesMs: readonly number[];
  /** picks[peer][second]: first attempts. */
  readonly picks: readonly (readonly number[])[];
  readonly failures: number;
  readonly copies: number;
}

interface Leg {
  readonly call: { readonly startedMs: number; isOver: boolean; readonly legs: Leg[] };
  readonly peer: Candidate;
  readonly attempt: Outstanding;
  readonly isFailure: boolean;
}

/** Calls at a steady rate in virtual time, in steps of a millisecond. */
export function runScenario(scenario: Scenario): Finding {
  const { behaviours, kind, seed, perSecond, durationMs, copyAfterMs, beforeTick } = scenario;
  const chance = seededRandom(seed + 0.5);
  const peers = readyPeers(behaviours.length);
  const balancer = balancerOf(kind, peers, { seed });
  const due = new Map<number, (() => void)[]>();
  const picks = peers.map(() => new Array<number>(Math.ceil(durationMs / 1_000)).fill(0));
  const latenciesMs: number[] = [];
  let failures = 0;
  let copies = 0;
  let nowMs = 0;

  const at = (timeMs: number, act: () => void): void => {
    const tick = Math.max(nowMs + 1, Math.ceil(timeMs));
    const acts = due.get(tick);
    if (acts === undefined) due.set(tick, [act]);
    else acts.push(act);
  };
  const end = (leg: Leg): void => {
    const { call, peer, attempt, isFailure } = leg;
    if (call.isOver) return;
    call.isOver = true;
    if (isFailure) peer.failed(attempt, nowMs);
    else peer.answered(attempt, nowMs);
    for (const other of call.legs) {
      if (other !== leg) other.peer.overtaken(other.attempt, nowMs, nowMs - attempt.startedMs);
      other.peer.ended(other.attempt);
    }
    latenciesMs.push(nowMs - call.startedMs);
    if (isFailure) failures += 1;
  };
  const send = (call: Leg["call"], peer: Candidate): void => {
    const { afterMs, isFailure = false } = (behaviours[peers.indexOf(peer)] as Behaviour)(nowMs, chance);
    const leg: Leg = { call, peer, attempt: newAttempt(), isFailure };
    call.legs.push(leg);
    peer.began(leg.attempt, nowMs);
    at(nowMs + afterMs, () => end(leg));
  };
  const copy = (call: Leg["call"]): void => {
    const other = call.isOver
      ? undefined
      : balancer.pick(
          nowMs,
          call.legs.map(({ peer }) => peer),
        );
    if (other === undefined) return;
    copies += 1;
    send(call, other);
  };
  const start = (): void => {
    const peer = balancer.pick(nowMs, undefined);
    if (peer === undefined) throw new Error("nobody was picked");
    const counts = picks[peers.indexOf(peer)] as number[];
    const second = Math.floor(nowMs / 1_000);
    counts[second] = (counts[second] ?? 0) + 1;
    const call: Leg["call"] = { startedMs: nowMs, isOver: false, legs: [] };
    send(call, peer);
    if (copyAfterMs !== undefined) at(nowMs + copyAfterMs, () => copy(call));
  };

  for (let owed = 0; nowMs < durationMs || due.size > 0; nowMs += 1) {
    for (const act of due.get(nowMs) ?? []) act();
    due.delete(nowMs);
    if (nowMs >= durationMs) continue;
    beforeTick?.(nowMs, peers, balancer);
    for (owed += perSecond / 1_000; owed >= 1; owed -= 1) start();
  }
  return { latenciesMs, picks, failures, copies };
}

/** About so long, with a standard deviation (Box and Muller). */
export function around(meanMs: number, deviationMs: number): Behaviour {
  return (_nowMs, random) => {
    const normal = Math.sqrt(-2 * Math.log(1 - random.float())) * Math.cos(2 * Math.PI * random.float());
    return { afterMs: Math.max(0, meanMs + deviationMs * normal) };
  };
}
