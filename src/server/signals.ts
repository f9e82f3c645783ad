/**
 * SIGTERM and SIGINT drain a server, then take their normal course.
 */
import type { World } from "../world/world.ts";

const DEFAULT_SIGNALS: readonly NodeJS.Signals[] = ["SIGTERM", "SIGINT"];

/**
 * Calls `drain` at the first of the signals and, when it has ended, sends the signal to this process again without our
 * listener. A simulated server has no signals.
 */
export function onSignals(
  signals: readonly NodeJS.Signals[] | undefined,
  world: World | undefined,
  drain: () => Promise<unknown>,
): Disposable {
  const wanted = world === undefined ? (signals ?? DEFAULT_SIGNALS) : [];
  const listener = (signal: NodeJS.Signals): void => {
    const again = (): void => {
      stop();
      process.kill(process.pid, signal);
    };
    drain().then(again, again);
  };
  const stop = (): void => {
    for (const signal of wanted) process.removeListener(signal, listener);
  };
  for (const signal of wanted) process.on(signal, listener);
  return { [Symbol.dispose]: stop };
}
