/**
 * Hot path: a client's connection to one peer: dial, TLS, SETTINGS, keepalive (gRFC A8), drain.
 */
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
  readonly limits: Http2Limits;
  readonly isTls: boolean;
}

/** Who is told what becomes of a connection. */
export interface ClientConnectionOwner {
  /** SETTINGS have arrived: calls may start. */
  connectionReady(connection: ClientConnection): void;
  /** The peer's limit of streams has room again, or stream ids are running out. */
  connectionHasRoom(connection: ClientConnection): void;
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
  readonly #owner: ClientConnectionOwner;
  readonly #options: ClientConnectionOptions;
  readonly #watch: Watch;
  /** Made at the first stream that is left before its end. */
  #resetPace: ResetPace | undefined;
  #pingSent: number;
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
    this.#owner = owner;
    this.#options = options;
    this.#resetPace = undefined;
    this.#pingSent = 0;
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

  /** A call may start here now. */
  get canStart(): boolean {
    return this.isReady && !this.isDraining && this.engine.canOpen;
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
    if (this.engine.streams.count === 0) return;
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
      this.turnRead();
      return;
    }
    this.isReady = true;
    this.runtime.wheel.cancel(this.#watch);
    this.#owner.connectionReady(this);
  }

  protected pingAnswered(number: number): void {
    if (number === this.#pingSent) this.#pingSent = 0;
  }

  protected goAwayArrived(_lastId: number, code: number, debug: string): void {
    const isFirst = !this.isDraining;
    this.isDraining = true;
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
