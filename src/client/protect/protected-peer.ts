/**
 * What is kept of each peer of a protected function: its gate, its pace, and what each kind of call there has shown. A thousand peers at
 * most; the one that was used least lately makes room.
 */
import type { MethodInfo } from "../../call/method.ts";
import type { Peer } from "../../call/peer.ts";
import type { RetryBudget } from "../../policy/recover/budget.ts";
import { PeerPace, StandDown } from "../../policy/recover/stand-down.ts";
import { MethodState } from "../method-state.ts";
import { Breaker } from "./breaker.ts";

/** Peers that are remembered. */
export const PEERS_MAX = 1_000;
/** Copies stand down, or stop doing so, at most this often. */
const LOOK_EVERY_MS = 1_000;
/** What channels have: K 2, 5 s, 75 %. */
const THROTTLE = Object.freeze({ factor: 2, decayMs: 5_000, refusedShareMax: 0.75 });

export class ProtectedPeer {
  readonly key: string;
  readonly breaker: Breaker;
  readonly pace: PeerPace;
  /** Towards the one that was used before, and the one that was used after. */
  older: ProtectedPeer | undefined;
  newer: ProtectedPeer | undefined;
  readonly #standDown: StandDown;
  #lookAtMs: number;
  readonly #states: MethodState[];
  #described: Peer | undefined;

  constructor(key: string) {
    this.key = key;
    this.breaker = new Breaker();
    this.pace = new PeerPace();
    this.older = undefined;
    this.newer = undefined;
    this.#standDown = new StandDown();
    this.#lookAtMs = -Infinity;
    this.#states = [];
    this.#described = undefined;
  }

  /** What calls of a kind have shown here; kinds are small integers. */
  stateOf(kind: number, info: MethodInfo, budget: RetryBudget): MethodState {
    return this.#states[kind] ?? (this.#states[kind] = new MethodState(info, kind, budget, THROTTLE));
  }

  /** Whether copies would add to what is slow already: a function's peer has no others that could help it. */
  isStandingDown(nowMs: number): boolean {
    if (nowMs >= this.#lookAtMs) {
      this.#lookAtMs = nowMs + LOOK_EVERY_MS;
      // It stands for all that is behind it: its word is enough, where among several peers one word is not.
      this.#standDown.look([this.pace, this.pace], nowMs);
    }
    return this.#standDown.isDown;
  }

  describe(): Peer {
    const { key } = this;
    this.#described ??= Object.freeze({ id: key, address: key, zone: undefined, version: undefined, identities: [] });
    return this.#described;
  }
}

/** The peers by key, the least lately used first in a list. */
export class ProtectedPeers {
  readonly #byKey: Map<string, ProtectedPeer>;
  readonly #max: number;
  #oldest: ProtectedPeer | undefined;
  #newest: ProtectedPeer | undefined;

  constructor(max: number = PEERS_MAX) {
    this.#byKey = new Map();
    this.#max = max;
    this.#oldest = undefined;
    this.#newest = undefined;
  }

  get size(): number {
    return this.#byKey.size;
  }

  /** From the one used least lately. */
  all(): readonly ProtectedPeer[] {
    const peers: ProtectedPeer[] = [];
    for (let peer = this.#oldest; peer !== undefined; peer = peer.newer) peers.push(peer);
    return peers;
  }

  /** The peer of a key, which is the newest from now on. A call that still has a forgotten one goes on with it. */
  use(key: string): ProtectedPeer {
    const known = this.#byKey.get(key);
    if (known !== undefined) {
      if (known !== this.#newest) {
        this.#unlink(known);
        this.#append(known);
      }
      return known;
    }
    if (this.#byKey.size >= this.#max && this.#oldest !== undefined) {
      this.#byKey.delete(this.#oldest.key);
      this.#unlink(this.#oldest);
    }
    const peer = new ProtectedPeer(key);
    this.#byKey.set(key, peer);
    this.#append(peer);
    return peer;
  }

  #append(peer: ProtectedPeer): void {
    peer.older = this.#newest;
    peer.newer = undefined;
    if (this.#newest === undefined) this.#oldest = peer;
    else this.#newest.newer = peer;
    this.#newest = peer;
  }

  #unlink(peer: ProtectedPeer): void {
    if (peer.older === undefined) this.#oldest = peer.newer;
    else peer.older.newer = peer.newer;
    if (peer.newer === undefined) this.#newest = peer.older;
    else peer.newer.older = peer.older;
    peer.older = undefined;
    peer.newer = undefined;
  }
}
