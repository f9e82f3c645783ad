/**
 * Hot path: the deadlines of calls, in a hierarchical timing wheel (Varghese and Lauck, SOSP 1987). Arming and cancelling
 * link and unlink an entry and allocate nothing; all entries of a wheel share one timer of the world.
 *
 * Three levels of 256 slots (1 ms, 256 ms, 65.5 s) cover the block of 2^24 ms (4.7 h) that the cursor is in; what is due
 * in a later block waits in an overflow list. An entry lies in the lowest level whose block it shares with the cursor, so
 * the slots before the cursor are always empty and the earliest entry is in the first non-empty slot of the lowest
 * non-empty level, which bitmaps find. When the cursor enters a slot of a higher level, its entries move down.
 *
 * Invariants: an entry never expires before its due time; the world's timer is never later than the earliest entry; a
 * bit is set exactly when its list is not empty.
 */
import type { Clock } from "../../world/clock.ts";
import type { Timer, Timers } from "../../world/timers.ts";

/** Slots of a level, and the words of its bitmap. */
const SLOTS = 256;
const WORDS = SLOTS / 32;
/** The first slot of the second and third level, and the lists after the levels. */
const SECOND = SLOTS;
const THIRD = 2 * SLOTS;
const OVERFLOW = 3 * SLOTS;
const FIRING = OVERFLOW + 1;
/** Milliseconds that the three levels cover. */
const BLOCK_MS = 2 ** 24;
/** `slot` of an entry that waits nowhere. */
const NOWHERE = -1;

/**
 * What can wait in a wheel: extend it and say what happens in `expired`. An entry belongs to one wheel for its life.
 */
export abstract class WheelEntry {
  /** When it is due, on the scale of `Clock.monotonicMs`; NaN if it was never armed. Set by {@link TimerWheel.arm}. */
  dueMs: number;
  /** The wheel's own, like the links: which list this is in. */
  wheelSlot: number;
  wheelPrevious: WheelEntry | undefined;
  wheelNext: WheelEntry | undefined;

  constructor() {
    // NaN and not 0, so that the field is a double from the start and arming never changes the shape.
    this.dueMs = Number.NaN;
    this.wheelSlot = NOWHERE;
    this.wheelPrevious = undefined;
    this.wheelNext = undefined;
  }

  /** Whether it waits to expire. False already inside `expired`. */
  get isArmed(): boolean {
    return this.wheelSlot !== NOWHERE;
  }

  /** Its time has come: called once per arming, at or after `dueMs`. May arm and cancel any entry, itself too. */
  abstract expired(nowMs: number): void;
}

/**
 * Entries expire at most 1 ms, plus the lateness of the world's timer, after they are due; those due in the past in the
 * next turn. Entries of the same millisecond expire in the order in which they were armed, unless they were armed
 * at different distances. What an `expired` throws takes no other entry with it: it is thrown on by itself after the turn.
 */
export class TimerWheel {
  private readonly clock: Clock;
  private readonly timers: Timers;
  /** First entry of each list; lists are rings, so its `wheelPrevious` is the last. */
  private readonly heads: (WheelEntry | undefined)[];
  /** A bit per list: three levels, then a word for overflow and firing. */
  private readonly bits: Int32Array;
  /** Start of the block of the levels, in whole milliseconds of the clock. */
  private baseMs: number;
  /** In 0 .. BLOCK_MS - 1, from baseMs: everything due before was taken out. */
  private cursor: number;
  private armed: number;
  /** The world's timer fires no later than this; Infinity without one, -Infinity while entries expire. */
  private wakeMs: number;
  private timer: Timer | undefined;
  private readonly wake: () => void;

  constructor(clock: Clock, timers: Timers) {
    this.clock = clock;
    this.timers = timers;
    this.heads = new Array<WheelEntry | undefined>(FIRING + 1).fill(undefined);
    this.bits = new Int32Array(3 * WORDS + 1);
    this.baseMs = 0;
    this.cursor = 0;
    this.armed = 0;
    this.wakeMs = Number.POSITIVE_INFINITY;
    this.timer = undefined;
    this.wake = () => this.turn();
  }

  /** How many entries are armed. */
  get size(): number {
    return this.armed;
  }

  /**
   * Lets `entry` expire at `dueMs`, on the scale of `Clock.monotonicMs`, fractions allowed; one that is armed is moved.
   * Infinity means never. Throws a RangeError for NaN.
   */
  arm(entry: WheelEntry, dueMs: number): void {
    if (Number.isNaN(dueMs)) throw new RangeError("dueMs must be a number, got NaN");
    if (entry.wheelSlot !== NOWHERE) this.unlink(entry);
    const tick = Math.ceil(dueMs);
    if (tick < this.wakeMs) this.armFirst(tick);
    entry.dueMs = dueMs;
    this.place(entry, tick);
  }

  /** Takes `entry` out; does nothing if it is not armed. The world's timer is left alone: at worst it wakes for nothing. */
  cancel(entry: WheelEntry): void {
    if (entry.wheelSlot !== NOWHERE) this.unlink(entry);
  }

  /** An entry is due before the world's timer, so before everything else that waits. */
  private armFirst(tick: number): void {
    const nowMs = this.clock.monotonicMs();
    if (this.armed === 0) this.restart(Math.floor(nowMs));
    this.setTimer(Math.min(tick, this.baseMs + BLOCK_MS), nowMs);
  }

  /** An empty wheel follows the clock at no cost. */
  private restart(tick: number): void {
    this.baseMs = tick;
    this.cursor = 0;
  }

  private setTimer(wakeMs: number, nowMs: number): void {
    this.timer?.cancel();
    this.wakeMs = wakeMs;
    this.timer = this.timers.schedule(Math.max(0, wakeMs - nowMs), this.wake);
  }

  /** The world's timer: takes out what is due, lets it expire, and sets the timer for the next. */
  private turn(): void {
    this.timer = undefined;
    this.wakeMs = Number.NEGATIVE_INFINITY;
    const nowMs = this.clock.monotonicMs();
    this.collect(Math.floor(nowMs));
    for (let entry = this.heads[FIRING]; entry !== undefined; entry = this.heads[FIRING]) {
      this.unlink(entry);
      try {
        entry.expired(nowMs);
      } catch (error) {
        this.timers.afterTurn(() => {
          throw error;
        });
      }
    }
    this.wakeMs = Number.POSITIVE_INFINITY;
    const slot = this.firstSlot();
    if (slot !== NOWHERE) this.setTimer(this.baseMs + this.startOf(slot), this.clock.monotonicMs());
  }

  /** Moves everything due at `tick` or before into the list of what fires, in the order of time, and the cursor to `tick`. */
  private collect(tick: number): void {
    for (;;) {
      const slot = this.firstSlot();
      if (slot === NOWHERE) {
        this.restart(tick);
        return;
      }
      const start = this.startOf(slot);
      if (this.baseMs + start > tick) break;
      if (slot < SECOND) {
        this.cursor = start;
        this.moveAll(slot, FIRING);
      } else {
        if (slot === OVERFLOW) this.restart(this.baseMs + BLOCK_MS);
        else this.cursor = start;
        this.moveAll(slot, NOWHERE);
      }
    }
    // Everything left starts after `tick`, so the cursor crosses no slot that is not empty.
    this.cursor = tick - this.baseMs;
  }

  /** Empties a list into another, or (NOWHERE) to where each entry belongs now. */
  private moveAll(from: number, to: number): void {
    const head = this.heads[from];
    if (head === undefined) return;
    // Cut off first: an entry of the overflow list may go back to it.
    this.heads[from] = undefined;
    this.clearBit(from);
    let entry: WheelEntry | undefined = head;
    do {
      const next: WheelEntry | undefined = entry.wheelNext;
      this.armed -= 1;
      if (to === NOWHERE) this.place(entry, Math.ceil(entry.dueMs));
      else this.link(entry, to);
      entry = next;
    } while (entry !== undefined && entry !== head);
  }

  private place(entry: WheelEntry, tick: number): void {
    const after = tick - this.baseMs;
    if (after >= BLOCK_MS) {
      this.link(entry, OVERFLOW);
      return;
    }
    const { cursor } = this;
    const at = after > cursor ? after | 0 : cursor;
    const apart = at ^ cursor;
    if (apart < 0x100) this.link(entry, at & 0xff);
    else if (apart < 0x10000) this.link(entry, SECOND + ((at >> 8) & 0xff));
    else this.link(entry, THIRD + (at >> 16));
  }

  private link(entry: WheelEntry, slot: number): void {
    const head = this.heads[slot];
    if (head === undefined) {
      entry.wheelNext = entry;
      entry.wheelPrevious = entry;
      this.heads[slot] = entry;
      const word = slot >> 5;
      this.bits[word] = (this.bits[word] ?? 0) | (1 << (slot & 31));
    } else {
      const last = head.wheelPrevious ?? head;
      last.wheelNext = entry;
      entry.wheelPrevious = last;
      entry.wheelNext = head;
      head.wheelPrevious = entry;
    }
    entry.wheelSlot = slot;
    this.armed += 1;
  }

  private unlink(entry: WheelEntry): void {
    const { wheelSlot: slot, wheelNext: next, wheelPrevious: previous } = entry;
    if (next === entry || next === undefined || previous === undefined) {
      this.heads[slot] = undefined;
      this.clearBit(slot);
    } else {
      previous.wheelNext = next;
      next.wheelPrevious = previous;
      if (this.heads[slot] === entry) this.heads[slot] = next;
    }
    // Links of the gone keep the dead alive: an old entry that points to young ones makes V8 promote garbage.
    entry.wheelNext = undefined;
    entry.wheelPrevious = undefined;
    entry.wheelSlot = NOWHERE;
    this.armed -= 1;
  }

  private clearBit(slot: number): void {
    const word = slot >> 5;
    this.bits[word] = (this.bits[word] ?? 0) & ~(1 << (slot & 31));
  }

  /** The list that is due first: the first set bit, as slots before the cursor are empty. NOWHERE if none waits. */
  private firstSlot(): number {
    for (let word = 0; word < 3 * WORDS; word += 1) {
      const set = this.bits[word] ?? 0;
      if (set !== 0) return (word << 5) + 31 - Math.clz32(set & -set);
    }
    return this.heads[OVERFLOW] === undefined ? NOWHERE : OVERFLOW;
  }

  /** When a list begins to be due, in milliseconds from the base. */
  private startOf(slot: number): number {
    if (slot < SECOND) return (this.cursor & ~0xff) | slot;
    if (slot < THIRD) return (this.cursor & ~0xffff) | ((slot - SECOND) << 8);
    return slot < OVERFLOW ? (slot - THIRD) << 16 : BLOCK_MS;
  }
}
