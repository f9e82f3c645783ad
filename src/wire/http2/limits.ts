/**
 * What a peer may do to a connection, as numbers and leaky counters. Sources: the limits of nghttp2, Go, Netty, Envoy
 * and h2 side by side in reliability.md 6.2, and the values chosen from them in 6.3.
 */

export interface Http2Limits {
  /** Streams a peer may have open at once, counting those whose handler still runs. */
  readonly streamsMax: number;
  /** Fields of one header section, cookie crumbs included. */
  readonly fieldsMax: number;
  /** Decoded bytes of one header section, 32 added for each field. */
  readonly listBytesMax: number;
  /** Decoded bytes of one field. */
  readonly fieldBytesMax: number;
  /** The most that our HPACK encoder's table holds. The decoder's has the default, 4,096 bytes. */
  readonly tableBytesMax: number;
  /** Frames of one header block after its HEADERS. */
  readonly continuationsMax: number;
  /** Compressed bytes of one header block. */
  readonly blockBytesMax: number;
  readonly settingsEntriesMax: number;
  /** Empty DATA frames in a row, on the whole connection. */
  readonly emptyDataMax: number;
  /** Frames read in one turn of the event loop; the rest waits for the next turn. */
  readonly framesPerTurnMax: number;
  /** Header fields decoded in one turn, give or take a block. */
  readonly fieldsPerTurnMax: number;
  readonly receiveWindow: number;
  /** Streams begin with at most this window, once earlier ones needed it. */
  readonly initialWindowMax: number;
  readonly streamWindowMax: number;
  readonly connectionWindowMax: number;
  /**
   * Streams that a peer resets: burst, then a rate per second, and one more for each stream that ends in order. The same burst and
   * rate, without more, for streams that we reset or refuse because of what the peer sent.
   */
  readonly resetBurst: number;
  readonly resetPerSecond: number;
  /** Things that a well-behaved peer rarely does: unknown frames, PRIORITY, late frames, useless WINDOW_UPDATE. */
  readonly glitchBurst: number;
  readonly glitchPerSecond: number;
  /** PINGs without a HEADERS or DATA frame from us between them, and closer than `pingGapMs`, before the connection ends. */
  readonly pingStrikesMax: number;
  readonly pingGapMs: number;
}

export const DEFAULT_HTTP2_LIMITS: Http2Limits = Object.freeze({
  streamsMax: 100,
  fieldsMax: 100,
  listBytesMax: 16_384,
  fieldBytesMax: 8_192,
  tableBytesMax: 4_096,
  continuationsMax: 8,
  blockBytesMax: 65_536,
  settingsEntriesMax: 32,
  emptyDataMax: 10,
  framesPerTurnMax: 4_096,
  fieldsPerTurnMax: 65_536,
  receiveWindow: 65_535,
  initialWindowMax: 1_048_576,
  streamWindowMax: 4 * 1_048_576,
  connectionWindowMax: 16 * 1_048_576,
  resetBurst: 200,
  resetPerSecond: 33,
  glitchBurst: 1_000,
  glitchPerSecond: 33,
  pingStrikesMax: 2,
  // The least keepalive of gRPC clients is 10 s; a second of it is for a network that delivers one PING late and the next in time.
  pingGapMs: 9_000,
});

/** A bucket that holds `burst` and fills at `perSecond`. */
export class TokenBucket {
  readonly #burst: number;
  readonly #perSecond: number;
  #tokens: number;
  #atMs: number;

  constructor(burst: number, perSecond: number) {
    this.#burst = burst;
    this.#perSecond = perSecond;
    this.#tokens = burst;
    this.#atMs = -Infinity;
  }

  /** Takes one; false if there was none. */
  take(nowMs: number): boolean {
    if (this.#atMs === -Infinity) this.#atMs = nowMs;
    const refill = ((nowMs - this.#atMs) * this.#perSecond) / 1_000;
    if (refill > 0) {
      this.#tokens = Math.min(this.#burst, this.#tokens + refill);
      this.#atMs = nowMs;
    }
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }

  /** Puts one back, if it was taken. */
  giveBack(): void {
    if (this.#tokens < this.#burst) this.#tokens = Math.min(this.#burst, this.#tokens + 1);
  }
}

/** Window bytes that all connections of a process may hold beyond their first 64 KiB. */
export class WindowBudget {
  readonly #bytesMax: number;
  #granted: number;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
    this.#granted = 0;
  }

  get granted(): number {
    return this.#granted;
  }
  /** Grants all of `bytes` or nothing. */
  grant(bytes: number): boolean {
    if (this.#granted + bytes > this.#bytesMax) return false;
    this.#granted += bytes;
    return true;
  }
  /** Counts what was promised already, though it be too much. */
  take(bytes: number): void {
    this.#granted += bytes;
  }
  giveBack(bytes: number): void {
    this.#granted = Math.max(0, this.#granted - bytes);
  }
}
