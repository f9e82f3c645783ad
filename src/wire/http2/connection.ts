/**
 * Hot path: one HTTP/2 connection (RFC 9113), without I/O: bytes and time come in, events and bytes come out.
 *
 * This file is what we do: open streams, send, return windows, reset, say goodbye. What the peer does is read in
 * receive.ts. Nothing here throws for what a peer sends, waits, or calls back.
 */
import { EVENT_WRITABLE, type EventList } from "./event.ts";
import type { FieldNames } from "./field.ts";
import {
  CLIENT_PREFACE,
  DEFAULT_WINDOW,
  FLAG_ACK,
  FLAG_END_HEADERS,
  FLAG_END_STREAM,
  FRAME_CONTINUATION,
  FRAME_DATA,
  FRAME_GOAWAY,
  FRAME_HEADER_BYTES,
  FRAME_HEADERS,
  FRAME_PING,
  FRAME_RST_STREAM,
  FRAME_SETTINGS,
  FRAME_WINDOW_UPDATE,
  NO_ERROR,
  SETTING_ENABLE_PUSH,
  SETTING_INITIAL_WINDOW_SIZE,
  SETTING_MAX_CONCURRENT_STREAMS,
  SETTING_MAX_HEADER_LIST_SIZE,
  STREAM_ID_MAX,
  writeFrameHeader,
  writeUint32,
} from "./frame.ts";
import { HpackDecoder } from "./hpack-decoder.ts";
import { HpackEncoder } from "./hpack-encoder.ts";
import { type Http2Limits, TokenBucket, type WindowBudget } from "./limits.ts";
import { Output } from "./output.ts";
import { RecentIds } from "./recent-ids.ts";
import { receive, receiveRest } from "./receive.ts";
import { initialPeerSettings, type PeerSettings } from "./settings.ts";
import {
  type HeaderSource,
  Http2Stream,
  STREAM_ANSWERED,
  STREAM_LOCAL_ENDED,
  STREAM_OURS,
  STREAM_PENDING,
  STREAM_RELEASED,
  STREAM_REMOTE_ENDED,
  STREAM_RESET,
  StreamTable,
  SHORT_TURN_BYTES,
  TURN_BYTES,
} from "./stream.ts";

export type Http2Role = "client" | "server";

/** While more than this waits to be taken, payloads stay in their streams' queues. */
const OUTPUT_BYTES_MAX = 131_072;
/** A window half of which flows in less time grows: it then holds about half a second of what flows. */
const WINDOW_GROWTH_MS = 250;
/** Frames that a good peer may send without their being counted: as many as the recent past explains. */
const EARNED_MAX = 10_000;
/** Ids are left before they run out, so that calls in flight can end on this connection. */
const DRAIN_ID = 0x60000000;
/** However large the frames that a peer takes: a longer one would hold up the other streams, and the output's bound. */
const DATA_FRAME_BYTES_MAX = 65_536;

export class Http2Connection {
  readonly role: Http2Role;
  readonly limits: Http2Limits;
  readonly output: Output;
  readonly encoder: HpackEncoder;
  readonly streams: StreamTable;
  /** What the peer allows us. */
  readonly peer: PeerSettings;
  /** The peer's first SETTINGS have arrived: the connection works. */
  hasPeerSettings: boolean;
  /** Our SETTINGS have been acknowledged. */
  areSettingsAcked: boolean;
  /** We, or the peer, ended the connection for an error; nothing more is read. */
  isFailed: boolean;
  /** The peer's GOAWAY: streams above this id will not be processed; STREAM_ID_MAX before one arrived. */
  peerLastId: number;
  hasReceivedGoAway: boolean;
  /** Our last GOAWAY promises to process streams up to this id. */
  ourLastId: number;
  hasSentGoAway: boolean;

  // What follows is shared with receive.ts and meant for nobody else.
  readonly decoder: HpackDecoder;
  readonly endedIds: RecentIds;
  readonly resetIds: RecentIds;
  readonly resetBucket: TokenBucket;
  readonly ownResetBucket: TokenBucket;
  readonly glitchBucket: TokenBucket;
  nextId: number;
  /** The highest stream id that the peer has opened. */
  lastPeerId: number;
  sendWindow: number;
  /** Payload that waits in all streams' queues, and all that was ever sent: how the shell sees that nothing moves. */
  queuedBytes: number;
  sentBytes: number;
  receiveCredit: number;
  receiveWindow: number;
  /** What new streams may receive at first: 64 KiB, or more once messages on this connection have needed it. */
  initialReceiveWindow: number;
  receiveUnreturned: number;
  returnedAtMs: number;
  pingStrikes: number;
  lastPingAtMs: number;
  /** PINGs of ours that are not answered yet. */
  pingsUnanswered: number;
  /** WINDOW_UPDATEs that our DATA frames account for: two each, for the stream and for the connection. */
  updatesEarned: number;
  /** Header fields decoded in this turn. */
  turnFields: number;
  /** RST_STREAMs that may cross our end of a stream on the way: one for each stream that was opened. */
  lateResetsEarned: number;
  emptyDataInARow: number;
  prefaceMatched: number;
  held: Buffer | undefined;
  heldBytes: number;
  rest: Buffer | undefined;
  blockStreamId: number;
  blockFlags: number;
  block: Buffer[];
  blockBytes: number;
  blockFrames: number;
  dataStream: Http2Stream | undefined;
  dataRemaining: number;
  dataEnds: boolean;

  readonly #budget: WindowBudget;
  #grown: number;
  /** Readers hold so much unread that the connection's credit waits for them. */
  #isCreditHeld: boolean;
  #isDisposed: boolean;
  #pendingHead: Http2Stream | undefined;
  #pendingTail: Http2Stream | undefined;
  #isBlocked: boolean;
  /** What one stream may send before others have their turn. */
  #turnBytes: number;

  constructor(role: Http2Role, names: FieldNames, limits: Http2Limits, budget: WindowBudget) {
    this.role = role;
    this.limits = limits;
    this.output = new Output();
    this.encoder = new HpackEncoder(limits.tableBytesMax);
    this.streams = new StreamTable();
    this.peer = initialPeerSettings();
    this.hasPeerSettings = false;
    this.areSettingsAcked = false;
    this.isFailed = false;
    this.peerLastId = STREAM_ID_MAX;
    this.hasReceivedGoAway = false;
    this.ourLastId = STREAM_ID_MAX;
    this.hasSentGoAway = false;
    this.decoder = new HpackDecoder(names, {
      tableSizeMax: 4_096,
      fieldsMax: limits.fieldsMax,
      listBytesMax: limits.listBytesMax,
      fieldBytesMax: limits.fieldBytesMax,
    });
    this.endedIds = new RecentIds(64);
    // What was underway when a stream was reset belongs to the streams of one round trip, and to those that replaced them.
    this.resetIds = new RecentIds(Math.min(8_192, Math.max(256, limits.streamsMax * 2)));
    this.resetBucket = new TokenBucket(limits.resetBurst, limits.resetPerSecond);
    this.ownResetBucket = new TokenBucket(limits.resetBurst, limits.resetPerSecond);
    this.glitchBucket = new TokenBucket(limits.glitchBurst, limits.glitchPerSecond);
    this.nextId = role === "client" ? 1 : 2;
    this.lastPeerId = 0;
    this.sendWindow = DEFAULT_WINDOW;
    this.queuedBytes = 0;
    this.sentBytes = 0;
    this.receiveCredit = DEFAULT_WINDOW;
    this.receiveWindow = DEFAULT_WINDOW;
    this.initialReceiveWindow = limits.receiveWindow;
    this.receiveUnreturned = 0;
    this.returnedAtMs = 0;
    this.pingStrikes = 0;
    this.lastPingAtMs = -Infinity;
    this.pingsUnanswered = 0;
    this.updatesEarned = 0;
    this.turnFields = 0;
    this.lateResetsEarned = 0;
    this.emptyDataInARow = 0;
    this.prefaceMatched = role === "server" ? 0 : CLIENT_PREFACE.length;
    this.held = undefined;
    this.heldBytes = 0;
    this.rest = undefined;
    this.blockStreamId = 0;
    this.blockFlags = 0;
    this.block = [];
    this.blockBytes = 0;
    this.blockFrames = 0;
    this.dataStream = undefined;
    this.dataRemaining = 0;
    this.dataEnds = false;
    this.#budget = budget;
    this.#grown = 0;
    this.#isCreditHeld = false;
    this.#isDisposed = false;
    this.#pendingHead = undefined;
    this.#pendingTail = undefined;
    this.#isBlocked = false;
    this.#turnBytes = TURN_BYTES;
  }

  /** Writes what a connection begins with: the preface on a client, and our SETTINGS. */
  start(): void {
    if (this.role === "client") this.output.append(CLIENT_PREFACE, 0, CLIENT_PREFACE.length);
    const entries: number[] = [SETTING_MAX_HEADER_LIST_SIZE, this.limits.listBytesMax];
    if (this.role === "client") entries.push(SETTING_ENABLE_PUSH, 0);
    else entries.push(SETTING_MAX_CONCURRENT_STREAMS, this.limits.streamsMax);
    if (this.limits.receiveWindow !== DEFAULT_WINDOW) {
      entries.push(SETTING_INITIAL_WINDOW_SIZE, this.limits.receiveWindow);
    }
    const at = this.#control(FRAME_SETTINGS, 0, 0, entries.length * 3);
    for (let i = 0; i < entries.length; i += 2) {
      this.output.bytes[at + i * 3] = 0;
      this.output.bytes[at + i * 3 + 1] = entries[i] as number;
      writeUint32(this.output.bytes, at + i * 3 + 2, entries[i + 1] as number);
    }
  }

  /** Reads what arrived; events are appended to `events`. If `hasRest`, call {@link receiveRest} in the next turn. */
  receive(bytes: Buffer, nowMs: number, events: EventList): void {
    receive(this, bytes, nowMs, events);
  }
  /** Reads on where a turn's share of frames was used up. */
  receiveRest(nowMs: number, events: EventList): void {
    receiveRest(this, nowMs, events);
  }
  /** Frames of an earlier chunk wait for the next turn. */
  get hasRest(): boolean {
    return this.rest !== undefined;
  }

  // ---------------------------------------------------------------------------------------------------- streams

  /** A new stream may be opened now. */
  get canOpen(): boolean {
    return (
      !this.isFailed &&
      !this.hasReceivedGoAway &&
      !this.hasSentGoAway &&
      this.streams.count < this.peer.streamsMax &&
      this.nextId < STREAM_ID_MAX
    );
  }
  /** So many stream ids are used that a new connection should take over. */
  get isNearEndOfIds(): boolean {
    return this.nextId > DRAIN_ID;
  }

  /** Opens a stream of ours; the caller has asked {@link canOpen}. Its HEADERS must be sent in the same turn. */
  openStream(owner: unknown, nowMs: number): Http2Stream {
    const id = this.nextId;
    this.nextId += 2;
    const stream = new Http2Stream(id, STREAM_OURS, this.peer.initialWindow, this.initialReceiveWindow, nowMs);
    stream.owner = owner;
    this.addStream(stream);
    return stream;
  }

  /** Sends a header section: the stream's first, or interim; with `ends` it is also its last. */
  sendHeaders(stream: Http2Stream, source: HeaderSource, ends: boolean): void {
    if ((stream.flags & (STREAM_RESET | STREAM_LOCAL_ENDED)) !== 0) return;
    stream.flags |= STREAM_ANSWERED;
    this.pingStrikes = 0;
    const output = this.output;
    const most = source.headerBytesMax() + 16;
    if (most > this.peer.frameBytesMax) {
      this.#sendLargeHeaders(stream.id, source, most, ends);
    } else {
      output.reserve(most + FRAME_HEADER_BYTES);
      const start = output.at + FRAME_HEADER_BYTES;
      const begun = this.encoder.begin(output.bytes, start);
      const end = source.encodeHeaders(this.encoder, output.bytes, begun);
      const flags = ends ? FLAG_END_HEADERS | FLAG_END_STREAM : FLAG_END_HEADERS;
      writeFrameHeader(output.bytes, output.at, end - start, FRAME_HEADERS, flags, stream.id);
      output.at = end;
    }
    if (ends) this.#endLocal(stream);
  }

  /** Sends trailers, after what is still queued. */
  sendTrailers(stream: Http2Stream, source: HeaderSource): void {
    if (stream.queuedBytes > 0) {
      stream.trailers = source;
      return;
    }
    this.sendHeaders(stream, source, true);
  }

  /** Payload bytes that a DATA frame of this stream may carry right now; 0 while earlier payload waits. */
  dataRoom(stream: Http2Stream): number {
    if (
      stream.queuedBytes > 0 ||
      this.#isBlocked ||
      this.output.length >= OUTPUT_BYTES_MAX ||
      (stream.flags & (STREAM_RESET | STREAM_LOCAL_ENDED)) !== 0
    ) {
      return 0;
    }
    return Math.max(0, Math.min(stream.sendWindow, this.sendWindow, this.peer.frameBytesMax));
  }

  /**
   * Completes a DATA frame whose payload the caller wrote into `output.bytes` nine bytes after `output.at`;
   * `length` is at most what {@link dataRoom} allowed.
   */
  commitData(stream: Http2Stream, length: number, ends: boolean): void {
    const output = this.output;
    writeFrameHeader(output.bytes, output.at, length, FRAME_DATA, ends ? FLAG_END_STREAM : 0, stream.id);
    output.at += FRAME_HEADER_BYTES + length;
    stream.sendWindow -= length;
    this.sendWindow -= length;
    this.pingStrikes = 0;
    if (this.updatesEarned < EARNED_MAX) this.updatesEarned += 2;
    if (ends) this.#endLocal(stream);
  }

  /** Sends payload as windows allow; what does not fit now waits. The bytes must not change any more. */
  sendData(stream: Http2Stream, payload: Buffer, ends: boolean): void {
    if ((stream.flags & (STREAM_RESET | STREAM_LOCAL_ENDED)) !== 0) return;
    if (payload.length === 0) {
      if (ends && stream.queuedBytes > 0) {
        stream.endsAfterQueue = true;
      } else if (ends) {
        this.output.reserve(FRAME_HEADER_BYTES);
        this.commitData(stream, 0, true);
      }
      return;
    }
    stream.queue ??= [];
    stream.queue.push(payload);
    stream.queuedBytes += payload.length;
    this.queuedBytes += payload.length;
    if (ends) stream.endsAfterQueue = true;
    if ((stream.flags & STREAM_PENDING) === 0) stream.turnLeft = this.#turnBytes;
    this.#addPending(stream);
    // If others wait, nothing can go now: sending theirs from here would lose the events that tell them.
    if (this.#pendingHead === stream) this.pump(undefined);
  }

  /** The same for a payload that has its memory to itself, which is given back once it was sent: nobody may read it any more. */
  sendOwnData(stream: Http2Stream, payload: Buffer, ends: boolean): void {
    stream.spendable = payload;
    this.sendData(stream, payload, ends);
  }

  /** Ends our side without payload. */
  endStream(stream: Http2Stream): void {
    if (stream.queuedBytes > 0) stream.endsAfterQueue = true;
    else this.sendData(stream, EMPTY, true);
  }

  /** Resets the stream, unless it is closed. Its queue is dropped. */
  reset(stream: Http2Stream, code: number): void {
    if (stream.isClosed) return;
    this.#number(FRAME_RST_STREAM, stream.id, code);
    this.resetIds.add(stream.id);
    this.closeByReset(stream);
  }

  /** RST_STREAM for an id that has no stream object. */
  resetId(id: number, code: number): void {
    this.#number(FRAME_RST_STREAM, id, code);
    this.resetIds.add(id);
  }

  /** The layer above is done with the stream: once it is closed, its slot is free. */
  release(stream: Http2Stream): void {
    stream.flags |= STREAM_RELEASED;
    stream.owner = undefined;
    if (stream.isClosed) this.forget(stream);
  }

  // ------------------------------------------------------------------------------------------------ flow control

  /** The reader has taken `count` bytes of the stream's payload: its window may be returned, and grow. */
  consume(stream: Http2Stream, count: number, nowMs: number): void {
    stream.unconsumed -= count;
    stream.receiveUnreturned += count;
    if (this.#isCreditHeld) this.returnConnectionCredit(0, nowMs);
    if (stream.receiveUnreturned * 2 < stream.receiveWindow || stream.isClosed || stream.isRemoteEnded) return;
    let credit = stream.receiveUnreturned;
    const grow = Math.min(stream.receiveWindow, this.limits.streamWindowMax - stream.receiveWindow);
    if (stream.unconsumed === 0 && nowMs - stream.returnedAtMs < WINDOW_GROWTH_MS && grow > 0 && this.#growBy(grow)) {
      stream.receiveWindow += grow;
      credit += grow;
    }
    stream.receiveUnreturned = 0;
    stream.returnedAtMs = nowMs;
    stream.receiveCredit += credit;
    this.#number(FRAME_WINDOW_UPDATE, stream.id, credit);
  }

  /**
   * A reader waits for `bytes` more of one message, whose length it knows and has accepted: the window grows to hold them,
   * as far as limits and budget allow, so that a large message costs one round trip and not one per 64 KiB. True: it holds them all,
   * so that their memory is within the budget too.
   */
  expect(stream: Http2Stream, bytes: number): boolean {
    const missing = bytes - stream.receiveCredit - stream.receiveUnreturned;
    if (missing <= 0) return bytes <= this.limits.streamWindowMax;
    const wanted = Math.min(missing, this.limits.streamWindowMax - stream.receiveWindow);
    if (wanted <= 0 || stream.isClosed || stream.isRemoteEnded || !this.#growBy(wanted)) return false;
    const credit = wanted + stream.receiveUnreturned;
    stream.receiveWindow += wanted;
    stream.receiveUnreturned = 0;
    stream.receiveCredit += credit;
    this.#number(FRAME_WINDOW_UPDATE, stream.id, credit);
    return wanted === missing;
  }

  /**
   * Connection credit returns on receipt, so that a slow reader never holds up the other streams; unless all that is unread is over
   * the connection's limit.
   */
  returnConnectionCredit(count: number, nowMs: number): void {
    this.receiveUnreturned += count;
    if (this.receiveUnreturned * 2 < this.receiveWindow) return;
    this.#isCreditHeld = this.initialReceiveWindow > this.limits.receiveWindow && this.#isOverfull();
    if (this.#isCreditHeld) return;
    let credit = this.receiveUnreturned;
    const grow = Math.min(this.receiveWindow, this.limits.connectionWindowMax - this.receiveWindow);
    // Costs no memory: what is unread is bounded by the streams' windows.
    if (nowMs - this.returnedAtMs < WINDOW_GROWTH_MS && grow > 0) {
      this.receiveWindow += grow;
      credit += grow;
    }
    this.receiveUnreturned = 0;
    this.returnedAtMs = nowMs;
    this.receiveCredit += credit;
    this.#number(FRAME_WINDOW_UPDATE, 0, credit);
  }

  /** While blocked (the socket holds enough), payloads stay in their streams. Unblocking sends on. */
  setBlocked(isBlocked: boolean, events: EventList | undefined): void {
    this.#isBlocked = isBlocked;
    if (isBlocked) this.#turnBytes = SHORT_TURN_BYTES;
    if (!isBlocked) this.pump(events);
  }

  /** Sends queued payloads, a turn's bytes per stream, as far as windows and the output's bound allow. */
  pump(events: EventList | undefined): void {
    while (
      this.#pendingHead !== undefined &&
      this.sendWindow > 0 &&
      !this.#isBlocked &&
      this.output.length < OUTPUT_BYTES_MAX
    ) {
      const stream = this.#pendingHead;
      this.#pendingHead = stream.nextPending;
      stream.nextPending = undefined;
      if (this.#pendingHead === undefined) this.#pendingTail = undefined;
      stream.flags &= ~STREAM_PENDING;
      if (stream.queuedBytes === 0 || stream.sendWindow <= 0) continue;
      const before = stream.queuedBytes;
      this.#sendQueued(stream);
      stream.turnLeft -= before - stream.queuedBytes;
      if (stream.queuedBytes > 0) {
        if (stream.sendWindow > 0) this.#goOn(stream);
      } else {
        stream.queue = undefined;
        stream.queueOffset = 0;
        if (stream.trailers !== undefined) {
          const trailers = stream.trailers;
          stream.trailers = undefined;
          this.sendHeaders(stream, trailers, true);
        }
        if (events !== undefined && stream.owner !== undefined && !stream.isReset) {
          events.push(EVENT_WRITABLE, stream, 0, 0, 0, undefined);
        }
      }
    }
    if (this.#pendingHead === undefined) this.#turnBytes = TURN_BYTES;
  }

  /** Payload waits although the windows would let it go: pump again once output was taken. */
  get hasPending(): boolean {
    return this.#pendingHead !== undefined && this.sendWindow > 0 && !this.#isBlocked;
  }

  // ------------------------------------------------------------------------------------------------ connection

  /** Sends a PING that carries `number` (0..2^31-1), so that its answer can be told from others. */
  ping(number: number): void {
    this.pingsUnanswered += 1;
    const at = this.#control(FRAME_PING, 0, 0, 8);
    writeUint32(this.output.bytes, at, 0x686f6c64);
    writeUint32(this.output.bytes, at + 4, number);
  }

  /** Sends GOAWAY. `lastId` STREAM_ID_MAX announces it (RFC 9113 6.8), the real last id makes it final. */
  goAway(code: number, lastId: number, debug: string): void {
    const text = Buffer.from(debug, "latin1").subarray(0, 256);
    this.ourLastId = Math.min(lastId, this.ourLastId);
    this.hasSentGoAway = true;
    const at = this.#control(FRAME_GOAWAY, 0, 0, 8 + text.length);
    writeUint32(this.output.bytes, at, this.ourLastId);
    writeUint32(this.output.bytes, at + 4, code);
    this.output.bytes.set(text, at + 8);
  }

  /** Gives back what it holds of the process's window budget. Call once, when the connection is over. */
  dispose(): void {
    this.isFailed = true;
    this.#isDisposed = true;
    this.#budget.giveBack(this.#grown);
    this.#grown = 0;
    this.#isCreditHeld = false;
    this.#pendingHead = undefined;
    this.#pendingTail = undefined;
    this.dropPartial();
  }

  // --------------------------------------------------------------------------------- for receive.ts and this file

  /** Lets go of what has arrived in part. */
  dropPartial(): void {
    this.held = undefined;
    this.rest = undefined;
    this.block = [];
    this.dataStream = undefined;
  }

  /** Counts a stream as open; it is until {@link forget}. */
  addStream(stream: Http2Stream): void {
    const more = stream.receiveWindow - this.limits.receiveWindow;
    if (more > 0) this.#account(more);
    // Until the peer has acknowledged a smaller window, it may still use the default one (RFC 9113 6.9.3).
    if (!this.areSettingsAcked && stream.receiveCredit < DEFAULT_WINDOW) stream.receiveCredit = DEFAULT_WINDOW;
    this.streams.add(stream);
    if (this.lateResetsEarned < EARNED_MAX) this.lateResetsEarned += 1;
  }

  /** The peer has applied our SETTINGS. */
  settingsAcked(): void {
    this.areSettingsAcked = true;
    const shift = this.limits.receiveWindow - DEFAULT_WINDOW;
    if (shift < 0) for (const stream of this.streams.all()) stream.receiveCredit += shift;
  }

  ackSettings(): void {
    this.#control(FRAME_SETTINGS, FLAG_ACK, 0, 0);
  }

  answerPing(bytes: Buffer, start: number): void {
    const at = this.#control(FRAME_PING, FLAG_ACK, 0, 8);
    bytes.copy(this.output.bytes, at, start, start + 8);
  }

  /** Window has come: what waited for it may go. */
  wake(stream: Http2Stream): void {
    if (stream.queuedBytes > 0) this.#addPending(stream);
  }

  /** The stream ended by a reset, ours or the peer's. */
  closeByReset(stream: Http2Stream): void {
    stream.flags |= STREAM_RESET;
    stream.queue = undefined;
    stream.spendable = undefined;
    this.queuedBytes -= stream.queuedBytes;
    stream.queuedBytes = 0;
    stream.queueOffset = 0;
    stream.trailers = undefined;
    if ((stream.flags & STREAM_PENDING) !== 0) this.#removePending(stream);
    if (this.role === "client" || (stream.flags & STREAM_RELEASED) !== 0) this.forget(stream);
  }

  /** The peer has ended its side. */
  endRemote(stream: Http2Stream): void {
    stream.flags |= STREAM_REMOTE_ENDED;
    if ((stream.flags & STREAM_LOCAL_ENDED) !== 0) this.#closed(stream);
  }

  forget(stream: Http2Stream): void {
    this.streams.delete(stream);
    if (stream.receiveWindow > this.limits.receiveWindow && !this.#isDisposed) {
      const needed = stream.receiveWindow;
      const grown = needed - this.limits.receiveWindow;
      this.#grown -= grown;
      this.#budget.giveBack(grown);
      stream.receiveWindow = this.limits.receiveWindow;
      this.#learnWindow(needed);
    }
  }

  /**
   * Messages on this connection need larger windows: later streams begin with them. In steps of two, so that it takes a handful
   * of SETTINGS in a connection's life; never back, for a smaller one would cut into what is underway.
   */
  #learnWindow(needed: number): void {
    const window = Math.min(needed, this.limits.initialWindowMax, this.limits.streamWindowMax);
    const more = window - this.initialReceiveWindow;
    if (more < this.initialReceiveWindow || this.isFailed || this.#grown > this.limits.connectionWindowMax / 2) return;
    this.initialReceiveWindow = window;
    // It applies to open streams too (RFC 9113 6.9.2).
    for (const stream of this.streams.all()) {
      stream.receiveWindow += more;
      stream.receiveCredit += more;
      this.#account(more);
    }
    const at = this.#control(FRAME_SETTINGS, 0, 0, 6);
    this.output.bytes[at] = 0;
    this.output.bytes[at + 1] = SETTING_INITIAL_WINDOW_SIZE;
    writeUint32(this.output.bytes, at + 2, window);
  }

  /** Of what was promised already: whatever the budget says. */
  #account(bytes: number): void {
    this.#grown += bytes;
    this.#budget.take(bytes);
  }

  #isOverfull(): boolean {
    let unread = 0;
    for (const stream of this.streams.all()) unread += Math.max(0, stream.unconsumed);
    return unread > this.limits.connectionWindowMax;
  }

  #endLocal(stream: Http2Stream): void {
    stream.flags |= STREAM_LOCAL_ENDED;
    if ((stream.flags & STREAM_REMOTE_ENDED) !== 0) {
      this.#closed(stream);
    } else if (this.role === "server") {
      // The answer is complete: the rest of the request is of no use (RFC 9113 8.1).
      this.reset(stream, NO_ERROR);
    }
  }

  #closed(stream: Http2Stream): void {
    // Only a server tells late frames from wrong ones: a client ignores both.
    if (this.role === "server") this.endedIds.add(stream.id);
    // A call that ended in order lets the client cancel another one: deadlines that pass under load are no attack.
    this.resetBucket.giveBack();
    if (this.role === "client" || (stream.flags & STREAM_RELEASED) !== 0) this.forget(stream);
  }

  #growBy(bytes: number): boolean {
    if (this.#isDisposed || this.#grown + bytes > this.limits.connectionWindowMax) return false;
    if (!this.#budget.grant(bytes)) return false;
    this.#grown += bytes;
    return true;
  }

  #addPending(stream: Http2Stream): void {
    if ((stream.flags & STREAM_PENDING) !== 0) return;
    stream.flags |= STREAM_PENDING;
    if (this.#pendingTail === undefined) this.#pendingHead = stream;
    else this.#pendingTail.nextPending = stream;
    this.#pendingTail = stream;
  }

  /** For a stream that was reset while it waited. */
  #removePending(stream: Http2Stream): void {
    let before: Http2Stream | undefined;
    let at = this.#pendingHead;
    while (at !== undefined && at !== stream) {
      before = at;
      at = at.nextPending;
    }
    if (at === undefined) return;
    if (before === undefined) this.#pendingHead = stream.nextPending;
    else before.nextPending = stream.nextPending;
    if (this.#pendingTail === stream) this.#pendingTail = before;
    stream.nextPending = undefined;
    stream.flags &= ~STREAM_PENDING;
  }

  /** A stream goes on until its turn is used up; then it stands at the end of the line. */
  #goOn(stream: Http2Stream): void {
    if (stream.turnLeft <= 0) {
      stream.turnLeft = this.#turnBytes;
      this.#addPending(stream);
      return;
    }
    stream.flags |= STREAM_PENDING;
    stream.nextPending = this.#pendingHead;
    this.#pendingHead = stream;
    if (this.#pendingTail === undefined) this.#pendingTail = stream;
  }

  #sendQueued(stream: Http2Stream): void {
    const queue = stream.queue as Buffer[];
    const first = queue[0] as Buffer;
    const left = first.length - stream.queueOffset;
    const most = Math.min(this.peer.frameBytesMax, DATA_FRAME_BYTES_MAX);
    const length = Math.min(left, stream.sendWindow, this.sendWindow, most);
    const ends = stream.endsAfterQueue && stream.trailers === undefined && length === stream.queuedBytes;
    this.output.reserve(FRAME_HEADER_BYTES);
    writeFrameHeader(this.output.bytes, this.output.at, length, FRAME_DATA, ends ? FLAG_END_STREAM : 0, stream.id);
    this.output.at += FRAME_HEADER_BYTES;
    this.output.append(first, stream.queueOffset, stream.queueOffset + length);
    stream.sendWindow -= length;
    this.sendWindow -= length;
    stream.queuedBytes -= length;
    this.queuedBytes -= length;
    this.sentBytes += length;
    this.pingStrikes = 0;
    if (this.updatesEarned < EARNED_MAX) this.updatesEarned += 2;
    if (length === left) {
      queue.shift();
      stream.queueOffset = 0;
      if (first === stream.spendable) {
        stream.spendable = undefined;
        this.output.spend(first);
      }
    } else {
      stream.queueOffset += length;
    }
    if (ends) this.#endLocal(stream);
  }

  #sendLargeHeaders(id: number, source: HeaderSource, most: number, ends: boolean): void {
    const block = Buffer.allocUnsafe(most);
    const end = source.encodeHeaders(this.encoder, block, this.encoder.begin(block, 0));
    let at = 0;
    do {
      const length = Math.min(end - at, this.peer.frameBytesMax);
      const isLast = at + length === end;
      const type = at === 0 ? FRAME_HEADERS : FRAME_CONTINUATION;
      const flags = (isLast ? FLAG_END_HEADERS : 0) | (at === 0 && ends ? FLAG_END_STREAM : 0);
      const payload = this.#control(type, flags, id, length);
      block.copy(this.output.bytes, payload, at, at + length);
      at += length;
    } while (at < end);
  }

  /** Writes a whole small frame's header, reserves its payload and returns where the payload goes. */
  #control(type: number, flags: number, id: number, length: number): number {
    this.output.reserve(FRAME_HEADER_BYTES + length);
    const at = this.output.at;
    writeFrameHeader(this.output.bytes, at, length, type, flags, id);
    this.output.at = at + FRAME_HEADER_BYTES + length;
    return at + FRAME_HEADER_BYTES;
  }

  /** Writes a frame whose payload is one 32-bit number. */
  #number(type: number, id: number, value: number): void {
    const at = this.#control(type, 0, id, 4);
    writeUint32(this.output.bytes, at, value);
  }
}

const EMPTY = Buffer.alloc(0);
