/**
 * Hot path: one peer as its channel sees it: the way to it, its load, and the opinions of it.
 */
import { type AnnouncedStore, isSameStore } from "../call/dedup.ts";
import type { Peer } from "../call/peer.ts";
import { CallCounters } from "../observe/counters.ts";
import { Candidate } from "../policy/balance/candidate.ts";
import { Corruption } from "../policy/detect/corruption.ts";
import { PeerRecord } from "../policy/detect/outlier.ts";
import { PeerPace } from "../policy/recover/stand-down.ts";
import type { FieldToken } from "../wire/http2/hpack-encoder.ts";
import type { ClientConnection } from "../wire/transport/client-connection.ts";
import { type LinkOptions, type LinkOwner, PeerLink } from "../wire/transport/peer-link.ts";
import type { CallAttempt } from "./call-attempt.ts";
import type { ChannelCore } from "./channel-core.ts";
import { ConnectionWatch } from "./connection-watch.ts";
import type { HealthVote } from "./health-poll.ts";
import type { HealthRequest } from "./health-stream.ts";
import { HealthWatch } from "./health-watch.ts";
import type { PeerTarget } from "./target.ts";

/** The weight of a peer that says of itself that it is degraded: half of the calls that it would get (DESIGN section 5: weight lowered, never taken out). */
const DEGRADED_WEIGHT = 0.5;
/** Attempts in flight at one peer; more go elsewhere, or wait. */
export const IN_FLIGHT_MAX = 1_024;

export class ClientPeer extends Candidate implements LinkOwner {
  readonly channel: ChannelCore;
  /** As it was announced last. */
  target: PeerTarget;
  readonly authority: FieldToken;
  readonly link: PeerLink;
  readonly record: PeerRecord;
  readonly pace: PeerPace;
  readonly counters: CallCounters;
  readonly corruption: Corruption;
  /** It asked not to be called before. */
  pushbackUntilMs: number;
  /** What it says of itself; undefined while nobody asks. */
  health: HealthWatch | undefined;
  /** Its last answers said that it serves, but not as well as it should. */
  isDegraded: boolean;
  /** The resolver does not name it any more. */
  isRemoved: boolean;
  /** Its silence says something: it does not share our event loop. */
  readonly isWatched: boolean;
  /** Every connection that takes calls is silent while it owes an answer. */
  isSuspect: boolean;
  /** Attempts here of calls under which a connection has died before: one at most, as long as that can be waited for. */
  marked: number;
  hasBeenReady: boolean;
  /** The store of first answers that its last connection announced which has ended. */
  #endedStore: AnnouncedStore | undefined;
  /** When it came to be known, for rates. */
  readonly sinceMs: number;
  #vote: HealthVote;
  /** Its last connection was lost, or given up for silence, and none was made since. */
  #wasLost: boolean;

  constructor(channel: ChannelCore, target: PeerTarget, authority: FieldToken, options: LinkOptions, nowMs: number) {
    super({ weight: target.weight, tier: target.tier, zone: target.zone });
    this.channel = channel;
    this.target = target;
    this.authority = authority;
    this.link = new PeerLink(channel.runtime, target.address, target.dial, this, options);
    this.record = new PeerRecord({ name: target.id, zone: target.zone, version: target.version });
    this.pace = new PeerPace();
    this.counters = new CallCounters();
    this.corruption = new Corruption();
    this.pushbackUntilMs = -Infinity;
    this.health = channel.health === undefined ? undefined : new HealthWatch(this, channel.health.request);
    this.isDegraded = false;
    this.isRemoved = false;
    this.isWatched = options.reuseCheckMs !== Infinity;
    this.isSuspect = false;
    this.marked = 0;
    this.hasBeenReady = false;
    this.#endedStore = undefined;
    this.sinceMs = nowMs;
    this.#vote = "absent";
    this.#wasLost = false;
  }

  get address(): string {
    return this.target.address;
  }
  get isAnyReady(): boolean {
    return this.channel.isAnyReady;
  }
  get isShort(): boolean {
    return this.channel.isShort;
  }

  /** As records and errors name it. */
  describe(): Peer {
    const { id, address, zone, version } = this.target;
    return { id, address, zone, version, identities: this.link.connection?.socket?.tls?.identities ?? [] };
  }

  /** It is announced as another than before, in the same place. */
  revise(target: PeerTarget): void {
    const isReplaced = target.version !== this.target.version;
    this.target = target;
    this.#weigh();
    this.tier = target.tier ?? 0;
    this.zone = target.zone;
    this.record.zone = target.zone;
    this.record.version = target.version;
    // Something was deployed there: whatever we wait for, it may be there now.
    if (isReplaced) this.link.hurry();
  }

  #weigh(): void {
    const { weight = 1 } = this.target;
    this.weight = this.isDegraded ? weight * DEGRADED_WEIGHT : weight;
  }

  /** Facts and opinions have changed: whether it may be picked, and whether it is wanted. */
  refresh(mayPlace: boolean = true): void {
    const isConnected = this.link.state === "ready" && !this.isRemoved;
    const isReady = this.health === undefined ? isConnected : this.#mayServe(this.health, isConnected);
    this.isSuspect = this.#areAllSilent();
    const isHealthy = !this.record.isEjected && !this.isSuspect;
    if (isReady === this.isReady && isHealthy === this.isHealthy) return;
    const nowMs = this.channel.nowMs();
    // Whoever comes back is given its share step by step.
    if (isReady && isHealthy && !(this.isReady && this.isHealthy)) {
      const isBack = this.hasBeenReady && this.channel.slowStartState === "on";
      this.readySinceMs = isBack ? nowMs : -Infinity;
    }
    if (isReady) this.hasBeenReady = true;
    this.isReady = isReady;
    this.isHealthy = isHealthy;
    this.channel.peerChanged(this, mayPlace);
  }

  /** Those that drain do not count: no call goes there. Where none is left, nothing new is known. */
  #areAllSilent(): boolean {
    if (!this.#isAnyOpen) return this.isSuspect;
    return this.link.connections.every(
      ({ isClosed, watcher }) => isClosed || (watcher as ConnectionWatch | undefined)?.isSuspect === true,
    );
  }
  get #isAnyOpen(): boolean {
    return this.link.connections.some(({ isClosed }) => !isClosed);
  }
  /** Those that are left may all be silent. If none is, `linkLost` comes. */
  #oneLess(): void {
    if (this.#isAnyOpen) this.refresh();
  }

  /** What its newest connection says, of those that were answered on, of where it keeps first answers; undefined: nothing was answered yet. */
  get lastStore(): AnnouncedStore | undefined {
    return this.link.connections.findLast(({ dedup }) => dedup !== undefined)?.dedup ?? this.#endedStore;
  }

  /** It shares this store of first answers, as it has said itself. */
  hasAnnounced(store: AnnouncedStore): boolean {
    return isSameStore(this.#endedStore, store) || this.link.connections.some(({ dedup }) => isSameStore(dedup, store));
  }

  /** Asks what it says of itself, from now on. */
  watchHealth(request: HealthRequest): void {
    this.health = new HealthWatch(this, request);
    this.health.look();
    this.refresh();
  }

  /** Its word about itself is another. */
  healthTurned(): void {
    const wasReady = this.isReady;
    this.refresh(false);
    // Told also where calls go on, for more than half deny to serve.
    if (this.isReady === wasReady) this.channel.peerChanged(this, false);
    if (this.isReady && !wasReady) this.channel.peerReady(this);
  }

  /** It may be ready for the first time in a moment. */
  get isComing(): boolean {
    const { state } = this.link;
    return !this.hasBeenReady && (state === "connecting" || (state === "ready" && this.health?.word === "awaited"));
  }

  /** Its own word, and whether it is believed, which its word may change. */
  #mayServe({ word }: HealthWatch, isConnected: boolean): boolean {
    const { healthPoll } = this.channel;
    const vote = !isConnected ? "absent" : word === "denied" ? "denied" : "present";
    const before = this.#vote;
    this.#vote = vote;
    if (vote !== before && healthPoll.changed(before, vote)) this.channel.healthBelievedAnew();
    return vote === "denied" ? healthPoll.isForgetting : isConnected && word === "serving";
  }

  /**
   * What its calls seemed to cost was of a process that may be another now, or the age of those that had no answer, up to 5 s, which takes
   * most of a minute to fade. SETTINGS on a new connection say that this is over: it costs what the others do, and slow start spares
   * it (gRFC A58 too forgets the weight of what is READY again).
   */
  #startAnew(): void {
    this.#wasLost = false;
    const nowMs = this.channel.nowMs();
    const meanMs = this.fleet?.meanMs(nowMs) ?? 0;
    if (meanMs <= 0 || meanMs >= this.observedMs(nowMs)) return;
    this.costMs = meanMs;
    this.costAtMs = nowMs;
  }

  override ended(attempt: CallAttempt): void {
    super.ended(attempt);
    if (!attempt.isMarked) return;
    this.marked -= 1;
    this.channel.placeLater();
  }

  linkReady(): void {
    if (this.#wasLost) this.#startAnew();
    this.health?.look();
    this.refresh(false);
    this.channel.peerReady(this);
  }
  linkLost(): void {
    this.refresh();
  }
  linkFailed(): void {
    this.#wasLost = true;
    this.refresh();
    this.channel.peerFailed();
  }
  linkHasRoom(): void {
    this.channel.peerHasRoom();
  }
  connectionOpened(connection: ClientConnection): void {
    connection.watcher = new ConnectionWatch(this, connection);
    connection.isPeerDegraded = this.isDegraded;
    this.channel.connectionChanged(this, "open", "its SETTINGS have arrived");
  }
  /** What one connection has heard is of the process behind all of them. */
  connectionHealthTurned({ isPeerDegraded }: ClientConnection): void {
    this.isDegraded = isPeerDegraded;
    for (const connection of this.link.connections) connection.isPeerDegraded = isPeerDegraded;
    this.#weigh();
    this.channel.peerChanged(this, false);
  }
  connectionProbed(connection: ClientConnection, rttMs: number): void {
    (connection.watcher as ConnectionWatch | undefined)?.probed(rttMs);
  }
  connectionDraining(): void {
    this.health?.look();
    this.#oneLess();
  }
  connectionEnded(connection: ClientConnection, text: string, wasReady: boolean): void {
    this.#endedStore = connection.dedup ?? this.#endedStore;
    (connection.watcher as ConnectionWatch | undefined)?.stop();
    this.health?.look();
    this.#oneLess();
    this.channel.connectionChanged(this, "closed", wasReady ? text : `it was not made: ${text}`);
    if (this.isRemoved) this.channel.peerLeft(this);
  }
}
