/**
 * Watches over one connection while calls wait on it: silence makes its peer a suspect, which is asked for a sign of life and
 * not picked while others are there; more silence ends the connection (DESIGN section 6). The rules are `policy/detect`'s.
 */
import type { Outstanding } from "../call/outstanding.ts";
import { NetworkFigures } from "../policy/detect/network-figures.ts";
import { Suspicion, type SuspicionFacts } from "../policy/detect/suspicion.ts";
import type { ClientConnection } from "../wire/transport/client-connection.ts";
import { WheelEntry } from "../wire/transport/timer-wheel.ts";
import type { CallAttempt } from "./call-attempt.ts";
import type { ClientPeer } from "./client-peer.ts";
import type { MethodState } from "./method-state.ts";

/** The soonest that silence can say anything. */
const FIRST_LOOK_MS = 300;

/**
 * Not a byte has come from the attempt's peer for longer than a slow handler explains: not what all peers suffer from when all are slow. A
 * suspicion takes longer where this process itself is slow, or the method: it is for all calls, this for one that is overdue.
 */
export function isSilent({ connection, peer, startedMs }: CallAttempt, nowMs: number): boolean {
  return peer.isSuspect || nowMs - Math.max(startedMs, connection.receivedAtMs) >= FIRST_LOOK_MS;
}

export class ConnectionWatch extends WheelEntry implements SuspicionFacts {
  readonly #peer: ClientPeer;
  readonly #connection: ClientConnection;
  readonly #suspicion: Suspicion;
  #figures: NetworkFigures | undefined;
  #isSuspect: boolean;
  #oldest: CallAttempt | undefined;
  /**
   * When an attempt began that was given up since, for a copy was faster or its time was over; counts as outstanding until a byte comes.
   * Without it a dead peer whose calls all end soon would never be found out.
   */
  #owedSinceMs: number;
  #owedState: MethodState | undefined;

  constructor(peer: ClientPeer, connection: ClientConnection) {
    super();
    this.#peer = peer;
    this.#connection = connection;
    this.#suspicion = new Suspicion();
    this.#figures = undefined;
    this.#isSuspect = false;
    this.#oldest = undefined;
    this.#owedSinceMs = -Infinity;
    this.#owedState = undefined;
  }

  /** Of its network; made when there is first something to tell. */
  get figures(): NetworkFigures {
    return (this.#figures ??= new NetworkFigures());
  }

  /** A call has been sent on the connection. */
  began(nowMs: number): void {
    if (this.isArmed || !this.#peer.isWatched || this.#peer.channel.suspicionState === "off") return;
    const { channel } = this.#peer;
    channel.runtime.wheel.arm(this, nowMs + FIRST_LOOK_MS);
    channel.selfBeat.wanted(nowMs);
  }

  /** An attempt is given up without an answer: that the peer was silent for so long is remembered. */
  gaveUp({ startedMs, state }: CallAttempt): void {
    if (startedMs <= this.#connection.receivedAtMs || (this.#isOwing && this.#owedSinceMs <= startedMs)) return;
    this.#owedSinceMs = startedMs;
    this.#owedState = state;
  }

  /** Not a byte has come since an attempt began that was given up. */
  get #isOwing(): boolean {
    return this.#owedSinceMs > this.#connection.receivedAtMs;
  }

  /** A PING was answered. */
  probed(rttMs: number): void {
    const nowMs = this.#peer.channel.nowMs();
    this.figures.pingSent(nowMs - rttMs);
    this.figures.pingAnswered(nowMs);
    if (this.#isSuspect) this.#look(nowMs);
  }

  stop(): void {
    this.#peer.channel.runtime.wheel.cancel(this);
    this.#oldest = undefined;
    this.#setSuspect(false);
  }

  get receivedAtMs(): number {
    return this.#connection.receivedAtMs;
  }
  get frameAtMs(): number {
    return this.#connection.frameAtMs;
  }
  get outstandingSinceMs(): number {
    const sinceMs = this.#oldest === undefined ? Infinity : this.#oldest.startedMs;
    return this.#isOwing ? Math.min(sinceMs, this.#owedSinceMs) : sinceMs;
  }
  get p99Ms(): number {
    const sinceMs = this.#oldest === undefined ? Infinity : this.#oldest.startedMs;
    const state = this.#isOwing && this.#owedSinceMs < sinceMs ? this.#owedState : this.#oldest?.state;
    return state === undefined ? Number.NaN : state.p99Ms(this.#peer.channel.nowMs());
  }
  get rttMs(): number {
    return this.#figures === undefined ? Number.NaN : this.#figures.rttMs;
  }
  get stallScore(): number {
    return this.#peer.channel.selfBeat.watch.score(this.#peer.channel.nowMs());
  }
  get stalledUntilMs(): number {
    return this.#peer.channel.selfBeat.watch.stalledUntilMs;
  }

  expired(nowMs: number): void {
    this.#peer.channel.selfBeat.late(this.dueMs, nowMs);
    this.#look(nowMs);
  }

  #look(nowMs: number): void {
    const { channel } = this.#peer;
    const connection = this.#connection;
    if (connection.isClosed) return;
    this.#oldest = this.#oldestHere();
    const look = this.#suspicion.look(nowMs, this);
    // It has made the peer suspect; a peer that has nothing more to answer must not stay so until its next byte.
    if (look !== "trust") this.#owedSinceMs = -Infinity;
    const isActing = channel.suspicionState === "on";
    const silentMs = nowMs - connection.receivedAtMs;
    if (look === "condemn" && isActing) {
      channel.condemned(this.#peer, silentMs);
      this.figures.stalled(silentMs);
      connection.isCondemned = true;
      const silent = `the peer was silent for ${Math.round(silentMs)} ms with calls waiting`;
      connection.destroy(`${silent} and did not answer a PING`);
      return;
    }
    if (look !== "trust" && !isActing) {
      channel.observed("suspicion", `${look} after ${Math.round(silentMs)} ms of silence`, undefined, this.#peer);
    }
    if (look === "ping" && isActing && !connection.probe(nowMs)) this.#suspicion.notAsked(nowMs);
    this.#setSuspect(look !== "trust" && isActing);
    if (this.#suspicion.nextLookMs !== Infinity) channel.runtime.wheel.arm(this, this.#suspicion.nextLookMs);
  }

  /** The peer's oldest unanswered attempt that is on this connection. */
  #oldestHere(): CallAttempt | undefined {
    let entry: Outstanding | undefined = this.#peer.oldest;
    while (entry !== undefined && (entry as CallAttempt).connection !== this.#connection) entry = entry.outstandingNext;
    return entry as CallAttempt | undefined;
  }

  /** Silent, while it owes an answer. */
  get isSuspect(): boolean {
    return this.#isSuspect;
  }

  #setSuspect(isSuspect: boolean): void {
    if (isSuspect === this.#isSuspect) return;
    this.#isSuspect = isSuspect;
    const peer = this.#peer;
    if (isSuspect) peer.channel.suspected(peer, peer.channel.nowMs() - this.#connection.receivedAtMs);
    peer.refresh();
  }
}
