/**
 * Hot path: a client's connection to one peer: dial, TLS, SETTINGS, keepalive (gRFC A8), the check before reuse, drain.
 */
import { type AnnouncedStore, joinStores } from "../../call/dedup.ts";
import type { NetworkError, Socket, SocketEvents } from "../../world/network.ts";
import { ENHANCE_YOUR_CALM, STREAM_ID_MAX } from "../http2/frame.ts";
import type { Http2Limits } from "../http2/limits.ts";
import type { Http2Stream } from "../http2/stream.ts";
import { Connection } from "./connection.ts";
import { ResetPace } from "./reset-pace.ts";
import type { Runtime } from "./runtime.ts";
import { WheelEntry } from "./timer-wheel.ts";

/** How to get a byte stream to the peer. */
export type Dial = (events: SocketEvents) => Socket;

export interface ClientConnectionOptions {
  /** For connecting, the TLS handshake and the peer's SETTINGS together. */
  readonly connectTimeoutMs: number;
  /** Silence, while calls are open, after which a PING is sent. Infinity: never. */
  readonly keepaliveMs: number;
  /** Silence after that PING which ends the connection. */
  readonly keepaliveTimeoutMs: number;
  /** Silence without calls after which the peer is asked for a sign of life before the next call is sent. Infinity: never. */
  readonly reuseCheckMs: number;
  readonly limits: Http2Limits;
  readonly isTls: boolean;
}

/** An idle connection whose peer does not answer the check before reuse in this time is given up. */
const REUSE_CHECK_TIMEOUT_MS = 1_000;
/** After a refused stream no other is opened for so long. */
const REFUSED_PAUSE_MS = 100;
/** gRPC servers take more PINGs than these, between two HEADERS or DATA frames of theirs, for abuse (gRFC A8). */
const PROBES_MAX = 2;
/** Of them for the check before reuse: one is left for when a call waits. */
const REUSE_PROBES_MAX = 1;
/** Share of a peer's streams that calls with a stream of replies may hold: they may last for ever. */
const LONG_SHARE = 0.75;

/** A stream of a connection that is no call: beside it the connection is idle. It takes one of the streams that the peer allows. */
export interface AsideStream {
  readonly stream: Http2Stream;
  /** The peer allows so few streams now that this one stands in the way of calls. */
  giveWay(): void;
}

/** Who is told what becomes of a connection. */
export interface ClientConnectionOwner {
  /** SETTINGS have arrived: calls may start. */
  connectionReady(connection: ClientConnection): void;
  /** The peer's limit of streams has room again, it has passed the check before reuse, or stream ids are running out. */
  connectionHasRoom(connection: ClientConnection): void;
  /** Idle for long, and its peer may not be asked for a sign of life again: only another connection can tell. */
  connectionUnproven(connection: ClientConnection): void;
  /** A PING of {@link ClientConnection.probe} was answered. */
  connectionProbed(connection: ClientConnection, rttMs: number): void;
  /** Its peer says another thing than before of its health: `isPeerDegraded`. */
  connectionHealthTurned?(connection: ClientConnection): void;
  /** No new calls here; those in flight go on. `isTooManyPings`: ping half as often from now on. */
  connectionDraining(connection: ClientConnection, isTooManyPings: boolean): void;
  /** Over. `failure` says why, `phase` where. */
  connectionGone(connection: ClientConnection, text: string, phase: "connect" | "tls" | "resolve" | "open"): void;
}

export class ClientConnection extends Connection {
  readonly address: string;
  isReady: boolean;
  isDraining: boolean;
  /** Attempts waiting for a free stream are told when one is; set by the owner. */
  isRoomWanted: boolean;
  /** The peer has said that it goes away: what ends now was not cut without a word. */
  hasGoneAway: boolean;
  /** We gave it up, for its peer was silent. */
  isCondemned: boolean;
  /** Its loss has been told to those who judge its peer. */
  isLossNoted: boolean;
  /** Calls here whose replies are a stream. */
  longStreams: number;
  /** Its peer has said that it compares checksums. */
  isPeerChecking: boolean;
  /** Its peer has said that it serves, but not as well as it should. */
  isPeerDegraded: boolean;
  /** The store of first answers that its peer announces; undefined: nothing was answered yet. NO_STORE: it has none, or none that is known. */
  dedup: AnnouncedStore | undefined;
  /** Its owner's watch over it. */
  watcher: unknown;
  /** Set by who opens it, and taken away by who ends it. */
  aside: AsideStream | undefined;
  readonly #owner: ClientConnectionOwner;
  readonly #options: ClientConnectionOptions;
  readonly #watch: Watch;
  /** Made at the first stream that is left before its end. */
  #resetPace: ResetPace | undefined;
  #pingSent: number;
  #refusedUntilMs: number;
  #probeNumber: number;
  #probeAtMs: number;
  /** Probes since the peer's last HEADERS or DATA. */
  #probes: number;
  /** Waits for the answer to the check before reuse. */
  #check: ReuseCheck | undefined;
  #isOpen: boolean;
  #isLookDue: boolean;
  readonly #look: () => void;

  constructor(
    runtime: Runtime,
    address: string,
    dial: Dial,
    owner: ClientConnectionOwner,
    options: ClientConnectionOptions,
  ) {
    super(runtime, "client", options.limits);
    this.address = address;
    this.isReady = false;
    this.isDraining = false;
    this.isRoomWanted = false;
    this.hasGoneAway = false;
    this.isCondemned = false;
    this.isLossNoted = false;
    this.longStreams = 0;
    this.isPeerChecking = false;
    this.isPeerDegraded = false;
    this.dedup = undefined;
    this.watcher = undefined;
    this.aside = undefined;
    this.#owner = owner;
    this.#options = options;
    this.#resetPace = undefined;
    this.#pingSent = 0;
    this.#refusedUntilMs = -Infinity;
    this.#probeNumber = -1;
    this.#probeAtMs = -Infinity;
    this.#probes = 0;
    this.#check = undefined;
    this.#isOpen = false;
    this.#isLookDue = false;
    this.#look = () => {
      this.#isLookDue = false;
      if (!this.isClosed) this.turnRead();
    };
    this.#watch = new Watch(this);
    runtime.wheel.arm(this.#watch, runtime.world.clock.monotonicMs() + options.connectTimeoutMs);
    this.engine.start();
    this.socket = dial(this);
  }

  /** Something has answered: the socket is connected. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** A call may start here now. */
  get canStart(): boolean {
    return this.isReady && !this.isDraining && this.engine.canOpen;
  }

  /** The same for one call more, now; one that is stale must be proven first. `isLong`: the call's replies are a stream. */
  mayTake(nowMs: number, isLong: boolean): boolean {
    if (!this.canStart || nowMs < this.#refusedUntilMs || this.isStale(nowMs)) return false;
    return !isLong || this.longStreams < Math.max(1, Math.floor(this.engine.peer.streamsMax * LONG_SHARE));
  }

  /** Idle for so long that its peer may be gone without a word. */
  isStale(nowMs: number): boolean {
    return this.#callStreams === 0 && nowMs - this.receivedAtMs >= this.#options.reuseCheckMs;
  }

  get #callStreams(): number {
    const { aside } = this;
    return this.engine.streams.count - (aside === undefined || aside.stream.isClosed ? 0 : 1);
  }

  /** Asks the peer of a stale connection for a sign of life, and tells `connectionHasRoom` when it has come. False: it is being asked already. */
  prove(nowMs: number): boolean {
    if (this.#check?.isArmed === true) return false;
    if (!this.probe(nowMs, REUSE_PROBES_MAX)) {
      this.#owner.connectionUnproven(this);
      return true;
    }
    this.#check ??= new ReuseCheck(this);
    this.runtime.wheel.arm(this.#check, nowMs + REUSE_CHECK_TIMEOUT_MS);
    return true;
  }

  /**
   * The peer refused a stream although its limit was not reached as we count: handlers of calls that we gave up still run there. It gets
   * a moment, for peers end connections on which they must refuse too much.
   */
  streamRefused(): void {
    this.#refusedUntilMs = this.receivedAtMs + REFUSED_PAUSE_MS;
  }

  /** Sends a PING whose answer `connectionProbed` is told of; false if gRPC's servers would take one more for abuse. */
  probe(nowMs: number, probesMax: number = PROBES_MAX): boolean {
    if (this.isClosed) return false;
    if (this.frameAtMs > this.#probeAtMs) this.#probes = 0;
    if (this.#probes >= probesMax) return false;
    this.#probes += 1;
    this.#probeAtMs = nowMs;
    this.#probeNumber = this.sendPing();
    return true;
  }

  /** The check before reuse had no answer. */
  checkFailed(nowMs: number): void {
    if (this.isClosed || this.receivedAtMs > this.#probeAtMs) return;
    this.destroy(`the idle peer did not answer a PING within ${Math.round(nowMs - this.#probeAtMs)} ms`);
  }

  opened(): void {
    this.#isOpen = true;
    const alpn = this.socket?.tls?.alpn;
    if (this.#options.isTls && alpn !== "h2") {
      this.destroy(`the peer speaks ${alpn ?? "no ALPN protocol"} over TLS, expected h2`);
      return;
    }
    this.scheduleFlush();
  }

  /**
   * An attempt is done with its stream: what is not closed is reset, but only so often, as servers end connections that reset more.
   * Beyond that a stream whose request has been sent whole goes on without an owner, until it ends or its reset is due.
   */
  leave(stream: Http2Stream, code: number): void {
    if (!stream.isClosed) {
      this.#resetPace ??= new ResetPace(this);
      const mayReset = this.#resetPace.take();
      if (mayReset || !stream.isLocalEnded || stream.queuedBytes > 0) {
        if (stream.unconsumed > 0) stream.unconsumed = 0;
        this.engine.reset(stream, code);
        this.scheduleFlush();
      } else {
        // What has arrived is consumed by its reader, who drops it; what will arrive, by the dispatch.
        this.#resetPace.add(stream);
      }
    }
    this.engine.release(stream);
    // It may have been the last of a drained connection, or have left a slot that others wait for; the peer need not say a word then.
    if (this.isDraining || this.isRoomWanted) this.#lookLater();
  }

  /** An answer has come and announces this store of first answers, or none. */
  heardStore(store: AnnouncedStore | undefined): void {
    if (store === undefined || store !== this.dedup) this.dedup = joinStores(this.dedup, store);
  }

  /** An answer says so of its server's health. */
  heardHealth(isDegraded: boolean): void {
    if (isDegraded === this.isPeerDegraded) return;
    this.isPeerDegraded = isDegraded;
    this.#owner.connectionHealthTurned?.(this);
  }

  /** Resets a stream that was left without an owner. */
  resetLeft(stream: Http2Stream, code: number): void {
    this.engine.reset(stream, code);
    this.scheduleFlush();
    if (this.isDraining || this.isRoomWanted) this.#lookLater();
  }

  /** Watches for silence from now on, if it does not already. Called when a call starts. */
  watch(): void {
    // The peer may have nothing to say until the ids have run out: its turns are not waited for.
    if (this.engine.isNearEndOfIds) this.#lookLater();
    if (this.#watch.isArmed || this.#options.keepaliveMs === Infinity || this.isClosed) return;
    const nowMs = this.runtime.world.clock.monotonicMs();
    // gRFC A8: after a long silence the PING goes out before the call's HEADERS, so that a dead peer is found in one timeout.
    this.runtime.wheel.arm(this.#watch, Math.max(nowMs, this.receivedAtMs + this.#options.keepaliveMs));
  }

  /** Takes no more calls; ends when the last one has. */
  drain(): void {
    this.isDraining = true;
    this.#endIfDrained();
  }

  expired(nowMs: number): void {
    if (this.isClosed) return;
    if (!this.isReady) {
      const step = this.#isOpen ? "the peer did not send its HTTP/2 SETTINGS" : "no connection was made";
      this.destroy(`${step} within ${this.#options.connectTimeoutMs} ms`);
      return;
    }
    const silentMs = nowMs - this.receivedAtMs;
    if (this.#pingSent !== 0) {
      if (silentMs >= this.#options.keepaliveTimeoutMs) {
        this.destroy(`the peer was silent for ${Math.round(silentMs)} ms and did not answer a PING`);
        return;
      }
      this.#pingSent = 0;
    }
    if (this.#callStreams === 0) return;
    if (silentMs >= this.#options.keepaliveMs) {
      this.#pingSent = this.sendPing();
      this.runtime.wheel.arm(this.#watch, nowMs + this.#options.keepaliveTimeoutMs);
    } else {
      this.runtime.wheel.arm(this.#watch, this.receivedAtMs + this.#options.keepaliveMs);
    }
  }

  protected streamOpened(): void {
    // A server does not open streams: the engine refuses push.
  }

  protected settingsArrived(): void {
    if (this.isReady) {
      // Whether calls that wait have room now is looked at when the turn was read: to end a drained connection here would lose the
      // events behind this one, of streams that the engine has closed already.
      if (this.engine.peer.streamsMax < 2) this.aside?.giveWay();
      return;
    }
    this.isReady = true;
    this.runtime.wheel.cancel(this.#watch);
    this.#owner.connectionReady(this);
  }

  protected pingAnswered(number: number): void {
    if (number === this.#pingSent) this.#pingSent = 0;
    if (number !== this.#probeNumber) return;
    this.#probeNumber = -1;
    const wasChecked = this.#check?.isArmed === true;
    if (this.#check !== undefined) this.runtime.wheel.cancel(this.#check);
    this.#owner.connectionProbed(this, this.receivedAtMs - this.#probeAtMs);
    if (wasChecked && this.canStart) this.#owner.connectionHasRoom(this);
  }

  protected goAwayArrived(_lastId: number, code: number, debug: string): void {
    const isFirst = !this.isDraining;
    this.isDraining = true;
    this.hasGoneAway = true;
    if (isFirst) this.#owner.connectionDraining(this, code === ENHANCE_YOUR_CALM && debug.startsWith("too_many_pings"));
  }

  protected turnRead(): void {
    const { engine } = this;
    if (engine.isNearEndOfIds && !this.isDraining && this.isReady) {
      if (engine.nextId >= STREAM_ID_MAX) {
        this.isDraining = true;
        this.#owner.connectionDraining(this, false);
      } else {
        this.#owner.connectionHasRoom(this);
      }
    } else if (this.isRoomWanted && this.canStart) {
      this.#owner.connectionHasRoom(this);
    }
    if (this.isDraining) this.#endIfDrained();
  }

  protected connectionClosed(text: string, error: NetworkError | undefined): void {
    this.runtime.wheel.cancel(this.#watch);
    if (this.#check !== undefined) this.runtime.wheel.cancel(this.#check);
    this.#resetPace?.stop();
    this.isDraining = true;
    const phase = error?.phase === "listen" || error === undefined ? "open" : error.phase;
    this.#owner.connectionGone(this, text, this.isReady ? "open" : phase === "open" ? "connect" : phase);
  }

  #lookLater(): void {
    if (this.#isLookDue) return;
    this.#isLookDue = true;
    this.runtime.world.timers.afterTurn(this.#look);
  }

  #endIfDrained(): void {
    if (this.engine.streams.count > 0 || this.isClosed) return;
    if (!this.engine.hasSentGoAway) this.engine.goAway(0, 0, "");
    this.finish("the connection was drained");
  }
}

/** The connection's one timer: first for connecting, then for silence. */
class Watch extends WheelEntry {
  readonly #connection: ClientConnection;

  constructor(connection: ClientConnection) {
    super();
    this.#connection = connection;
  }
  expired(nowMs: number): void {
    this.#connection.expired(nowMs);
  }
}

/** How long the check before reuse waits for its answer. */
class ReuseCheck extends WheelEntry {
  readonly #connection: ClientConnection;

  constructor(connection: ClientConnection) {
    super();
    this.#connection = connection;
  }
  expired(nowMs: number): void {
    this.#connection.checkFailed(nowMs);
  }
}
