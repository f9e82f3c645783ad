/**
 * The core of a simulated world: one virtual clock, one queue of events, one seed, one log, and the turns of the
 * processes in it. It knows neither hosts nor networks. Who moves the clock, and until when, is the driver's.
 */
import { crc32 } from "node:zlib";
import type { Random } from "../world/random.ts";
import { seededRandom } from "../world/seeded-random.ts";
import { EventLog } from "./event-log.ts";
import { EventQueue, type ScheduledEvent } from "./event-queue.ts";

/** Something whose code runs in turns, as an event loop's does. */
export interface TurnTaker {
  /** Whether it waits in {@link Universe}'s list. The universe writes it. */
  isInTurn: boolean;
  /** Makes at most one call to user code; false when there was none to make. */
  runOne(): boolean;
}

/** So many calls of user code in one instant can only be a loop that never lets time pass. */
const callsPerInstantMax = 1_000_000;

export class Universe {
  readonly seed: number;
  readonly log = new EventLog();
  nowMs = 0;
  /** Events fired so far, timers included. */
  eventsFired = 0;
  private readonly queue = new EventQueue();
  private readonly turns: TurnTaker[] = [];
  private turnHead = 0;
  private callsThisInstant = 0;

  constructor(seed: number) {
    this.seed = seed;
  }

  /** A stream of chance of its own for everything that has a name, so that a new name does not shift the others. */
  random(name: string): Random {
    return seededRandom(mixed(crc32(`${this.seed}/${name}`)));
  }

  schedule(event: ScheduledEvent, atMs: number): void {
    this.queue.add(event, atMs > this.nowMs ? atMs : this.nowMs);
  }

  cancel(event: ScheduledEvent): void {
    this.queue.remove(event);
  }

  /** Events that will happen. */
  get pending(): number {
    return this.queue.size;
  }

  /** Gives `taker` a turn at this instant, after those who asked before. */
  giveTurn(taker: TurnTaker): void {
    if (taker.isInTurn) return;
    taker.isInTurn = true;
    this.turns.push(taker);
  }

  /**
   * Goes on until one call to user code was made ("ran"), or until the next event lies after `limitMs` ("limit") or
   * there is none ("empty"). Time moves only when nobody has a turn left.
   */
  step(limitMs: number): "ran" | "limit" | "empty" {
    for (;;) {
      if (this.runTurn()) return "ran";
      const next = this.queue.peek();
      if (next === undefined) return "empty";
      if (next.atMs > limitMs) return "limit";
      this.moveTo(next.atMs);
      this.fireInstant();
    }
  }

  /** Moves the clock; nothing may be due before. */
  moveTo(timeMs: number): void {
    if (timeMs <= this.nowMs) return;
    this.nowMs = timeMs;
    this.callsThisInstant = 0;
  }

  private runTurn(): boolean {
    for (;;) {
      const taker = this.turns[this.turnHead];
      if (taker === undefined) {
        this.turns.length = 0;
        this.turnHead = 0;
        return false;
      }
      if (taker.runOne()) {
        if (++this.callsThisInstant > callsPerInstantMax) {
          this.callsThisInstant = 0;
          throw new Error(
            `virtual time stands still: ${callsPerInstantMax} calls at ${this.nowMs} ms (seed ${this.seed})`,
          );
        }
        return true;
      }
      taker.isInTurn = false;
      this.turnHead++;
    }
  }

  /** Fires all events of this instant, in order. None of them calls user code: they only give turns. */
  private fireInstant(): void {
    for (;;) {
      const event = this.queue.peek();
      if (event === undefined || event.atMs > this.nowMs) return;
      this.queue.remove(event);
      this.eventsFired++;
      event.fire();
    }
  }
}

/** Spreads a CRC's bits: CRCs of similar names are similar. (The finaliser of MurmurHash3.) */
function mixed(value: number): number {
  let hash = value ^ (value >>> 16);
  hash = Math.imul(hash, 0x85ebca6b);
  hash ^= hash >>> 13;
  hash = Math.imul(hash, 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
