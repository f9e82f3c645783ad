/**
 * The quarantine of poison: a request that was on two connections which died is suspected of killing its servers, and for a minute this
 * client sends no request with the same method and payload. Bounded in number and time; costs one branch while it is empty.
 */
import type { Options } from "../../call/options.ts";
import { numberOption, resolveOptions } from "../../call/options.ts";

export type QuarantineOptions = Options<{
  /** How long a request is held, in milliseconds, from when it was last added. Default 60 000, 1 000..3 600 000. */
  holdMs: number;
  /** Requests held at once; at the limit the one that was added first goes. Default 1 024, 1..65 536. */
  entriesMax: number;
}>;

const SHAPE = {
  holdMs: numberOption({ default: 60_000, min: 1_000, max: 3_600_000 }),
  entriesMax: numberOption({ default: 1_024, min: 1, max: 65_536, integer: true }),
};

/** Requests that are not sent for a while, by method, payload hash and size. */
export class Quarantine {
  private readonly holdMs: number;
  private readonly entriesMax: number;
  /** Request -> held until. All are held equally long, so the order of insertion is the order in which they end. */
  private readonly untilMs: Map<string, number>;

  constructor(options?: QuarantineOptions) {
    const { holdMs, entriesMax } = resolveOptions("poison", options, SHAPE);
    this.holdMs = holdMs;
    this.entriesMax = entriesMax;
    this.untilMs = new Map();
  }

  /** True: nothing is held, and no payload needs to be hashed. What has ended is noticed when {@link holds} is next asked. */
  get isEmpty(): boolean {
    return this.untilMs.size === 0;
  }

  /** Holds a request: its method's path, a 32-bit hash of its encoded payload and how many bytes that has. */
  add(path: string, hash: number, bytes: number, nowMs: number): void {
    this.release(nowMs);
    const key = keyOf(path, hash, bytes);
    // Taken out first, so that it goes to the end.
    this.untilMs.delete(key);
    if (this.untilMs.size >= this.entriesMax) this.dropFirst();
    this.untilMs.set(key, nowMs + this.holdMs);
  }

  /** Whether a request must not be sent. */
  holds(path: string, hash: number, bytes: number, nowMs: number): boolean {
    if (this.untilMs.size === 0) return false;
    this.release(nowMs);
    const untilMs = this.untilMs.get(keyOf(path, hash, bytes));
    return untilMs !== undefined && nowMs < untilMs;
  }

  private release(nowMs: number): void {
    for (const [key, untilMs] of this.untilMs) {
      if (untilMs > nowMs) return;
      this.untilMs.delete(key);
    }
  }

  private dropFirst(): void {
    for (const key of this.untilMs.keys()) {
      this.untilMs.delete(key);
      return;
    }
  }
}

/** The hash is signed or unsigned, as its maker likes. */
function keyOf(path: string, hash: number, bytes: number): string {
  return `${hash >>> 0} ${bytes} ${path}`;
}
