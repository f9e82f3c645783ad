/**
 * Hot path: a server's connection to one client: preface and SETTINGS in time, calls handed to the router, drain in two steps.
 */
import type { NetworkError, Socket } from "../../world/network.ts";
import type { FieldSection } from "../http2/field.ts";
import { NO_ERROR, STREAM_ID_MAX } from "../http2/frame.ts";
import type { Http2Limits } from "../http2/limits.ts";
import type { Http2Stream } from "../http2/stream.ts";
import { Connection } from "./connection.ts";
import type { Runtime } from "./runtime.ts";
import { ServerExchange } from "./server-exchange.ts";
import { WheelEntry } from "./timer-wheel.ts";

/** Preface and first SETTINGS must have come by then; header blocks must be complete by then. */
const HANDSHAKE_TIMEOUT_MS = 5_000;
/** A client that does not answer the PING of a drain is not waited for longer. */
const DRAIN_PING_MS = 1_000;
/** How long a connection whose writes do not move is kept. */
const STALLED_WRITER_MS = 30_000;

export interface ServerConnectionOwner {
  /** A call begins: read the section now, it is valid only during this call. */
  callArrived(exchange: ServerExchange, section: FieldSection, ends: boolean): void;
  connectionClosed(connection: ServerConnection): void;
}

export class ServerConnection extends Connection {
  readonly #owner: ServerConnectionOwner;
  readonly #watch: Watch;
  #isDraining: boolean;
  #drainPing: number;
  #stalledSinceMs: number;

  constructor(runtime: Runtime, socket: Socket, owner: ServerConnectionOwner, limits: Http2Limits) {
    super(runtime, "server", limits);
    this.socket = socket;
    this.#owner = owner;
    this.#isDraining = false;
    this.#drainPing = 0;
    this.#stalledSinceMs = 0;
    this.#watch = new Watch(this);
    runtime.wheel.arm(this.#watch, runtime.world.clock.monotonicMs() + HANDSHAKE_TIMEOUT_MS);
    this.engine.start();
    this.scheduleFlush();
  }

  /** Open calls, or calls whose handlers still run. */
  get callCount(): number {
    return this.engine.streams.count;
  }

  /** The exchanges of all open streams. */
  exchanges(): ServerExchange[] {
    return this.engine.streams
      .all()
      .map((stream) => stream.owner)
      .filter((owner): owner is ServerExchange => owner instanceof ServerExchange);
  }

  opened(): void {
    // An accepted socket is open from the start.
  }

  /** The handler of this stream has ended. */
  release(stream: Http2Stream): void {
    this.engine.release(stream);
    if (this.engine.output.length > 0) this.scheduleFlush();
    if (this.#isDraining) this.#endIfDrained();
  }

  /** Announces the end, and ends when the last call has (RFC 9113 6.8, in two steps so that calls underway are not lost). */
  drain(): void {
    if (this.#isDraining || this.isClosed) return;
    this.#isDraining = true;
    this.engine.goAway(NO_ERROR, STREAM_ID_MAX, "drain");
    this.#drainPing = this.sendPing();
    this.runtime.wheel.arm(this.#watch, this.runtime.world.clock.monotonicMs() + DRAIN_PING_MS);
  }

  expired(nowMs: number): void {
    if (this.isClosed) return;
    if (!this.engine.hasPeerSettings) {
      this.destroy(`the client sent no HTTP/2 preface and SETTINGS within ${HANDSHAKE_TIMEOUT_MS} ms`);
    } else if (this.#drainPing !== 0) {
      this.#drainSecond();
    } else if (this.engine.blockStreamId !== 0) {
      this.destroy("the client did not complete its headers in time");
    } else if (this.#stalledSinceMs !== 0 && (this.socket?.queuedBytes ?? 0) > 0) {
      if (nowMs - this.#stalledSinceMs >= STALLED_WRITER_MS) this.destroy("the client stopped reading");
      else this.runtime.wheel.arm(this.#watch, this.#stalledSinceMs + STALLED_WRITER_MS);
    } else {
      this.#stalledSinceMs = 0;
    }
  }

  override drained(): void {
    this.#stalledSinceMs = 0;
    super.drained();
  }

  protected streamOpened(stream: Http2Stream, section: FieldSection, ends: boolean): void {
    this.#owner.callArrived(new ServerExchange(this, stream), section, ends);
  }

  protected settingsArrived(): void {
    if (!this.#isDraining) this.runtime.wheel.cancel(this.#watch);
  }

  protected pingAnswered(number: number): void {
    if (this.#drainPing === number) this.#drainSecond();
  }

  protected goAwayArrived(): void {
    // The client opens no more calls; those it has may end.
  }

  protected turnRead(): void {
    const isWaiting = this.engine.blockStreamId !== 0 || (this.socket?.queuedBytes ?? 0) > 0;
    if (isWaiting && !this.#watch.isArmed) {
      const nowMs = this.receivedAtMs;
      if (this.engine.blockStreamId === 0) this.#stalledSinceMs = nowMs;
      const afterMs = this.engine.blockStreamId !== 0 ? HANDSHAKE_TIMEOUT_MS * 2 : STALLED_WRITER_MS;
      this.runtime.wheel.arm(this.#watch, nowMs + afterMs);
    }
  }

  protected connectionClosed(_text: string, _error: NetworkError | undefined): void {
    this.runtime.wheel.cancel(this.#watch);
    this.#owner.connectionClosed(this);
  }

  /** Every call that the client had sent when it read the first GOAWAY has arrived by now. */
  #drainSecond(): void {
    this.#drainPing = 0;
    this.runtime.wheel.cancel(this.#watch);
    this.engine.goAway(NO_ERROR, this.engine.lastPeerId, "drain");
    this.scheduleFlush();
    this.#endIfDrained();
  }

  #endIfDrained(): void {
    if (this.#drainPing !== 0 || this.callCount > 0 || this.isClosed) return;
    this.runtime.world.timers.afterTurn(() => {
      if (!this.isClosed && this.callCount === 0) this.finish("the connection was drained");
    });
  }
}

/** The connection's one timer: first for the handshake, then for headers and writes that do not end. */
class Watch extends WheelEntry {
  readonly #connection: ServerConnection;

  constructor(connection: ServerConnection) {
    super();
    this.#connection = connection;
  }
  expired(nowMs: number): void {
    this.#connection.expired(nowMs);
  }
}
