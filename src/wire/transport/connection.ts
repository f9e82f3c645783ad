/**
 * Hot path: an HTTP/2 engine on a socket. Reads chunks into it, hands its events to the streams' owners, and lets all
 * frames of a turn leave in one write. What differs between client and server is in the two classes built on this one.
 */
import type { NetworkError, Socket, SocketEvents } from "../../world/network.ts";
import { Http2Connection, type Http2Role } from "../http2/connection.ts";
import {
  EVENT_CONNECTION_ERROR,
  EVENT_DATA,
  EVENT_GOAWAY,
  EVENT_HEADERS,
  EVENT_PING_ACK,
  EVENT_RESET,
  EVENT_SETTINGS,
  EVENT_STREAM_ERROR,
  EVENT_UNPROCESSED,
  EVENT_WRITABLE,
  type EventList,
} from "../http2/event.ts";
import type { FieldSection } from "../http2/field.ts";
import { errorCodeName } from "../http2/frame.ts";
import type { Http2Limits } from "../http2/limits.ts";
import type { Http2Stream } from "../http2/stream.ts";
import { wireNames } from "./names.ts";
import type { Runtime } from "./runtime.ts";
import { WheelEntry } from "./timer-wheel.ts";

/** With so much unsent, payloads wait in their streams. */
const BLOCK_BYTES = 65_536;
/** With so much unsent, the peer is not read any more: it makes us answer and does not take the answers. */
const PAUSE_BYTES = 262_144;
/** A peer that is told of the end has so long to end its side too; then the socket is cut, for it holds a descriptor. */
const HARD_CLOSE_MS = 1_000;
/** The `code` of the error of what ended because its own owner threw; as a real socket's. */
export const HANDLER_THREW = "HANDLER_THREW";

/** Who listens to one stream. */
export interface StreamOwner {
  onHeaders(section: FieldSection, ends: boolean): void;
  onData(bytes: Buffer, start: number, end: number, ends: boolean): void;
  /** The stream ended before its time. `isUnprocessed`: the peer says that no handler saw it. */
  onReset(code: number, isUnprocessed: boolean, text: string): void;
  /** What was queued has been sent. */
  onWritable(): void;
}

export abstract class Connection implements SocketEvents {
  readonly runtime: Runtime;
  readonly engine: Http2Connection;
  socket: Socket | undefined;
  /** When the last byte was read. */
  receivedAtMs: number;
  /** When the last HEADERS or DATA frame of a stream that somebody owns was read; -Infinity: never. */
  frameAtMs: number;
  #isFlushScheduled: boolean;
  #isBlocked: boolean;
  #isPaused: boolean;
  #isClosed: boolean;
  #isSocketClosed: boolean;
  #hardClose: HardClose | undefined;
  #pingNumber: number;
  readonly #flush: () => void;

  constructor(runtime: Runtime, role: Http2Role, limits: Http2Limits) {
    this.runtime = runtime;
    this.engine = new Http2Connection(role, wireNames, limits, runtime.windows);
    this.socket = undefined;
    this.receivedAtMs = runtime.world.clock.monotonicMs();
    this.frameAtMs = -Infinity;
    this.#isFlushScheduled = false;
    this.#isBlocked = false;
    this.#isPaused = false;
    this.#isClosed = false;
    this.#isSocketClosed = false;
    this.#hardClose = undefined;
    this.#pingNumber = 0;
    this.#flush = () => {
      try {
        this.#flushNow();
        this.#pumpOn();
      } catch (cause) {
        this.#threw(cause);
      }
    };
  }

  /** It takes part in nothing any more; its socket may still be about to close. */
  get isClosed(): boolean {
    return this.#isClosed;
  }
  /** The peer does not take what we send: payloads wait in their streams until the socket has drained. */
  protected get isBlocked(): boolean {
    return this.#isBlocked;
  }
  /** The peer is not read, because it does not take our answers. */
  protected get isPaused(): boolean {
    return this.#isPaused;
  }

  // What the two sides do in their own way.
  /** A new stream of the peer's (server). */
  protected abstract streamOpened(stream: Http2Stream, section: FieldSection, ends: boolean): void;
  protected abstract settingsArrived(): void;
  protected abstract pingAnswered(number: number): void;
  protected abstract goAwayArrived(lastId: number, code: number, debug: string): void;
  /** The connection is over; called once. All streams' owners have been told. */
  protected abstract connectionClosed(text: string, error: NetworkError | undefined): void;
  /** Events of a chunk have been handed on. */
  protected abstract turnRead(): void;
  /** The output of a turn has been handed to the socket. */
  protected turnWritten(): void {
    // For those that watch what is not taken.
  }
  /** The socket is gone too, after `connectionClosed`; called once. */
  protected socketClosed(): void {
    // For those that count descriptors.
  }

  abstract opened(): void;

  data(bytes: Buffer): void {
    if (this.#isClosed) return;
    const nowMs = this.runtime.world.clock.monotonicMs();
    this.receivedAtMs = nowMs;
    try {
      this.engine.receive(bytes, nowMs, this.runtime.events);
      this.#dispatch(this.runtime.events);
    } catch (cause) {
      this.#threw(cause);
    }
  }

  drained(): void {
    if (this.#isClosed) return;
    if (this.#isPaused) {
      this.#isPaused = false;
      this.socket?.resume();
    }
    if (this.#isBlocked) {
      this.#isBlocked = false;
      try {
        this.engine.setBlocked(false, this.runtime.events);
        this.#dispatch(this.runtime.events);
      } catch (cause) {
        this.#threw(cause);
      }
    }
  }

  ended(): void {
    // HTTP/2 has no half-closed connections: what is unfinished cannot finish.
    this.finish("the peer closed the connection");
  }

  closed(error: NetworkError | undefined): void {
    this.#close(error === undefined ? "the connection was closed" : error.text, error);
    if (this.#isSocketClosed) return;
    this.#isSocketClosed = true;
    if (this.#hardClose !== undefined) this.runtime.wheel.cancel(this.#hardClose);
    this.socketClosed();
  }

  /** Sends what the engine has gathered at the end of this turn. */
  scheduleFlush(): void {
    if (this.#isFlushScheduled || this.#isClosed) return;
    this.#isFlushScheduled = true;
    this.runtime.world.timers.afterTurn(this.#flush);
  }

  /** Writes what was gathered now, though the turn goes on: it will take long. */
  flushEarly(): void {
    if (this.engine.output.length > 0) this.#flushNow();
  }

  /** The reader took payload of a stream: window may return. */
  consumed(stream: Http2Stream, bytes: number): void {
    this.engine.consume(stream, bytes, this.receivedAtMs);
    if (this.engine.output.length > 0) this.scheduleFlush();
  }

  /** A reader waits for so many more bytes of one message: the peer may send them all, if true. */
  expect(stream: Http2Stream, bytes: number): boolean {
    const isGranted = this.engine.expect(stream, bytes);
    if (this.engine.output.length > 0) this.scheduleFlush();
    return isGranted;
  }

  /** Sends a PING; `pingAnswered` gets the number. */
  sendPing(): number {
    this.#pingNumber = (this.#pingNumber + 1) & 0x7fffffff;
    this.engine.ping(this.#pingNumber);
    this.scheduleFlush();
    return this.#pingNumber;
  }

  /** Ends the connection at once, after the frames already gathered. Streams' owners hear `text`. Cuts one that is finishing. */
  destroy(text: string): void {
    this.#flushNow();
    this.#close(text, undefined);
    this.socket?.destroy();
  }

  /** Ends the connection when everything gathered has been sent, or a second later. Streams' owners hear `text`. */
  finish(text: string): void {
    if (this.#isClosed) return;
    this.#flushNow();
    this.#close(text, undefined);
    const { socket, runtime } = this;
    if (socket === undefined) return;
    // Read on, and into nothing: the peer's own end comes after what it has sent.
    socket.resume();
    socket.end();
    this.#hardClose = new HardClose(socket);
    runtime.wheel.arm(this.#hardClose, runtime.world.clock.monotonicMs() + HARD_CLOSE_MS);
  }

  #dispatch(events: EventList): void {
    for (let i = 0; i < events.length && !this.#isClosed; i++) {
      const stream = events.streams[i];
      const owner = stream === undefined ? undefined : (stream.owner as StreamOwner | undefined);
      switch (events.kinds[i]) {
        case EVENT_HEADERS:
          this.frameAtMs = this.receivedAtMs;
          if (owner !== undefined) owner.onHeaders(events.section(i), events.a[i] === 1);
          else if (this.engine.role === "server") {
            this.streamOpened(stream as Http2Stream, events.section(i), events.a[i] === 1);
          }
          break;
        case EVENT_DATA:
          this.frameAtMs = this.receivedAtMs;
          if (owner !== undefined) {
            owner.onData(events.bytes(i), events.a[i] as number, events.b[i] as number, events.flags[i] === 1);
          } else if (stream !== undefined) {
            // Nobody reads this stream any more; its window must not fill up for that.
            this.engine.consume(stream, (events.b[i] as number) - (events.a[i] as number), this.receivedAtMs);
          }
          break;
        case EVENT_RESET:
          owner?.onReset(
            events.a[i] as number,
            false,
            `the peer reset the stream: ${errorCodeName(events.a[i] as number)}`,
          );
          break;
        case EVENT_STREAM_ERROR:
          owner?.onReset(events.a[i] as number, false, `protocol error of the peer: ${events.text(i)}`);
          break;
        case EVENT_UNPROCESSED:
          owner?.onReset(0, true, "the peer is going away and did not process the call");
          break;
        case EVENT_WRITABLE:
          owner?.onWritable();
          break;
        case EVENT_SETTINGS:
          this.settingsArrived();
          break;
        case EVENT_PING_ACK:
          this.pingAnswered(events.a[i] as number);
          break;
        case EVENT_GOAWAY:
          this.goAwayArrived(events.a[i] as number, events.b[i] as number, events.text(i));
          break;
        case EVENT_CONNECTION_ERROR:
          this.#failed(events.a[i] as number, events.text(i));
          break;
        default:
          break;
      }
    }
    events.clear();
    if (this.#isClosed) return;
    if (this.engine.hasRest) this.#readRestLater();
    this.turnRead();
    if (this.engine.output.length > 0) this.scheduleFlush();
  }

  #failed(code: number, text: string): void {
    this.finish(`protocol error of the peer: ${text} (${errorCodeName(code)})`);
  }

  #readRestLater(): void {
    this.socket?.pause();
    this.runtime.world.timers.afterTurn(() => {
      if (this.#isClosed) return;
      if (!this.#isPaused) this.socket?.resume();
      try {
        this.engine.receiveRest(this.runtime.world.clock.monotonicMs(), this.runtime.events);
        this.#dispatch(this.runtime.events);
      } catch (cause) {
        this.#threw(cause);
      }
    });
  }

  /**
   * An owner, or the engine, threw: what they know of this connection can no longer be trusted, so it ends here and now. The events
   * left in the shared list are nobody else's.
   */
  #threw(cause: unknown): void {
    this.runtime.events.clear();
    const words = cause instanceof Error ? cause.message : String(cause);
    const text = `the connection's owner threw: ${words}`;
    this.#close(text, { phase: "open", code: HANDLER_THREW, text, cause });
    this.socket?.destroy();
  }

  #flushNow(): void {
    this.#isFlushScheduled = false;
    const socket = this.socket;
    if (this.#isClosed || socket === undefined) return;
    const engine = this.engine;
    if (engine.output.length > 0) {
      const chunks = engine.output.take();
      const spent = engine.output.takeSpent();
      if (spent !== undefined) socket.writeAll(chunks, spent);
      else if (chunks.length === 1) socket.write(chunks[0] as Buffer);
      else socket.writeAll(chunks);
    }
    if (socket.queuedBytes >= BLOCK_BYTES) {
      this.#isBlocked = true;
      engine.setBlocked(true, undefined);
      if (socket.queuedBytes >= PAUSE_BYTES && !this.#isPaused) {
        this.#isPaused = true;
        socket.pause();
      }
    }
    this.turnWritten();
  }

  /** After a turn's output was taken: payloads that its bound held back. Never from inside a dispatch. */
  #pumpOn(): void {
    if (this.#isClosed || !this.engine.hasPending) return;
    this.engine.pump(this.runtime.events);
    this.#dispatch(this.runtime.events);
  }

  #close(text: string, error: NetworkError | undefined): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const streams = this.engine.streams.all();
    const unprocessedAbove = this.engine.role === "client" ? this.engine.peerLastId : Infinity;
    this.engine.dispose();
    for (const stream of streams) {
      if (stream.isClosed && this.engine.role === "client") continue;
      const owner = stream.owner as StreamOwner | undefined;
      this.engine.closeByReset(stream);
      try {
        owner?.onReset(-1, stream.id > unprocessedAbove, text);
      } catch {
        // Its own stream is over either way; the others' owners must hear of theirs.
      }
    }
    this.connectionClosed(text, error);
  }
}

/** Cuts the socket of a connection whose peer does not end its side. */
class HardClose extends WheelEntry {
  readonly #socket: Socket;

  constructor(socket: Socket) {
    super();
    this.#socket = socket;
  }
  expired(): void {
    this.#socket.destroy();
  }
}
