/**
 * What an invariant is, and what it looks at: the history so far, what is new in it, and what can be seen of clients and servers now.
 */
import type { Fresh, History } from "./history.ts";
import type { UniversePlan } from "./universe-plan.ts";
import type { WireTap } from "./wire-tap.ts";

/** One peer as a client reports it (`$channel.peers()`). */
export interface SeenPeer {
  readonly address: string;
  readonly health: string;
  /** "ready", or what keeps calls from a peer that is connected. */
  readonly why: string;
  readonly inFlight: number;
}

/** The present life of a client, now. */
export interface SeenClient {
  readonly host: string;
  readonly life: number;
  readonly tap: WireTap;
  readonly peers: readonly SeenPeer[];
}

/** What is left of a client or a server after its end. */
export interface Leftover {
  readonly host: string;
  /** What is left, and how much of it; what is 0 is fine. */
  readonly counts: Readonly<Record<string, number>>;
}

export interface Look {
  readonly nowMs: number;
  readonly plan: UniversePlan;
  readonly history: History;
  readonly fresh: Fresh;
  readonly clients: readonly SeenClient[];
  /** Promises that were rejected and that nobody waited for. */
  readonly unhandled: readonly string[];
}

/** The universe after its end: everything was closed, and time has passed. */
export interface LastLook extends Look {
  /** Peers that no look found ready in the minute after the last calls, in words, and how they were then. */
  readonly lostPeers: ReadonlyMap<string, string>;
  readonly leftovers: readonly Leftover[];
  /** How long servers without calls took to close, by host. */
  readonly closedInMs: ReadonlyMap<string, number>;
  /** Handlers that never ended, by host. */
  readonly runningHandlers: ReadonlyMap<string, number>;
}

/** Something that must hold in every universe. Each `look` gives what is wrong, or undefined. */
export interface Invariant {
  readonly name: string;
  /** What must hold, in a sentence. */
  readonly claim: string;
  /** Whether it also holds when bits flip on the way and nothing checks them. */
  readonly bearsCorruption: boolean;
  /** What it waits for: it is not judged until then. */
  readonly awaits?: string;
  /** Every 10 ms of virtual time. */
  readonly always?: (look: Look) => string | undefined;
  /** Once, at the very end. */
  readonly atLast?: (look: LastLook) => string | undefined;
}

/** An invariant that did not hold. */
export interface Violation {
  readonly invariant: string;
  readonly atMs: number;
  /** What was seen, on several lines. */
  readonly text: string;
}

/** The first of some invariants that does not hold. */
export function judge(
  invariants: readonly Invariant[],
  look: Look,
  ask: (invariant: Invariant) => string | undefined,
): Violation | undefined {
  for (const invariant of invariants) {
    if (invariant.awaits !== undefined || (look.plan.isCorrupting && !invariant.bearsCorruption)) continue;
    const text = ask(invariant);
    if (text !== undefined) return { invariant: invariant.name, atMs: look.nowMs, text };
  }
  return undefined;
}
