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

const DEFAULTS = resolveOptions("poison", undefined, SHAPE);

/** Requests that are not sent for a while, by method, payload hash and size. */
export class Quarantine {
  private readonly holdMs: number;
  private readonly entriesMax: number;
  /** Request -> held until. All are held equally long, so the order of insertion is the order in which they end. */
  private untilMs: Map<string, number> | undefined;

  constructor(options?: QuarantineOptions) {
    const { holdMs, entriesMax } = options === undefined ? DEFAULTS : resolveOptions("poison", options, SHAPE);
    this.holdMs = holdMs;
    this.entriesMax = entriesMax;
    this.untilMs = undefined;
  }

  /** True: nothing is held, and no payload needs to be hashed. What has ended is noticed when {@link holds} is next asked. */
  get isEmpty(): boolean {
    return this.untilMs === undefined || this.untilMs.size === 0;
  }

  /** Holds a request: its method's path, a 32-bit hash of its encoded payload and how many bytes that has. */
  add(path: string, hash: number, bytes: number, nowMs: number): void {
    const held = (this.untilMs ??= new Map<string, number>());
    release(held, nowMs);
    const key = keyOf(path, hash, bytes);
    // Taken out first, so that it goes to the end.
    held.delete(key);
    if (held.size >= this.entriesMax) dropFirst(held);
    held.set(key, nowMs + this.holdMs);
  }

  /** Whether a request must not be sent. */
  holds(path: string, hash: number, bytes: number, nowMs: number): boolean {
    const held = this.untilMs;
    if (held === undefined || held.size === 0) return false;
    release(held, nowMs);
    const untilMs = held.get(keyOf(path, hash, bytes));
    return untilMs !== undefined && nowMs < untilMs;
  }
}

function release(held: Map<string, number>, nowMs: number): void {
  for (const [key, untilMs] of held) {
    if (untilMs > nowMs) return;
    held.delete(key);
  }
}

function dropFirst(held: Map<string, number>): void {
  for (const key of held.keys()) {
    held.delete(key);
    return;
  }
}

/** The hash is signed or unsigned, as its maker likes. */
function keyOf(path: string, hash: number, bytes: number): string {
  return `${hash >>> 0} ${bytes} ${path}`;
}
