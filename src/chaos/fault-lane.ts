/**
 * One direction of a proxied connection: what came in, and what goes out when. Pure: bytes and the time come in, steps come
 * out. Bytes keep their order; none is lost, doubled or changed unless a fault says so.
 */
import { type LaneConditions, SOUND } from "./lane-conditions.ts";

/** What is to be done now. */
export type LaneStep =
  /** Hand these bytes to the other side, which owns them from then on. */
  | { readonly kind: "pass"; readonly bytes: Buffer }
  /** The sender has ended its stream: end it on the other side. The last step but `idle`. */
  | { readonly kind: "end" }
  /** The sender's side is broken: break the other. The last step but `idle`. */
  | { readonly kind: "break" }
  /** A fault ends the whole connection. The last step but `idle`. */
  | { readonly kind: "reset" | "limit" }
  /** Ask again then. */
  | { readonly kind: "wait"; readonly untilMs: number }
  /** Nothing, until something comes or changes. */
  | { readonly kind: "idle" };

/** Chunks that wait in one lane at most: many small ones weigh more than their bytes. */
const CHUNKS_MAX = 4_096;
/** What a limited bandwidth lets pass at once, as time. */
const PACE_MS = 20;

const IDLE: LaneStep = { kind: "idle" };

interface Parcel {
  /** Undefined: the end, or the break, of the stream. */
  readonly bytes: Buffer | undefined;
  readonly isBroken: boolean;
  readonly arrivedMs: number;
  dueMs: number;
}

export class FaultLane {
  /** Bytes that it let pass. */
  passedBytes = 0;
  /** Bytes that a silence, or the end of the other side, has taken. */
  lostBytes = 0;
  flippedBits = 0;
  private readonly bytesMax: number;
  private conditions: LaneConditions = SOUND;
  private parcels: Parcel[] = [];
  private held = 0;
  /** What of the first parcel has passed already. */
  private offset = 0;
  private lastDueMs = -Infinity;
  /** When the bandwidth has room again, and when the next slice may go. */
  private freeAtMs = -Infinity;
  private sliceAtMs = -Infinity;
  /** Passed since the conditions changed. */
  private countedBytes = 0;
  private isEnded = false;
  private isOver = false;
  private hasLost = false;

  /** Holds at most about `bytesMax` bytes: it asks for a pause before that. */
  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  /** Bytes that wait in it. */
  get heldBytes(): number {
    return this.held;
  }

  /** Whether its source should send no more for now. */
  get isFull(): boolean {
    return this.held >= this.bytesMax || this.parcels.length >= CHUNKS_MAX;
  }

  /** Whether its source may send again: half of it is free. */
  get hasRoom(): boolean {
    return this.held <= this.bytesMax / 2 && this.parcels.length <= CHUNKS_MAX / 2;
  }

  /** Whether the source has ended or broken. */
  get isSourceDone(): boolean {
    return this.isEnded;
  }

  /** Whether bytes, or an end, were swallowed by a silence that is over: the stream cannot go on. */
  get isTorn(): boolean {
    return this.hasLost && !this.conditions.isSilent && !this.isOver;
  }

  /** Takes bytes, which it owns from then on. */
  take(bytes: Buffer, nowMs: number): void {
    if (bytes.length === 0) return;
    if (this.isOver || this.isEnded) {
      this.lostBytes += bytes.length;
      return;
    }
    this.held += bytes.length;
    this.put(bytes, false, nowMs);
  }

  /** The source has ended its stream, or (`isBroken`) lost it. The first of these counts; a break after an end goes unseen. */
  sourceDone(isBroken: boolean, nowMs: number): void {
    if (this.isEnded) return;
    this.isEnded = true;
    if (!this.isOver) this.put(undefined, isBroken, nowMs);
  }

  /** Other conditions from now on, also for what waits: what was delayed is due as if they had held when it came. */
  change(conditions: LaneConditions, nowMs: number): void {
    this.conditions = conditions;
    this.countedBytes = 0;
    this.freeAtMs = -Infinity;
    this.sliceAtMs = -Infinity;
    this.lastDueMs = nowMs;
    for (const parcel of this.parcels) this.dueAfter(parcel);
  }

  /** The other side is gone: what waits, and what still comes, is lost. */
  stop(): void {
    this.isOver = true;
    this.dropAll();
  }

  /** The next step; asked until it says `wait` or `idle`. What it gives is done: nothing is given twice. */
  step(nowMs: number): LaneStep {
    const { conditions } = this;
    if (this.isOver) return IDLE;
    if (this.countedBytes >= conditions.endAfterBytes) return this.finish({ kind: conditions.endHow });
    if (conditions.isSilent) {
      this.hasLost ||= this.parcels.length > 0;
      this.dropAll();
      return IDLE;
    }
    const [first] = this.parcels;
    if (first === undefined || conditions.isStalled) return IDLE;
    const readyMs = first.bytes === undefined ? first.dueMs : Math.max(first.dueMs, this.freeAtMs, this.sliceAtMs);
    if (readyMs > nowMs) return { kind: "wait", untilMs: readyMs };
    if (first.bytes === undefined) return this.finish({ kind: first.isBroken ? "break" : "end" });
    return { kind: "pass", bytes: this.cut(first.bytes, nowMs) };
  }

  /** The next piece of the first parcel. */
  private cut(whole: Buffer, nowMs: number): Buffer {
    const { conditions } = this;
    const leftBytes = conditions.endAfterBytes - this.countedBytes;
    const pacedBytes = Math.max(1, Math.floor((conditions.bytesPerSecond * PACE_MS) / 1_000));
    const size = Math.min(whole.length - this.offset, conditions.sliceBytes, pacedBytes, leftBytes);
    const piece = whole.subarray(this.offset, this.offset + size);
    this.offset += size;
    if (this.offset === whole.length) {
      this.parcels.shift();
      this.offset = 0;
    }
    this.held -= size;
    this.countedBytes += size;
    this.passedBytes += size;
    for (const flips of conditions.flips) this.flippedBits += flips.damage(piece);
    this.pace(size, nowMs);
    return piece;
  }

  private pace(size: number, nowMs: number): void {
    const { bytesPerSecond, sliceBytes, sliceDelayMs } = this.conditions;
    if (bytesPerSecond < Infinity) {
      // A timer that came late does not lower the rate; a pause does not save up for later.
      const fromMs = this.freeAtMs > nowMs - PACE_MS ? this.freeAtMs : nowMs;
      this.freeAtMs = fromMs + (size / bytesPerSecond) * 1_000;
    }
    if (sliceBytes < Infinity) this.sliceAtMs = nowMs + sliceDelayMs;
  }

  private put(bytes: Buffer | undefined, isBroken: boolean, nowMs: number): void {
    const parcel = { bytes, isBroken, arrivedMs: nowMs, dueMs: nowMs };
    this.dueAfter(parcel);
    this.parcels.push(parcel);
  }

  /** When a parcel is due: after its delay, and never before the one that came before it. */
  private dueAfter(parcel: Parcel): void {
    const { delays, endDelayMs } = this.conditions;
    let delayMs = parcel.bytes === undefined ? endDelayMs : 0;
    for (const { latencyMs, jitterMs, random } of delays) {
      const driftMs = jitterMs === 0 ? 0 : jitterMs * (2 * random.float() - 1);
      delayMs += Math.max(0, latencyMs + driftMs);
    }
    parcel.dueMs = Math.max(this.lastDueMs, parcel.arrivedMs + delayMs);
    this.lastDueMs = parcel.dueMs;
  }

  private finish(step: LaneStep): LaneStep {
    this.isOver = true;
    this.dropAll();
    return step;
  }

  private dropAll(): void {
    this.lostBytes += this.held;
    this.held = 0;
    this.offset = 0;
    this.parcels = [];
  }
}
