/**
 * How often a client resets streams. Servers take many resets for an attack (CVE-2023-44487) and end the connection, the calls
 * of others with it: nghttp2 and ours above 33 a second. A stream that is left beyond the pace goes on, its data dropped, until it
 * ends by itself or its turn to be reset has come: one that would never end does not keep its place among the peer's streams.
 */
import { CANCEL } from "../http2/frame.ts";
import { TokenBucket } from "../http2/limits.ts";
import type { Http2Stream } from "../http2/stream.ts";
import type { Runtime } from "./runtime.ts";
import { WheelEntry } from "./timer-wheel.ts";

const BURST = 100;
const PER_SECOND = 25;
/** Between two looks at the streams that were left. */
const LOOK_MS = 1_000 / PER_SECOND;
/** Places at the front of the list that are empty before it is cut. */
const CUT_AT = 64;

/** The connection that the streams are on. */
export interface ResetPaceOwner {
  readonly runtime: Runtime;
  resetLeft(stream: Http2Stream, code: number): void;
}

export class ResetPace extends WheelEntry {
  readonly #owner: ResetPaceOwner;
  readonly #bucket: TokenBucket;
  /** Left and perhaps not yet ended, oldest first; from `#first` on. */
  #left: Http2Stream[];
  #first: number;

  constructor(owner: ResetPaceOwner) {
    super();
    this.#owner = owner;
    this.#bucket = new TokenBucket(BURST, PER_SECOND);
    this.#left = [];
    this.#first = 0;
  }

  /** Whether one more reset is within the pace; counts it. */
  take(): boolean {
    return this.#bucket.take(this.#owner.runtime.world.clock.monotonicMs());
  }

  /** A stream that could not be reset now. */
  add(stream: Http2Stream): void {
    this.#left.push(stream);
    if (!this.isArmed) this.#arm(this.#owner.runtime.world.clock.monotonicMs());
  }

  /** The connection is over. */
  stop(): void {
    this.#owner.runtime.wheel.cancel(this);
    this.#left = [];
    this.#first = 0;
  }

  expired(nowMs: number): void {
    while (this.#first < this.#left.length) {
      const stream = this.#left[this.#first] as Http2Stream;
      if (!stream.isClosed) {
        if (!this.#bucket.take(nowMs)) break;
        this.#owner.resetLeft(stream, CANCEL);
      }
      this.#first += 1;
    }
    if (this.#first >= CUT_AT || this.#first === this.#left.length) {
      this.#left.splice(0, this.#first);
      this.#first = 0;
    }
    if (this.#left.length > 0) this.#arm(nowMs);
  }

  #arm(nowMs: number): void {
    this.#owner.runtime.wheel.arm(this, nowMs + LOOK_MS);
  }
}
