/**
 * A client's world with somebody who looks on: every attempt is seen on the wire, every timer is counted. The client runs unchanged and
 * does not know it.
 */
import {
  FLAG_ACK,
  FLAG_END_STREAM,
  FRAME_DATA,
  FRAME_GOAWAY,
  FRAME_HEADERS,
  FRAME_RST_STREAM,
  FRAME_SETTINGS,
  REFUSED_STREAM,
  SETTING_MAX_CONCURRENT_STREAMS,
} from "../../src/wire/http2/frame.ts";
import type { Network, NetworkError, Socket, SocketAddress, SocketEvents, TlsFacts } from "../../src/world/network.ts";
import type { Timer, Timers } from "../../src/world/timers.ts";
import type { World } from "../../src/world/world.ts";
import { FrameReader, type SeenFrame } from "./frame-reader.ts";
import { type Attempt, type AttemptEnd, type History, readCallMark } from "./history.ts";
import type { SeenPeer } from "./look.ts";

/** The request metadata by which the tap knows a call. */
export const callMarkName = "sim-call";
const messagePrefixBytes = 5;
/** A connection without calls that was silent for so long is asked for a sign of life before it takes one. */
const idleMs = 5000;
/** After a stream that its server refused, a connection takes no other for so long. */
const refusedPauseMs = 100;

/** One connection as the wire shows it. */
export interface TappedConnection {
  readonly number: number;
  readonly peer: string;
  /** The server's SETTINGS came, at this time; Infinity before. */
  readyAtMs: number;
  /** A reply said that requests' checksums are compared there, first at this time: from then on each has one. Infinity before. */
  offersAtMs: number;
  /** The server's last bytes came; -Infinity before. */
  heardAtMs: number;
  /** The server left a stream unprocessed, last at this time; -Infinity before. */
  refusedAtMs: number;
  /** The server said that it takes no new calls. */
  isLeaving: boolean;
  isClosed: boolean;
  /** The last stream that the server has seen or will, as its GOAWAY says; Infinity before. */
  lastStream: number;
  /** What came could not be read. */
  isBlind: boolean;
  streamsMax: number;
  /** Streams that are not closed. */
  readonly streams: Map<number, TappedStream>;
  /** Resets that the client sent, by time; and bytes that the kernel did not take. */
  readonly resetsAtMs: number[];
  readonly queuedBytes: () => number;
}

interface TappedStream {
  /** Undefined for what is no call of ours. */
  readonly attempt: Attempt | undefined;
  isLocalEnded: boolean;
  isRemoteEnded: boolean;
  /** Bytes of replies so far, and the length of the first; -1 before its prefix is whole. */
  bytes: number;
  readonly prefix: number[];
}

/** Looks on at one life of one client. */
export class WireTap {
  readonly world: World;
  readonly connections: TappedConnection[] = [];
  /** Timers that are armed, and holds that are not cancelled. */
  timers = 0;
  holds = 0;
  /** What the client reports of its peers; asked only when an attempt fails and when another follows. */
  opinion: (() => readonly SeenPeer[]) | undefined = undefined;
  readonly history: History;
  readonly nowMs: () => number;
  private readonly callsAtOnce: number;

  /** `callsAtOnce`: how many calls the client has open at most. */
  constructor(world: World, history: History, nowMs: () => number, callsAtOnce: number) {
    this.history = history;
    this.nowMs = nowMs;
    this.callsAtOnce = callsAtOnce;
    this.world = { ...world, timers: countedTimers(world.timers, this), network: tappedNetwork(world.network, this) };
  }

  /**
   * Peers that could take a call now, and could before this moment: the wire has a connection with room for all that the client may begin
   * in this turn, and the client reports nothing to the contrary (an opinion, a pushback, or streams that have not left yet).
   */
  usablePeers(): readonly string[] {
    const nowMs = this.nowMs();
    const room = new Map<string, number>();
    for (const connection of this.connections) {
      const { readyAtMs, heardAtMs, isLeaving, isClosed, isBlind, streams, streamsMax, peer } = connection;
      if (readyAtMs >= nowMs || isLeaving || isClosed || isBlind || streams.size >= streamsMax) continue;
      if (streams.size === 0 && heardAtMs <= nowMs - idleMs) continue;
      if (connection.refusedAtMs > nowMs - refusedPauseMs) continue;
      room.set(peer, (room.get(peer) ?? 0) + streamsMax);
    }
    const reports = this.opinion?.() ?? [];
    return reports
      .filter(
        ({ address, health, why, inFlight }) =>
          health === "ready" && why === "ready" && inFlight + this.callsAtOnce < (room.get(address) ?? 0),
      )
      .map(({ address }) => address);
  }

  /** A connection begins. */
  connecting(peer: string, queuedBytes: () => number): TappedConnection {
    const connection: TappedConnection = {
      number: this.connections.length,
      peer,
      readyAtMs: Number.POSITIVE_INFINITY,
      offersAtMs: Number.POSITIVE_INFINITY,
      heardAtMs: Number.NEGATIVE_INFINITY,
      refusedAtMs: Number.NEGATIVE_INFINITY,
      isLeaving: false,
      lastStream: Number.POSITIVE_INFINITY,
      isClosed: false,
      isBlind: false,
      streamsMax: Number.POSITIVE_INFINITY,
      streams: new Map(),
      resetsAtMs: [],
      queuedBytes,
    };
    this.connections.push(connection);
    return connection;
  }

  /** The client wrote a frame. */
  wrote(connection: TappedConnection, frame: SeenFrame): void {
    const stream = connection.streams.get(frame.stream);
    const ends = (frame.flags & FLAG_END_STREAM) !== 0;
    if (frame.type === FRAME_HEADERS && stream === undefined) this.opened(connection, frame, ends);
    else if (frame.type === FRAME_RST_STREAM) {
      connection.resetsAtMs.push(this.nowMs());
      this.ended(connection, frame.stream, "reset-by-client");
    } else if (stream !== undefined && ends && (frame.type === FRAME_DATA || frame.type === FRAME_HEADERS)) {
      stream.isLocalEnded = true;
      this.closeIfBoth(connection, frame.stream, stream);
    }
  }

  /** The server's frame is about to be read by the client. */
  read(connection: TappedConnection, frame: SeenFrame): void {
    const stream = connection.streams.get(frame.stream);
    connection.heardAtMs = this.nowMs();
    switch (frame.type) {
      case FRAME_SETTINGS:
        if ((frame.flags & FLAG_ACK) === 0) this.settings(connection, frame.payload);
        break;
      case FRAME_GOAWAY:
        connection.isLeaving = true;
        connection.lastStream = frame.payload.readUInt32BE(0) & 0x7fffffff;
        for (const id of [...connection.streams.keys()]) {
          if (id > connection.lastStream) this.ended(connection, id, "unprocessed");
        }
        break;
      case FRAME_RST_STREAM: {
        const isRefused = frame.payload.readUInt32BE(0) === REFUSED_STREAM;
        this.ended(connection, frame.stream, isRefused ? "unprocessed" : "reset-by-server");
        break;
      }
      case FRAME_HEADERS:
        if (stream !== undefined) this.answered(connection, frame, stream);
        break;
      case FRAME_DATA:
        if (stream !== undefined) this.replied(connection, frame, stream);
        break;
      default:
    }
  }

  /** The connection is over. */
  closed(connection: TappedConnection): void {
    connection.isClosed = true;
    this.lost(connection);
  }

  /** Nothing more will come from the server. */
  lost(connection: TappedConnection): void {
    connection.isLeaving = true;
    for (const id of [...connection.streams.keys()]) this.ended(connection, id, "lost");
  }

  private opened(connection: TappedConnection, frame: SeenFrame, ends: boolean): void {
    const number = readCallMark(frame.fields?.get(callMarkName));
    const call = number === undefined ? undefined : this.history.calls[number];
    const attempt =
      call === undefined
        ? undefined
        : this.history.attemptBegan({
            call,
            peer: connection.peer,
            connection: connection.number,
            stream: frame.stream,
            sentAtMs: this.nowMs(),
            usablePeers: call.attempts.length === 0 ? [] : this.usablePeers(),
            isRequestChecked: frame.fields?.has("holdfast-crc") === true || connection.offersAtMs < this.nowMs(),
          });
    const stream = { attempt, isLocalEnded: ends, isRemoteEnded: false, bytes: 0, prefix: [] };
    connection.streams.set(frame.stream, stream);
    // It was begun before the GOAWAY was read, in the same turn, and leaves after.
    if (frame.stream > connection.lastStream) this.ended(connection, frame.stream, "unprocessed");
  }

  private settings(connection: TappedConnection, payload: Buffer): void {
    for (let at = 0; at + 6 <= payload.length; at += 6) {
      if (payload.readUInt16BE(at) === SETTING_MAX_CONCURRENT_STREAMS)
        connection.streamsMax = payload.readUInt32BE(at + 2);
    }
    if (connection.readyAtMs === Number.POSITIVE_INFINITY) connection.readyAtMs = this.nowMs();
  }

  private answered(connection: TappedConnection, frame: SeenFrame, stream: TappedStream): void {
    const { attempt } = stream;
    const ends = (frame.flags & FLAG_END_STREAM) !== 0;
    if (frame.fields?.get("holdfast-integrity") === "crc32")
      connection.offersAtMs = Math.min(connection.offersAtMs, this.nowMs());
    if (attempt !== undefined) {
      const isFirst = attempt.answeredAtMs === Number.POSITIVE_INFINITY;
      // An answer that is trailers only commits to nothing (gRFC A6).
      if (isFirst && !ends) attempt.answeredAtMs = this.nowMs();
      const pushback = frame.fields?.get("grpc-retry-pushback-ms");
      if (pushback !== undefined) attempt.pushbackMs = /^-?\d+$/.test(pushback) ? Number(pushback) : -1;
      if (ends) attempt.status = Number(frame.fields?.get("grpc-status") ?? -1);
      if (ends && frame.fields?.has("holdfast-not-run") === true && isFirst) {
        this.ended(connection, frame.stream, "unprocessed");
        return;
      }
    }
    if (ends) this.remoteEnded(connection, frame.stream, stream);
  }

  private replied(connection: TappedConnection, frame: SeenFrame, stream: TappedStream): void {
    const { attempt, prefix } = stream;
    for (let at = 0; at < frame.payload.length && prefix.length < messagePrefixBytes; at++) {
      prefix.push(frame.payload[at] as number);
    }
    stream.bytes += frame.payload.length;
    if (
      attempt !== undefined &&
      attempt.repliedAtMs === Number.POSITIVE_INFINITY &&
      prefix.length === messagePrefixBytes
    ) {
      const length = Buffer.from(prefix).readUInt32BE(1);
      if (stream.bytes >= messagePrefixBytes + length) attempt.repliedAtMs = this.nowMs();
    }
    if ((frame.flags & FLAG_END_STREAM) !== 0) this.remoteEnded(connection, frame.stream, stream);
  }

  private remoteEnded(connection: TappedConnection, id: number, stream: TappedStream): void {
    stream.isRemoteEnded = true;
    this.attemptEnded(stream.attempt, "status");
    this.closeIfBoth(connection, id, stream);
  }

  private closeIfBoth(connection: TappedConnection, id: number, stream: TappedStream): void {
    if (stream.isLocalEnded && stream.isRemoteEnded) connection.streams.delete(id);
  }

  private ended(connection: TappedConnection, id: number, end: AttemptEnd): void {
    const stream = connection.streams.get(id);
    if (stream === undefined) return;
    connection.streams.delete(id);
    if (end === "unprocessed") connection.refusedAtMs = this.nowMs();
    this.attemptEnded(stream.attempt, end);
  }

  private attemptEnded(attempt: Attempt | undefined, end: AttemptEnd): void {
    if (attempt === undefined || attempt.end !== "open") return;
    attempt.end = end;
    attempt.endedAtMs = this.nowMs();
    if (attempt.call.outcome === "" && attempt.status !== 0) attempt.usableAtEnd = this.usablePeers();
  }
}

function countedTimers(timers: Timers, tap: WireTap): Timers {
  return {
    schedule(delayMs, callback) {
      tap.timers += 1;
      let isOpen = true;
      const over = (): void => {
        if (isOpen) tap.timers -= 1;
        isOpen = false;
      };
      const timer = timers.schedule(delayMs, () => {
        over();
        callback();
      });
      return counted(timer, over);
    },
    hold() {
      tap.holds += 1;
      let isOpen = true;
      return counted(timers.hold(), () => {
        if (isOpen) tap.holds -= 1;
        isOpen = false;
      });
    },
    afterTurn: (callback) => timers.afterTurn(callback),
  };
}

function counted(timer: Timer, over: () => void): Timer {
  return {
    cancel() {
      over();
      timer.cancel();
    },
  };
}

function tappedNetwork(network: Network, tap: WireTap): Network {
  return {
    ...network,
    connect(address, options, events) {
      const connection = tap.connecting(peerText(address), () => socket.queuedBytes);
      const socket: TappedSocket = new TappedSocket(tap, connection, events);
      socket.inner = network.connect(address, options, socket);
      return socket;
    },
  };
}

function peerText(address: SocketAddress): string {
  return address.kind === "tcp" ? `${address.host}:${address.port}` : address.path;
}

class TappedSocket implements Socket, SocketEvents {
  inner: Socket | undefined = undefined;
  private readonly tap: WireTap;
  private readonly connection: TappedConnection;
  private readonly events: SocketEvents;
  private readonly written: FrameReader;
  private readonly arrived: FrameReader;

  constructor(tap: WireTap, connection: TappedConnection, events: SocketEvents) {
    this.tap = tap;
    this.connection = connection;
    this.events = events;
    this.written = new FrameReader(true, (frame) => tap.wrote(connection, frame));
    this.arrived = new FrameReader(false, (frame) => tap.read(connection, frame));
  }

  opened(): void {
    this.events.opened();
  }
  data(bytes: Buffer): void {
    if (!this.connection.isClosed) this.arrived.push(bytes);
    this.connection.isBlind ||= this.arrived.isBlind;
    this.events.data(bytes);
  }
  drained(): void {
    this.events.drained();
  }
  ended(): void {
    // No answer can come any more.
    if (!this.connection.isClosed) this.tap.lost(this.connection);
    this.events.ended();
  }
  closed(error: NetworkError | undefined): void {
    if (!this.connection.isClosed) this.tap.closed(this.connection);
    this.events.closed(error);
  }

  write(bytes: Buffer): void {
    this.look(bytes);
    this.inner?.write(bytes);
  }
  writeAll(chunks: readonly Buffer[]): void {
    for (const chunk of chunks) this.look(chunk);
    this.inner?.writeAll(chunks);
  }
  get queuedBytes(): number {
    return this.inner?.queuedBytes ?? 0;
  }
  pause(): void {
    this.inner?.pause();
  }
  resume(): void {
    this.inner?.resume();
  }
  end(): void {
    this.inner?.end();
  }
  destroy(): void {
    if (!this.connection.isClosed) this.tap.closed(this.connection);
    this.inner?.destroy();
  }
  get localAddress(): string {
    return this.inner?.localAddress ?? "";
  }
  get remoteAddress(): string {
    return this.inner?.remoteAddress ?? "";
  }
  get tls(): TlsFacts | undefined {
    return this.inner?.tls;
  }

  private look(bytes: Buffer): void {
    if (!this.connection.isClosed) this.written.push(bytes);
  }
}
