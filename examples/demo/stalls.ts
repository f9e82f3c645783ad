/**
 * When a process of the demo did not do what was due: the machine gave it no time, or it was busy. A call cannot be answered in a
 * second by processes that stood still for it, so the report has to know.
 */

/** One standstill, in milliseconds since the epoch: processes compare theirs. */
export interface Stall {
  readonly fromMs: number;
  readonly untilMs: number;
}

const BEAT_MS = 20;
/** What is called a stall, as the client does. */
const STALL_MS = 100;

/** Tells of each standstill of this process when it is over. Does not keep the process alive. */
export function watchStalls(tell: (stall: Stall) => void): Disposable {
  let dueMs = performance.now() + BEAT_MS;
  const timer = setInterval(() => {
    const nowMs = performance.now();
    if (nowMs - dueMs >= STALL_MS) tell({ fromMs: epochMs(dueMs), untilMs: epochMs(nowMs) });
    dueMs = nowMs + BEAT_MS;
  }, BEAT_MS);
  timer.unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** A moment of this process's `performance.now()`, on the scale that all processes share. */
export function epochMs(ms: number): number {
  return performance.timeOrigin + ms;
}
