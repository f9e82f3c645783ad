/**
 * The way to one peer: the connections that take new calls (one, more at the limit of its streams), others that drain, and the
 * wait between two dials. Every state but idle and ready has a timer.
 */
import type { Http2Limits } from "../http2/limits.ts";
import { ClientConnection, type ClientConnectionOwner, type Dial } from "./client-connection.ts";
import { goodbyeDelayMs, impatientDelayMs, reconnectDelayMs, wantedDelayMs } from "./reconnect.ts";
import type { Runtime } from "./runtime.ts";
import { WheelEntry } from "./timer-wheel.ts";

export type LinkState = "idle" | "connecting" | "ready" | "backoff" | "closed";

export interface LinkOptions {
  readonly connectTimeoutMs: number;
  /** "adaptive": 330 s, above what every gRPC server allows, doubled when a server objects. */
  readonly keepaliveMs: number | "adaptive";
  /** Connections to the peer at once, those that drain not counted. One more is made at 80 % of the streams of those there are. */
  readonly perPeerMax: number;
  /** Silence after which an idle connection is checked before reuse. Infinity: never. */
  readonly reuseCheckMs: number;
  readonly limits: Http2Limits;
  readonly isTls: boolean;
}

/** What went wrong when a link could not be made, for people and for reasons. */
export interface LinkFailure {
  readonly phase: "resolve" | "connect" | "tls" | "open";
  readonly text: string;
}

export interface LinkOwner {
  /** A connection of this link takes calls now. */
  linkReady(link: PeerLink): void;
  /** No connection takes new calls any more; another is on its way, or will be. */
  linkLost(link: PeerLink): void;
  /** The last dial failed, or the last connection was lost; it will be tried again. */
  linkFailed(link: PeerLink): void;
  /** Streams have become free, or an idle connection has proved to be alive. */
  linkHasRoom(link: PeerLink): void;
  connectionOpened(connection: ClientConnection): void;
  connectionProbed(connection: ClientConnection, rttMs: number): void;
  /** Its peer says another thing than before of its health: `isPeerDegraded`. */
  connectionHealthTurned?(connection: ClientConnection): void;
  /** It takes no more calls, for its peer has said so: for owners that have something of their own on it. */
  connectionDraining?(connection: ClientConnection): void;
  connectionEnded(connection: ClientConnection, text: string, wasReady: boolean): void;
  /** Any peer is ready. */
  readonly isAnyReady: boolean;
  /** No peer is ready, or those that are have refused calls of late for want of capacity. */
  readonly isShort: boolean;
}

/** A connection that lived so long before its peer said goodbye begins the count of those anew. */
const GOODBYE_LIFE_MS = 500;
const KEEPALIVE_TIMEOUT_MS = 20_000;
const ADAPTIVE_KEEPALIVE_MS = 330_000;
/** Share of the streams of all connections in use at which one more is made (gRFC A105 waits for all of them). */
const GROW_SHARE = 0.8;

export class PeerLink extends WheelEntry implements ClientConnectionOwner {
  readonly runtime: Runtime;
  readonly address: string;
  state: LinkState;
  /** Those that take new calls; not empty exactly when ready. */
  readonly connections: ClientConnection[];
  failure: LinkFailure | undefined;
  /** When it was ready last, if it is not now. */
  readyUntilMs: number;
  readonly #owner: LinkOwner;
  readonly #options: LinkOptions;
  readonly #dial: Dial;
  /** Being dialled. */
  #next: ClientConnection | undefined;
  /** Dialled later than that one, which nothing has answered: the first that is ready is taken. */
  #beside: ClientConnection | undefined;
  /** It is to take the place of this one, whose stream ids run out. */
  #replaced: ClientConnection | undefined;
  /** A dial that failed while others went on is not repeated before this. */
  #nextDialMs: number;
  readonly #draining: Set<ClientConnection>;
  #failures: number;
  /** Connections in a row that their peer ended in good order soon after they were made. */
  #goodbyes: number;
  #dialledAtMs: number;
  #keepaliveMs: number;

  constructor(runtime: Runtime, address: string, dial: Dial, owner: LinkOwner, options: LinkOptions) {
    super();
    this.runtime = runtime;
    this.address = address;
    this.state = "idle";
    this.connections = [];
    this.failure = undefined;
    this.readyUntilMs = -Infinity;
    this.#owner = owner;
    this.#options = options;
    this.#dial = dial;
    this.#next = undefined;
    this.#beside = undefined;
    this.#replaced = undefined;
    this.#nextDialMs = -Infinity;
    this.#draining = new Set();
    this.#failures = 0;
    this.#goodbyes = 0;
    this.#dialledAtMs = -Infinity;
    this.#keepaliveMs = options.keepaliveMs === "adaptive" ? ADAPTIVE_KEEPALIVE_MS : options.keepaliveMs;
  }

  /** When the next dial is due, in backoff; else NaN. */
  get redialAtMs(): number {
    return this.state === "backoff" ? this.dueMs : Number.NaN;
  }
  /** The first of those that take new calls. */
  get connection(): ClientConnection | undefined {
    return this.connections[0];
  }

  /** A call may start now on one of the connections. */
  mayTake(nowMs: number, isLong: boolean): boolean {
    const { connections } = this;
    if (connections.length === 1) return (connections[0] as ClientConnection).mayTake(nowMs, isLong);
    for (let i = 0; i < connections.length; i++) {
      if ((connections[i] as ClientConnection).mayTake(nowMs, isLong)) return true;
    }
    return false;
  }

  /** Asks a connection that was idle for long for a sign of life; `linkHasRoom` when it has come. False: there is none to be asked. */
  prove(nowMs: number): boolean {
    for (const connection of this.connections) {
      if (connection.canStart && connection.isStale(nowMs) && connection.prove(nowMs)) return true;
    }
    return false;
  }

  /** The connection with the fewest streams that takes the call; and one more is made if that is time. */
  take(nowMs: number, isLong: boolean): ClientConnection | undefined {
    const { connections } = this;
    let best: ClientConnection | undefined;
    let used = 1;
    let limit = 0;
    for (let i = 0; i < connections.length; i++) {
      const connection = connections[i] as ClientConnection;
      const { count } = connection.engine.streams;
      used += count;
      limit += connection.engine.peer.streamsMax;
      if (best !== undefined && count >= best.engine.streams.count) continue;
      if (connection.mayTake(nowMs, isLong)) best = connection;
    }
    if (used >= limit * GROW_SHARE) this.#grow(nowMs);
    return best;
  }

  /** Tells `linkHasRoom` when a connection has room. */
  wantRoom(isWanted: boolean): void {
    for (const connection of this.connections) connection.isRoomWanted = isWanted;
  }

  /** Streams of all connections, those that drain included. */
  get streamCount(): number {
    let count = 0;
    for (const connection of this.connections) count += connection.engine.streams.count;
    for (const connection of this.#draining) count += connection.engine.streams.count;
    return count;
  }

  /** Connections there are, those that drain included. */
  get connectionCount(): number {
    const dialled = (this.#next === undefined ? 0 : 1) + (this.#beside === undefined ? 0 : 1);
    return this.connections.length + this.#draining.size + dialled;
  }

  /** Dials, unless it is ready, dialling or waiting. */
  connect(): void {
    if (this.state === "idle") this.#dialNow();
  }

  /** New evidence that the peer is there (it was announced again): a wait between two dials ends now. */
  hurry(): void {
    if (this.state !== "backoff") return;
    this.#failures = 0;
    this.runtime.wheel.cancel(this);
    this.#dialNow();
  }

  /** No peer is ready any more: a wait between two dials that began while another was is too long now. */
  nobodyReady(): void {
    if (this.state === "connecting") this.#dialBesideLater();
    if (this.state !== "backoff") return;
    const { clock, random } = this.runtime.world;
    const dueMs = clock.monotonicMs() + impatientDelayMs(random.float());
    if (dueMs < this.dueMs) this.runtime.wheel.arm(this, dueMs);
  }

  /** The peers that are ready refuse calls for want of capacity: a wait between two dials that began before is too long now. */
  wanted(): void {
    if (this.state === "connecting") this.#dialBesideLater();
    if (this.state !== "backoff") return;
    const { clock, random } = this.runtime.world;
    const dueMs = clock.monotonicMs() + wantedDelayMs(random.float());
    if (dueMs < this.dueMs) this.runtime.wheel.arm(this, dueMs);
  }

  /** Ends it: calls in flight are lost unless `isGentle`, which lets them end. May be called again to cut those. */
  close(isGentle: boolean): void {
    this.state = "closed";
    this.runtime.wheel.cancel(this);
    for (const connection of this.connections) this.#draining.add(connection);
    if (this.#next !== undefined) this.#draining.add(this.#next);
    if (this.#beside !== undefined) this.#draining.add(this.#beside);
    this.connections.length = 0;
    this.#next = undefined;
    this.#beside = undefined;
    for (const connection of [...this.#draining]) {
      if (isGentle) connection.drain();
      else connection.destroy("the client was closed");
    }
  }

  /** The wait between two dials is over; or the one that is underway takes long. */
  expired(): void {
    if (this.state === "backoff") this.#dialNow();
    else if (this.state === "connecting") this.#dialBeside();
  }

  connectionReady(connection: ClientConnection): void {
    this.#failures = 0;
    this.failure = undefined;
    const replaced = this.#replaced;
    const other = connection === this.#beside ? this.#next : this.#beside;
    this.#next = undefined;
    this.#beside = undefined;
    this.#replaced = undefined;
    if (this.state === "connecting") this.runtime.wheel.cancel(this);
    this.connections.push(connection);
    this.state = "ready";
    this.#owner.connectionOpened(connection);
    if (replaced !== undefined && this.#remove(replaced)) {
      this.#draining.add(replaced);
      replaced.drain();
    }
    this.#owner.linkReady(this);
    // Not before the owner knows of this one: it hears of the other's end, and may start calls.
    other?.destroy("another connection was made first");
  }

  connectionHasRoom(connection: ClientConnection): void {
    if (!this.connections.includes(connection)) return;
    if (connection.engine.isNearEndOfIds) this.#dialSuccessor(connection);
    this.#owner.linkHasRoom(this);
  }

  connectionUnproven(connection: ClientConnection): void {
    if (this.connections.includes(connection)) this.#dialSuccessor(connection);
  }

  connectionProbed(connection: ClientConnection, rttMs: number): void {
    this.#owner.connectionProbed(connection, rttMs);
  }

  connectionHealthTurned(connection: ClientConnection): void {
    this.#owner.connectionHealthTurned?.(connection);
  }

  connectionDraining(connection: ClientConnection, isTooManyPings: boolean): void {
    // gRFC A8: a server that is pinged too often says so; half as often, then.
    if (isTooManyPings && this.#options.keepaliveMs === "adaptive") this.#keepaliveMs *= 2;
    if (this.state === "closed" || !this.#remove(connection)) return;
    this.#draining.add(connection);
    this.#owner.connectionDraining?.(connection);
    const livedMs = this.runtime.world.clock.monotonicMs() - this.#dialledAtMs;
    if (isTooManyPings) this.#goodbyes = 0;
    else this.#goodbyes = livedMs < GOODBYE_LIFE_MS ? this.#goodbyes + 1 : 1;
    this.#lost();
  }

  connectionGone(connection: ClientConnection, text: string, phase: LinkFailure["phase"]): void {
    this.#draining.delete(connection);
    this.#owner.connectionEnded(connection, text, connection.isReady);
    if (this.state === "closed") return;
    if (this.#remove(connection)) {
      this.#goodbyes = 0;
      this.failure = { phase, text };
      if (this.#lost()) this.#owner.linkFailed(this);
    } else if (connection === this.#beside) {
      this.#beside = undefined;
    } else if (connection === this.#next) {
      const replaced = this.#replaced;
      this.#next = this.#beside;
      this.#beside = undefined;
      if (this.#next !== undefined) return;
      this.#replaced = undefined;
      this.#failures += 1;
      if (this.connections.length > 0) {
        this.#nextDialMs = this.#dueMs();
        const isDoubted = replaced?.isStale(this.runtime.world.clock.monotonicMs()) === true;
        if (isDoubted) replaced.destroy(`the peer was idle, and no other connection could be made: ${text}`);
        return;
      }
      this.failure = { phase, text };
      this.#reconnect();
      this.#owner.linkFailed(this);
    }
  }

  /** Takes it out of those that take new calls; false if it was not among them. */
  #remove(connection: ClientConnection): boolean {
    const at = this.connections.indexOf(connection);
    if (at < 0) return false;
    this.connections.splice(at, 1);
    return true;
  }

  /** One that took new calls does so no more. True: it was the last. */
  #lost(): boolean {
    if (this.connections.length > 0) return false;
    this.readyUntilMs = this.runtime.world.clock.monotonicMs();
    this.#reconnect();
    this.#owner.linkLost(this);
    return true;
  }

  /** Dials again: at once after a connection that lived, else when the backoff is over. */
  #reconnect(): void {
    if (this.#next !== undefined) {
      // One is underway already: what it was to join has ended before it was there.
      this.state = "connecting";
      return;
    }
    const dueMs = this.#dueMs();
    if (dueMs <= this.runtime.world.clock.monotonicMs()) {
      this.#dialNow();
    } else {
      this.state = "backoff";
      this.runtime.wheel.arm(this, dueMs);
    }
  }

  /** When the backoff that began with the last dial is over. */
  #dueMs(): number {
    const chance = this.runtime.world.random.float();
    const isGoodbye = this.#failures === 0 && this.#goodbyes > 0;
    const delayMs = isGoodbye
      ? goodbyeDelayMs(this.#goodbyes, chance)
      : reconnectDelayMs(Math.max(1, this.#failures), this.#owner.isAnyReady, chance);
    return this.#dialledAtMs + delayMs;
  }

  #grow(nowMs: number): void {
    if (this.#next !== undefined || nowMs < this.#nextDialMs) return;
    if (this.connections.length === 0 || this.connections.length >= this.#options.perPeerMax) return;
    this.#dialNext();
  }

  /** Dials a connection that takes over while this one goes on. Asked at every turn, so it keeps its own pace. */
  #dialSuccessor(connection: ClientConnection): void {
    if (this.#next !== undefined || this.runtime.world.clock.monotonicMs() < this.#nextDialMs) return;
    this.#replaced = connection;
    this.#dialNext();
  }

  #dialNow(): void {
    this.state = "connecting";
    // The time of the dial before says nothing of this one.
    this.runtime.wheel.cancel(this);
    this.#dialNext();
    this.#dialBesideLater();
  }

  #dialBesideLater(): void {
    if (this.isArmed || !this.#owner.isShort) return;
    const { clock, random } = this.runtime.world;
    this.runtime.wheel.arm(this, clock.monotonicMs() + wantedDelayMs(random.float()));
  }

  /**
   * While peers are wanted: dials once more beside the dial that nothing has answered, and in the place of the one that was dialled so before. The
   * first goes on, for an answer may take longer than that. What has been answered is a peer at work, which one more handshake would not hurry.
   */
  #dialBeside(): void {
    if (!this.#owner.isShort) return;
    const beside = this.#beside;
    if (this.#next?.isOpen === false && beside?.isOpen !== true) {
      this.#beside = undefined;
      beside?.destroy("nothing has answered, and it is dialled again");
      this.#beside = this.#dialOne();
    }
    this.#dialBesideLater();
  }

  #dialNext(): void {
    this.#dialledAtMs = this.runtime.world.clock.monotonicMs();
    this.#next = this.#dialOne();
  }

  #dialOne(): ClientConnection {
    return new ClientConnection(this.runtime, this.address, this.#dial, this, {
      connectTimeoutMs: this.#options.connectTimeoutMs,
      keepaliveMs: this.#keepaliveMs,
      keepaliveTimeoutMs: KEEPALIVE_TIMEOUT_MS,
      reuseCheckMs: this.#options.reuseCheckMs,
      limits: this.#options.limits,
      isTls: this.#options.isTls,
    });
  }
}
