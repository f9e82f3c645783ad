/** Waiting that an end of the run cuts short. */
import { setTimeout } from "node:timers/promises";

/** Resolves after `ms` milliseconds, or at once when `signal` aborts; never rejects. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await setTimeout(Math.max(0, ms), undefined, { signal });
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
