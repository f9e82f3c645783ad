/**
 * One simulated process: an event loop with Node's order (due timers, then I/O, then what waits for the end of the
 * turn), the timers in it, and the World its program sees. It ends with its crash; a restart is a new process, so
 * that nothing of the old one can reach the new one.
 */
import type { Clock } from "../world/clock.ts";
import type { Timer, Timers } from "../world/timers.ts";
import type { World } from "../world/world.ts";
import { ScheduledEvent } from "./event-queue.ts";
import type { Host } from "./host.ts";
import type { TurnTaker, Universe } from "./universe.ts";

/** What waits in a process's I/O phase. */
export interface IoTask {
  /** Whether it waits already. The process writes it. */
  isPosted: boolean;
  /** Makes one call to user code at most; false when it has none to make. It stays posted until then. */
  runOne(): boolean;
}

/** "The next turn" takes the smallest step of virtual time, so that a loop of such waits cannot stop the clock. */
const delayMsMin = 1 / 1024;

export class Process implements TurnTaker {
  readonly host: Host;
  readonly world: World;
  readonly clock: Clock;
  readonly timers: Timers;
  isInTurn = false;
  isAlive = true;
  private readonly universe: Universe;
  private dueTimers: ProcessTimer[] = [];
  private dueHead = 0;
  private io: IoTask[] = [];
  private ioHead = 0;
  private afterTurns: (() => void)[] = [];
  /** Those of `afterTurns` that the current end of turn runs; the rest waits for the next. */
  private afterTurnsNow = 0;
  private afterHead = 0;

  constructor(universe: Universe, host: Host, makeWorld: (process: Process) => World) {
    this.universe = universe;
    this.host = host;
    this.clock = {
      monotonicMs: () => host.monotonicStartMs + universe.nowMs,
      wallMs: () => host.wallStartMs + universe.nowMs,
    };
    this.timers = {
      schedule: (delayMs, callback) => this.schedule(delayMs, callback),
      // A simulated process ends when it is told to.
      hold: () => ({ cancel: () => {} }),
      afterTurn: (callback) => this.afterTurn(callback),
    };
    this.world = makeWorld(this);
  }

  schedule(delayMs: number, callback: () => void): Timer {
    if (!Number.isFinite(delayMs)) throw new RangeError(`delayMs must be finite, got ${delayMs}`);
    const timer = new ProcessTimer(this, callback);
    if (this.isAlive) this.universe.schedule(timer, this.universe.nowMs + Math.max(delayMs, delayMsMin));
    return timer;
  }

  /** Puts a task into the I/O phase of the next turn, once. */
  post(task: IoTask): void {
    if (task.isPosted || !this.isAlive) return;
    task.isPosted = true;
    this.io.push(task);
    this.wake();
  }

  /** Ends it: nothing of it runs any more. */
  kill(): void {
    this.isAlive = false;
    this.dueTimers = [];
    this.io = [];
    this.afterTurns = [];
    this.dueHead = this.ioHead = this.afterHead = this.afterTurnsNow = 0;
  }

  /** Asks for a turn if there is anything to do and it may run. */
  wake(): void {
    if (!this.isAlive || this.host.isFrozen) return;
    if (this.dueTimers.length + this.io.length + this.afterTurns.length > 0) this.universe.giveTurn(this);
  }

  runOne(): boolean {
    if (!this.isAlive || this.host.isFrozen) return false;
    // The end of a turn is not interrupted by what became ready during it: that is the next turn's.
    if (this.afterHead < this.afterTurnsNow) return this.runAfterTurn();
    return this.runTimer() || this.runIo() || this.runAfterTurn();
  }

  /** For {@link ProcessTimer}. */
  timerDue(timer: ProcessTimer): void {
    if (!this.isAlive) return;
    this.dueTimers.push(timer);
    this.wake();
  }

  /** For {@link ProcessTimer}. */
  timerCancelled(timer: ProcessTimer): void {
    this.universe.cancel(timer);
  }

  private afterTurn(callback: () => void): void {
    if (!this.isAlive) return;
    this.afterTurns.push(callback);
    this.wake();
  }

  private runTimer(): boolean {
    while (this.dueHead < this.dueTimers.length) {
      const timer = this.dueTimers[this.dueHead++];
      if (timer?.run() === true) return true;
    }
    if (this.dueHead > 0) {
      this.dueTimers.length = 0;
      this.dueHead = 0;
    }
    return false;
  }

  private runIo(): boolean {
    for (;;) {
      const task = this.io[this.ioHead];
      if (task === undefined) break;
      if (task.runOne()) return true;
      // It may have been posted again from inside of its last call: it found nothing to do, so that is settled too.
      task.isPosted = false;
      this.ioHead++;
    }
    this.io.length = 0;
    this.ioHead = 0;
    return false;
  }

  private runAfterTurn(): boolean {
    if (this.afterHead === this.afterTurnsNow) {
      this.afterTurns.splice(0, this.afterHead);
      this.afterHead = 0;
      this.afterTurnsNow = this.afterTurns.length;
    }
    const callback = this.afterTurns[this.afterHead];
    if (callback === undefined) return false;
    this.afterHead++;
    callback();
    return true;
  }
}

class ProcessTimer extends ScheduledEvent implements Timer {
  private readonly process: Process;
  private callback: (() => void) | undefined;

  constructor(process: Process, callback: () => void) {
    super();
    this.process = process;
    this.callback = callback;
  }

  cancel(): void {
    this.callback = undefined;
    this.process.timerCancelled(this);
  }

  fire(): void {
    this.process.timerDue(this);
  }

  /** False when it was cancelled after it became due. */
  run(): boolean {
    const callback = this.callback;
    this.callback = undefined;
    callback?.();
    return callback !== undefined;
  }
}
