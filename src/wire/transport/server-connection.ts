/**
 * Hot path: a server's connection to one client: preface and SETTINGS in time, calls handed to the router, drain in two steps.
 */
import { failure } from "../../call/error.ts";
import type { NetworkError, Socket } from "../../world/network.ts";
import type { FieldSection } from "../http2/field.ts";
import { NO_ERROR, STREAM_ID_MAX } from "../http2/frame.ts";
import type { FieldToken } from "../http2/hpack-encoder.ts";
import type { Http2Limits } from "../http2/limits.ts";
import type { Http2Stream } from "../http2/stream.ts";
import { Connection } from "./connection.ts";
import type { Runtime } from "./runtime.ts";
import { ServerExchange } from "./server-exchange.ts";
import { WheelEntry } from "./timer-wheel.ts";

/** Preface and first SETTINGS must have come by then. */
const HANDSHAKE_TIMEOUT_MS = 5_000;
/** A header block must be complete by then. */
const HEADERS_TIMEOUT_MS = 10_000;
/** A client that does not answer the PING of a drain is not waited for longer. */
const DRAIN_PING_MS = 1_000;
/** How long a connection is kept whose client does not take what we write. */
const STALLED_WRITER_MS = 30_000;
/** How often replies that wait for window are looked at, and what must have been sent of them for them to count as moving. */
const WINDOW_LOOK_MS = 10_000;
const WINDOW_PROGRESS_BYTES = 16_384;
/**
 * How long replies may wait for window without moving. Much memory is given back soon, as no honest client makes us hold it; a little
 * may belong to a reader that takes its time, and gives no window until half of the last one is read.
 */
const MUCH_QUEUED_BYTES = 262_144;
const MUCH_QUEUED_MS = 30_000;
const LITTLE_QUEUED_MS = 600_000;
/** So many calls with unsent answers are noted before those that have been sent are left out. */
const UNSENT_KEPT_MIN = 16;
/** Silence after which a client is asked by a PING whether it is there, and how long its answer may take. */
const SILENCE_MS = 330_000;
const PING_TIMEOUT_MS = 20_000;

export interface ServerConnectionOwner {
  /** What every answer says of the server's health; undefined: nothing, it is well. */
  readonly healthField: FieldToken | undefined;
  /** A call begins: read the section now, it is valid only during this call. */
  callArrived(exchange: ServerExchange, section: FieldSection, ends: boolean): void;
  /** It is over, and its socket is closed. */
  connectionClosed(connection: ServerConnection): void;
}

export class ServerConnection extends Connection {
  /** The owner's own, from the beginning. */
  readonly facts: unknown;
  readonly #owner: ServerConnectionOwner;
  readonly #watch: Watch;
  #isDraining: boolean;
  #drainPing: number;
  /** Told once, when the client knows the last call that is taken, or is gone. */
  #onSaid: (() => void) | undefined;
  /** Handlers know of the end: their `call.draining` has fired. */
  #isDrainTold: boolean;
  /** Of the calls whose handlers asked for one. */
  #drainSignals: Map<Http2Stream, AbortController> | undefined;
  /** Calls whose handlers have ended, with answers of which a part had not left then. */
  #unsent: ServerExchange[] | undefined;
  #unsentKept: number;
  /** How long it may drain once it is old, and who ends what is left then. */
  #graceMs: number;
  #onGraceOver: (() => void) | undefined;
  // What the one timer waits for: when to look, Infinity for never. Setting one to Infinity costs nothing.
  #startDueMs: number;
  #drainDueMs: number;
  #headersDueMs: number;
  #writeDueMs: number;
  #windowDueMs: number;
  #silenceDueMs: number;
  #ageDueMs: number;
  #graceDueMs: number;
  /** The stream whose header block is open; 0 for none. */
  #openBlockId: number;
  /** Since when replies have not moved, and what had been sent then. */
  #windowSinceMs: number;
  #windowSentBytes: number;
  /** When the client was asked whether it is there; -Infinity if it was not. */
  #askedAtMs: number;

  /** What every answer says of the server's health, now. */
  get healthField(): FieldToken | undefined {
    return this.#owner.healthField;
  }

  constructor(runtime: Runtime, socket: Socket, owner: ServerConnectionOwner, limits: Http2Limits, facts: unknown) {
    super(runtime, "server", limits);
    this.facts = facts;
    this.socket = socket;
    this.#owner = owner;
    this.#isDraining = false;
    this.#drainPing = 0;
    this.#onSaid = undefined;
    this.#isDrainTold = false;
    this.#drainSignals = undefined;
    this.#unsent = undefined;
    this.#unsentKept = UNSENT_KEPT_MIN;
    this.#graceMs = Infinity;
    this.#onGraceOver = undefined;
    this.#startDueMs = this.receivedAtMs + HANDSHAKE_TIMEOUT_MS;
    this.#drainDueMs = Infinity;
    this.#headersDueMs = Infinity;
    this.#writeDueMs = Infinity;
    this.#windowDueMs = Infinity;
    this.#silenceDueMs = Infinity;
    this.#ageDueMs = Infinity;
    this.#graceDueMs = Infinity;
    this.#openBlockId = 0;
    this.#windowSinceMs = 0;
    this.#windowSentBytes = 0;
    this.#askedAtMs = -Infinity;
    this.#watch = new Watch(this);
    this.#lookAt(this.#startDueMs);
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

  /** The calls whose handlers have ended, and of whose answers a part has not left. */
  unsent(): ServerExchange[] {
    return (this.#unsent ?? []).filter(({ stream }) => !stream.isClosed);
  }

  /** The handler of this stream has ended. */
  release(stream: Http2Stream): void {
    const exchange = stream.owner;
    this.engine.release(stream);
    if (!stream.isClosed && exchange instanceof ServerExchange) this.#noteUnsent(exchange);
    if (this.#drainSignals !== undefined) this.#drainSignals.delete(stream);
    if (this.engine.output.length > 0) this.scheduleFlush();
    if (this.#isDraining) this.#endIfDrained();
  }

  /**
   * Announces the end, and ends when the last call has (RFC 9113 6.8, in two steps so that calls underway are not lost). `said` is called
   * once, when the client has been told which call is the last one, or is gone. Handlers are not told: {@link tellDraining} is for that.
   */
  drain(said?: () => void): void {
    if (!this.#isDraining && !this.isClosed) this.#announce("drain");
    // One that drains already, for its age, may have said it all.
    if (this.isClosed || this.#drainPing === 0) said?.();
    else this.#onSaid = said;
  }

  /** Fires `draining` of all calls here, and of those that still come. */
  tellDraining(): void {
    if (this.#isDrainTold) return;
    this.#isDrainTold = true;
    const signals = this.#drainSignals;
    this.#drainSignals = undefined;
    if (signals !== undefined) for (const signal of signals.values()) signal.abort(drainReason());
  }

  /** Fires when this connection drains, for the call on this stream until it is released. */
  drainingOf(stream: Http2Stream): AbortSignal {
    const controller = new AbortController();
    if (this.#isDrainTold) controller.abort(drainReason());
    else if (stream.owner !== undefined) (this.#drainSignals ??= new Map()).set(stream, controller);
    return controller.signal;
  }

  /**
   * Drains it when it is so old (gRFC A9), so that its client dials again and may come out elsewhere. Handlers are told by `draining`;
   * `graceOver` is called if it has not ended so long after.
   */
  limitAge(ageMs: number, graceMs: number, graceOver: () => void): void {
    this.#graceMs = graceMs;
    this.#onGraceOver = graceOver;
    this.#ageDueMs = this.runtime.world.clock.monotonicMs() + ageMs;
    this.#lookAt(this.#ageDueMs);
  }

  /** The timer: something may be due. */
  expired(nowMs: number): void {
    const isSpeaking = this.engine.hasPeerSettings;
    if (nowMs >= this.#startDueMs || (nowMs >= this.#drainDueMs && !isSpeaking)) {
      this.destroy("the client sent no HTTP/2 preface and SETTINGS in time");
    } else if (nowMs >= this.#headersDueMs) {
      this.destroy(`the client did not complete its headers within ${HEADERS_TIMEOUT_MS} ms`);
    } else if (nowMs >= this.#writeDueMs) {
      this.destroy(`the client did not take what was written within ${STALLED_WRITER_MS} ms`);
    } else if (nowMs >= this.#windowDueMs) {
      this.#lookAtWindows(nowMs);
    }
    if (this.isClosed) return;
    if (nowMs >= this.#drainDueMs) this.#drainSecond();
    if (nowMs >= this.#ageDueMs) this.#grewOld(nowMs);
    if (nowMs >= this.#graceDueMs) {
      this.#graceDueMs = Infinity;
      this.#onGraceOver?.();
    }
    if (this.isClosed) return;
    if (nowMs >= this.#silenceDueMs) this.#lookAtSilence(nowMs);
    if (!this.isClosed) this.#lookAt(this.#nextDueMs());
  }

  override drained(): void {
    this.#writeDueMs = Infinity;
    super.drained();
  }

  protected streamOpened(stream: Http2Stream, section: FieldSection, ends: boolean): void {
    this.#owner.callArrived(new ServerExchange(this, stream), section, ends);
  }

  protected settingsArrived(): void {
    if (this.#startDueMs === Infinity) return;
    this.#startDueMs = Infinity;
    this.#silenceDueMs = this.receivedAtMs + SILENCE_MS;
    this.#lookAt(this.#silenceDueMs);
  }

  protected pingAnswered(number: number): void {
    if (this.#drainPing === number) this.#drainSecond();
  }

  protected goAwayArrived(): void {
    // The client opens no more calls; those it has may end.
  }

  protected turnRead(): void {
    const id = this.engine.blockStreamId;
    if (id === this.#openBlockId) return;
    // Another block: its time begins now, whatever became of the last one.
    this.#openBlockId = id;
    this.#headersDueMs = id === 0 ? Infinity : this.receivedAtMs + HEADERS_TIMEOUT_MS;
    if (id !== 0) this.#lookAt(this.#headersDueMs);
  }

  protected override turnWritten(): void {
    if (this.isBlocked && this.#writeDueMs === Infinity) {
      this.#writeDueMs = this.runtime.world.clock.monotonicMs() + STALLED_WRITER_MS;
      this.#lookAt(this.#writeDueMs);
    }
    if (this.engine.queuedBytes === 0) {
      this.#windowDueMs = Infinity;
    } else if (this.#windowDueMs === Infinity) {
      this.#windowSinceMs = this.runtime.world.clock.monotonicMs();
      this.#windowSentBytes = this.engine.sentBytes;
      this.#windowDueMs = this.#windowSinceMs + WINDOW_LOOK_MS;
      this.#lookAt(this.#windowDueMs);
    }
  }

  protected connectionClosed(_text: string, _error: NetworkError | undefined): void {
    this.runtime.wheel.cancel(this.#watch);
    this.#said();
  }

  protected override socketClosed(): void {
    // Not before: until then it holds a descriptor, and counts as a connection.
    this.#owner.connectionClosed(this);
  }

  /** Lets the timer run at `dueMs`, or earlier if it runs earlier anyway. */
  #lookAt(dueMs: number): void {
    if (!this.#watch.isArmed || dueMs < this.#watch.dueMs) this.runtime.wheel.arm(this.#watch, dueMs);
  }

  /** A client that lets replies wait holds their memory: not for ever, however many small windows it gives (CVE-2026-49975). */
  #lookAtWindows(nowMs: number): void {
    const { queuedBytes, sentBytes } = this.engine;
    if (queuedBytes === 0) {
      this.#windowDueMs = Infinity;
      return;
    }
    if (sentBytes - this.#windowSentBytes >= WINDOW_PROGRESS_BYTES) {
      this.#windowSentBytes = sentBytes;
      this.#windowSinceMs = nowMs;
    }
    const limitMs = queuedBytes >= MUCH_QUEUED_BYTES ? MUCH_QUEUED_MS : LITTLE_QUEUED_MS;
    const waitedMs = nowMs - this.#windowSinceMs;
    if (waitedMs >= limitMs) this.destroy(`the client gave no window for ${Math.round(waitedMs)} ms`);
    else this.#windowDueMs = nowMs + WINDOW_LOOK_MS;
  }

  /** A client that vanished without a word is found by a PING, idle or not. */
  #lookAtSilence(nowMs: number): void {
    const hasSpoken = this.receivedAtMs >= this.#askedAtMs && nowMs - this.receivedAtMs < SILENCE_MS;
    if (this.isPaused || hasSpoken) {
      // While we do not read, its silence is ours.
      this.#askedAtMs = -Infinity;
      this.#silenceDueMs = (this.isPaused ? nowMs : this.receivedAtMs) + SILENCE_MS;
    } else if (this.#askedAtMs === -Infinity) {
      this.#askedAtMs = nowMs;
      this.sendPing();
      this.#silenceDueMs = nowMs + PING_TIMEOUT_MS;
    } else {
      const silentMs = Math.round(nowMs - this.receivedAtMs);
      this.destroy(`the client was silent for ${silentMs} ms and did not answer a PING`);
    }
  }

  #nextDueMs(): number {
    return Math.min(
      this.#startDueMs,
      this.#drainDueMs,
      this.#headersDueMs,
      this.#writeDueMs,
      this.#windowDueMs,
      this.#silenceDueMs,
      this.#ageDueMs,
      this.#graceDueMs,
    );
  }

  #announce(why: string): void {
    this.#isDraining = true;
    this.#ageDueMs = Infinity;
    this.engine.goAway(NO_ERROR, STREAM_ID_MAX, why);
    this.#drainPing = this.sendPing();
    this.#drainDueMs = this.runtime.world.clock.monotonicMs() + DRAIN_PING_MS;
    this.#lookAt(this.#drainDueMs);
  }

  #grewOld(nowMs: number): void {
    this.#ageDueMs = Infinity;
    if (this.#isDraining) return;
    this.#graceDueMs = nowMs + this.#graceMs;
    this.#announce("max_age");
    this.#onSaid = () => this.tellDraining();
  }

  /** Every call that the client had sent when it read the first GOAWAY has arrived by now. */
  #drainSecond(): void {
    this.#drainPing = 0;
    this.#drainDueMs = Infinity;
    this.engine.goAway(NO_ERROR, this.engine.lastPeerId, "drain");
    this.scheduleFlush();
    this.#said();
    this.#endIfDrained();
  }

  #said(): void {
    const said = this.#onSaid;
    this.#onSaid = undefined;
    said?.();
  }

  #noteUnsent(exchange: ServerExchange): void {
    this.#unsent ??= [];
    if (this.#unsent.push(exchange) < this.#unsentKept) return;
    this.#unsent = this.unsent();
    this.#unsentKept = Math.max(UNSENT_KEPT_MIN, 2 * this.#unsent.length);
  }

  #endIfDrained(): void {
    if (this.#drainPing !== 0 || this.callCount > 0 || this.isClosed) return;
    this.runtime.world.timers.afterTurn(() => {
      if (!this.isClosed && this.callCount === 0) this.finish("the connection was drained");
    });
  }
}

/** The connection's one timer, for everything that a client must not put off for ever. */
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

function drainReason(): Error {
  return failure({ code: "UNAVAILABLE", text: "the server takes no more calls here", reason: "SERVER_DRAINING" });
}
