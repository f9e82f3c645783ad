/**
 * SIGTERM and SIGINT drain the servers of this process, then take their normal course. Signals are the process's, so the
 * servers share one listener for each.
 */

type Drain = () => Promise<unknown>;

const drains: Map<NodeJS.Signals, Set<Drain>> = new Map();

/**
 * Calls `drain` at the first of the signals; when all that wait for that signal have drained, it is sent to this process again,
 * without our listener. A second signal while they drain takes its normal course at once.
 */
export function onSignals(signals: readonly NodeJS.Signals[] | undefined, drain: Drain): Disposable {
  const wanted = new Set(signals);
  for (const signal of wanted) {
    let waiting = drains.get(signal);
    if (waiting === undefined) {
      waiting = new Set();
      drains.set(signal, waiting);
      process.on(signal, arrived);
    }
    waiting.add(drain);
  }
  return {
    [Symbol.dispose]() {
      for (const signal of wanted) {
        const waiting = drains.get(signal);
        waiting?.delete(drain);
        if (waiting?.size === 0) stopListening(signal);
      }
    },
  };
}

function arrived(signal: NodeJS.Signals): void {
  const waiting = [...(drains.get(signal) ?? [])];
  stopListening(signal);
  const again = (): void => void process.kill(process.pid, signal);
  Promise.all(waiting.map((drain) => drain())).then(again, again);
}

function stopListening(signal: NodeJS.Signals): void {
  drains.delete(signal);
  process.removeListener(signal, arrived);
}
