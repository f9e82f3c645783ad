/**
 * Hot path: one stream's numbers, and the table that finds streams by id.
 *
 * The table is a ring of slots indexed by the id; a slot that is still held by a long-lived stream sends the newcomer to
 * an overflow Map. A Map alone, whose keys are ever new, makes V8 promote garbage: it cost three times the CPU.
 */
import type { HpackEncoder } from "./hpack-encoder.ts";

/** The peer has ended its side. */
export const STREAM_REMOTE_ENDED = 1;
/** We have ended our side. */
export const STREAM_LOCAL_ENDED = 2;
/** Either side has reset it. */
export const STREAM_RESET = 4;
/** The first header section has arrived. */
export const STREAM_HEADERS_SEEN = 8;
/** Trailers have arrived; nothing may follow. */
export const STREAM_TRAILERS_SEEN = 16;
/** The layer above is done with it, so that its slot is free (on a server: its handler has ended). */
export const STREAM_RELEASED = 32;
/** It stands in the list of streams with bytes to send. */
export const STREAM_PENDING = 64;
/** We opened it. */
export const STREAM_OURS = 128;
/** The peer has reset it, and may send nothing more on it. */
export const STREAM_PEER_RESET = 256;

/** We have sent headers on it. */
export const STREAM_ANSWERED = 512;

/** Who writes a header section, at the moment when its bytes enter the output and never earlier. */
export interface HeaderSource {
  /** An upper bound of the bytes that `encodeHeaders` writes. */
  headerBytesMax(): number;
  /** Writes the fields by `encoder` at `at` and returns the end. Called once per section. */
  encodeHeaders(encoder: HpackEncoder, out: Buffer, at: number): number;
}

/**
 * What one stream may send before others have their turn. Long while the network takes all we have, so that of several large
 * messages the first is complete, and worked on, while the next is underway; short once it does not, so that nobody waits long.
 * Messages that fit a frame and the windows do not stand in this line at all.
 */
export const TURN_BYTES = 1_048_576;
export const SHORT_TURN_BYTES = 16_384;

export class Http2Stream {
  readonly id: number;
  /** For the layer above. */
  owner: unknown;
  flags: number;
  /** What we may still send; may be negative after a SETTINGS change. */
  sendWindow: number;
  /** What the peer may still send. */
  receiveCredit: number;
  /** The size the receive window has grown to. */
  receiveWindow: number;
  /** Consumed and not yet returned. */
  receiveUnreturned: number;
  readonly openedAtMs: number;
  /** When the window was last returned, for its growth. */
  returnedAtMs: number;
  /** Received and not yet consumed. */
  unconsumed: number;
  /** content-length if declared, else -1; and what has arrived of it. */
  contentLength: number;
  contentReceived: number;
  /** Payloads waiting for window, oldest first; `queueOffset` into the first. */
  queue: Buffer[] | undefined;
  queueOffset: number;
  queuedBytes: number;
  /** The youngest payload of the queue whose memory is nobody's once it was sent. */
  spendable: Buffer | undefined;
  /** The queue's end is the stream's end. */
  endsAfterQueue: boolean;
  /** Trailers to be sent after the queue. */
  trailers: HeaderSource | undefined;
  /** Bytes that it may still send before the next stream's turn. */
  turnLeft: number;
  nextPending: Http2Stream | undefined;

  constructor(id: number, flags: number, sendWindow: number, receiveWindow: number, nowMs: number) {
    this.id = id;
    this.owner = undefined;
    this.flags = flags;
    this.sendWindow = sendWindow;
    this.receiveCredit = receiveWindow;
    this.receiveWindow = receiveWindow;
    this.receiveUnreturned = 0;
    this.openedAtMs = nowMs;
    this.returnedAtMs = nowMs;
    this.unconsumed = 0;
    this.contentLength = -1;
    this.contentReceived = 0;
    this.queue = undefined;
    this.queueOffset = 0;
    this.queuedBytes = 0;
    this.spendable = undefined;
    this.endsAfterQueue = false;
    this.trailers = undefined;
    this.turnLeft = 0;
    this.nextPending = undefined;
  }

  get isClosed(): boolean {
    return (
      (this.flags & STREAM_RESET) !== 0 ||
      (this.flags & (STREAM_REMOTE_ENDED | STREAM_LOCAL_ENDED)) === (STREAM_REMOTE_ENDED | STREAM_LOCAL_ENDED)
    );
  }
  get isRemoteEnded(): boolean {
    return (this.flags & STREAM_REMOTE_ENDED) !== 0;
  }
  get isLocalEnded(): boolean {
    return (this.flags & STREAM_LOCAL_ENDED) !== 0;
  }
  get isReset(): boolean {
    return (this.flags & STREAM_RESET) !== 0;
  }
}

const SLOTS_MIN = 8;
const SLOTS_MAX = 4_096;

export class StreamTable {
  count: number;
  #slots: (Http2Stream | undefined)[];
  #mask: number;
  #overflow: Map<number, Http2Stream> | undefined;

  constructor() {
    this.count = 0;
    this.#slots = new Array<Http2Stream | undefined>(SLOTS_MIN).fill(undefined);
    this.#mask = SLOTS_MIN - 1;
    this.#overflow = undefined;
  }

  get(id: number): Http2Stream | undefined {
    const stream = this.#slots[(id >>> 1) & this.#mask];
    if (stream !== undefined && stream.id === id) return stream;
    return this.#overflow === undefined ? undefined : this.#overflow.get(id);
  }

  add(stream: Http2Stream): void {
    this.count += 1;
    if (this.count > this.#slots.length >> 1 && this.#slots.length < SLOTS_MAX) this.#grow();
    this.#place(stream);
  }

  delete(stream: Http2Stream): void {
    const slot = (stream.id >>> 1) & this.#mask;
    if (this.#slots[slot] === stream) {
      this.#slots[slot] = undefined;
      this.count -= 1;
    } else if (this.#overflow?.delete(stream.id) === true) {
      this.count -= 1;
    }
  }

  /** All streams, oldest id first. For rare events (SETTINGS, GOAWAY, close). */
  all(): Http2Stream[] {
    const found: Http2Stream[] = [];
    for (const stream of this.#slots) if (stream !== undefined) found.push(stream);
    if (this.#overflow !== undefined) for (const stream of this.#overflow.values()) found.push(stream);
    return found.sort((x, y) => x.id - y.id);
  }

  #place(stream: Http2Stream): void {
    const slot = (stream.id >>> 1) & this.#mask;
    if (this.#slots[slot] === undefined) {
      this.#slots[slot] = stream;
      return;
    }
    this.#overflow ??= new Map();
    this.#overflow.set(stream.id, stream);
  }

  #grow(): void {
    const streams = this.all();
    const size = this.#slots.length * 2;
    this.#slots = new Array<Http2Stream | undefined>(size).fill(undefined);
    this.#mask = size - 1;
    this.#overflow = undefined;
    for (const stream of streams) this.#place(stream);
  }
}
