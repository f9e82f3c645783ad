/**
 * Waiting, done by Node: `setTimeout` that never keeps the process alive and never fires early, and one `setImmediate`
 * for all that waits for the end of a turn.
 */
import type { Timer, Timers } from "./timers.ts";

/** Longer delays make `setTimeout` fire at once; they are walked in steps of this. */
const DELAY_MS_MAX = 2 ** 31 - 1;

export const nodeTimers: Timers = {
  schedule(delayMs: number, callback: () => void): Timer {
    return delayMs > 0 ? new NodeTimer(delayMs, callback) : new NextTurn(callback);
  },

  hold(): Timer {
    const interval = setInterval(() => {}, DELAY_MS_MAX);
    return { cancel: () => clearInterval(interval) };
  },

  afterTurn(callback: () => void): void {
    if (waiting.push(callback) === 1) setImmediate(endTurn);
  },
};

/**
 * Node rounds delays to whole milliseconds of a clock that is read once per turn, so a timer may fire up to 1 ms early;
 * this one looks at the clock and waits for the rest.
 */
class NodeTimer implements Timer {
  private readonly dueMs: number;
  private callback: (() => void) | undefined;
  private timeout: NodeJS.Timeout | undefined;

  constructor(delayMs: number, callback: () => void) {
    this.dueMs = performance.now() + delayMs;
    this.callback = callback;
    this.timeout = undefined;
    this.wait(delayMs);
  }

  cancel(): void {
    clearTimeout(this.timeout);
    this.timeout = undefined;
    this.callback = undefined;
  }

  private wait(delayMs: number): void {
    this.timeout = setTimeout(fire, Math.min(Math.ceil(delayMs), DELAY_MS_MAX), this).unref();
  }

  /** Node's callback; the one above is cleared before it runs, so that a cancel from inside it does nothing. */
  ring(): void {
    const leftMs = this.dueMs - performance.now();
    if (leftMs > 0) {
      this.wait(leftMs);
      return;
    }
    const callback = this.callback;
    this.timeout = undefined;
    this.callback = undefined;
    callback?.();
  }
}

function fire(timer: NodeTimer): void {
  timer.ring();
}

/**
 * A delay of 0: the next turn, without the 1 ms that `setTimeout` makes of it. It keeps the process alive for that turn: Node does not hurry for
 * an immediate that does not, and one that was asked for by a timer would wait until the next byte or timer comes.
 */
class NextTurn implements Timer {
  private immediate: NodeJS.Immediate | undefined;

  constructor(callback: () => void) {
    this.immediate = setImmediate(callback);
  }

  cancel(): void {
    clearImmediate(this.immediate);
    this.immediate = undefined;
  }
}

/**
 * What waits for the end of this turn, and the array that the next turn will fill. Two arrays take turns, so that a
 * callback which asks for another turn gets the next one. The immediate keeps the process alive: without that, the last
 * writes of a process would be lost.
 */
let waiting: (() => void)[] = [];
let spare: (() => void)[] = [];

function endTurn(): void {
  const callbacks = waiting;
  waiting = spare;
  spare = callbacks;
  let done = 0;
  try {
    for (const callback of callbacks) {
      done += 1;
      callback();
    }
  } finally {
    // One that threw must not take the rest with it: they run in a turn of their own while the error goes its way.
    const left = done < callbacks.length ? callbacks.slice(done) : undefined;
    callbacks.length = 0;
    if (left !== undefined) {
      if (waiting.length === 0) setImmediate(endTurn);
      waiting.unshift(...left);
    }
  }
}
