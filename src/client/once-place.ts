/**
 * Where a `once` call may have been done: the store that may hold its first answer, and which peers share it (DESIGN section 7). Made
 * when an attempt fails and it is not known whether a handler ran; from then on the call goes nowhere else.
 */
import { type AnnouncedStore, isSameStore, NO_STORE } from "../call/dedup.ts";
import type { RpcError } from "../call/error.ts";
import type { ClientConnection } from "../wire/transport/client-connection.ts";
import type { CallAttempt } from "./call-attempt.ts";
import type { ChannelCore } from "./channel-core.ts";
import type { ClientCall } from "./client-call.ts";
import type { ClientPeer } from "./client-peer.ts";

export class OncePlace {
  readonly peer: ClientPeer;
  readonly connection: ClientConnection;
  /** What became of the first attempt that may have done it; undefined: it succeeded. */
  readonly cause: RpcError | undefined;

  constructor(attempt: CallAttempt, cause: RpcError | undefined) {
    this.peer = attempt.peer;
    this.connection = attempt.connection;
    this.cause = cause;
  }

  /**
   * The store that may hold it: what the attempt's own connection has announced, for behind one address there may be several
   * processes, each with connections of its own. It may become known later, and be doubted later still. Undefined: unknown.
   */
  get store(): AnnouncedStore | undefined {
    return this.connection.dedup;
  }

  /** Some peer that shares the store takes the call now, or may soon. */
  isAnywhere({ peers }: ChannelCore, unfit: readonly ClientPeer[] | undefined): boolean {
    return peers.some((peer) => unfit?.includes(peer) !== true && this.#mayCome(peer));
  }

  /** Some peer that shares the store is connected, and is not among those tried. */
  isElsewhere({ peers }: ChannelCore, tried: readonly ClientPeer[] | undefined): boolean {
    return peers.some((peer) => peer.isReady && tried?.includes(peer) !== true && this.#mayCome(peer));
  }

  /** Of the peers that share the store and take the call now, the least loaded; those that are thought ill if there is no other. */
  pick(
    channel: ChannelCore,
    nowMs: number,
    excluded: readonly ClientPeer[] | undefined,
    isLong: boolean,
  ): ClientPeer | undefined {
    let best: ClientPeer | undefined;
    for (const peer of channel.peers) {
      if (excluded?.includes(peer) === true || !peer.isReady || !channel.mayTake(peer, nowMs, isLong)) continue;
      if (this.connectionOf(peer, nowMs, isLong) === undefined) continue;
      if (best === undefined || isBetter(peer, best)) best = peer;
    }
    return best;
  }

  /** The connection of this peer on which the store may be asked now. */
  connectionOf(peer: ClientPeer, nowMs: number, isLong: boolean): ClientConnection | undefined {
    const isShared = this.#isShared(peer);
    return peer.link.connections.find(
      (connection) => this.#leadsThere(connection, isShared) && connection.mayTake(nowMs, isLong),
    );
  }

  /** Why there is nowhere to ask, in words. */
  whyNowhere(): string {
    const { store, connection, peer } = this;
    if (store === undefined && connection.isClosed) {
      return `its connection is gone before ${peer.address} had said where first answers are kept`;
    }
    if (store === undefined) return "only the same connection would lead there, and it takes no more calls";
    if (store === NO_STORE) return `${peer.address} does not say where first answers are kept`;
    return `no peer is there that shares its store of scope ${store.scope}`;
  }

  /** Whether the peer has said that it shares the store. A process is shared by nobody, whatever another peer claims. */
  #isShared(peer: ClientPeer): boolean {
    const { store } = this;
    if (store === undefined || store === NO_STORE) return false;
    return store.scope === "process" ? peer === this.peer : peer.hasAnnounced(store);
  }

  /** A new connection has said nothing yet: if it leads elsewhere, the server that gets the call refuses it. */
  #leadsThere(connection: ClientConnection, isShared: boolean): boolean {
    const { store } = this;
    if (store === undefined) return connection === this.connection;
    return isShared && (connection.dedup === undefined || isSameStore(connection.dedup, store));
  }

  #mayCome(peer: ClientPeer): boolean {
    const { connections } = peer.link;
    const isShared = this.#isShared(peer);
    if (connections.some((connection) => this.#leadsThere(connection, isShared))) return true;
    // Between two connections: the next one may lead there, unless what answered last was another.
    return (
      connections.length === 0 && isShared && peer.link.state !== "closed" && isSameStore(peer.lastStore, this.store)
    );
  }
}

/** Where an execution of a `once` call may have been done that has ended so: another one under the same id goes there too. */
export function placeAfter(call: ClientCall, error: RpcError | undefined): OncePlace | undefined {
  const { once, last } = call;
  if (once !== undefined || last === undefined || call.method.plan.info.effect !== "once") return once;
  if (error?.reached === "no") return undefined;
  const { dedup } = last.connection;
  // Without a store an answer is an answer: whoever asks once more wants another.
  const isKept = dedup !== undefined && dedup !== NO_STORE;
  return isKept || error?.reached === "maybe" ? new OncePlace(last, error) : undefined;
}

function isBetter(one: ClientPeer, other: ClientPeer): boolean {
  if (one.isHealthy !== other.isHealthy) return one.isHealthy;
  return one.inFlight < other.inFlight;
}
