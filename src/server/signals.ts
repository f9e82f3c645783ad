/**
 * SIGTERM and SIGINT drain the servers of this process, then take their normal course. Signals are the process's, so the
 * servers share one listener for each.
 */

/** What a signal does to one server. Both may be called while the server is draining already, or has drained. */
export interface Drainable {
  /** Resolves when it has drained. */
  drain(): Promise<unknown>;
  /** Ends a drain at once: open calls are answered with UNAVAILABLE. */
  cut(): void;
}

interface Waiting {
  readonly servers: Set<Drainable>;
  readonly arrived: () => void;
  hasArrived: boolean;
}

const waitingFor: Map<NodeJS.Signals, Waiting> = new Map();

/**
 * The first of a signal drains all that wait for it; when they have, it is sent to this process again, without our listener, and so takes
 * its normal course, which by default ends the process. A second one of the same kind cuts the drains first. A server that is closed by its
 * program is to stay here until it has drained: else a signal meanwhile would end the process with calls underway.
 *
 * Nothing is printed: the servers' event `drain` says what was cut.
 */
export function onSignals(signals: readonly NodeJS.Signals[], server: Drainable): Disposable {
  const wanted = new Set(signals);
  for (const signal of wanted) {
    let waiting = waitingFor.get(signal);
    if (waiting === undefined) {
      waiting = { servers: new Set(), arrived: () => arrived(signal), hasArrived: false };
      waitingFor.set(signal, waiting);
      process.on(signal, waiting.arrived);
    }
    waiting.servers.add(server);
  }
  return {
    [Symbol.dispose]() {
      for (const signal of wanted) {
        const waiting = waitingFor.get(signal);
        waiting?.servers.delete(server);
        // Once it has arrived, the last drain's end is the signal's to see.
        if (waiting?.servers.size === 0 && !waiting.hasArrived) stopListening(signal);
      }
    },
  };
}

function arrived(signal: NodeJS.Signals): void {
  const waiting = waitingFor.get(signal);
  if (waiting === undefined) return;
  const servers = [...waiting.servers];
  if (waiting.hasArrived) {
    for (const server of servers) server.cut();
    return;
  }
  waiting.hasArrived = true;
  const again = (): void => {
    stopListening(signal);
    process.kill(process.pid, signal);
  };
  Promise.all(servers.map((server) => server.drain())).then(again, again);
}

function stopListening(signal: NodeJS.Signals): void {
  const waiting = waitingFor.get(signal);
  if (waiting === undefined) return;
  waitingFor.delete(signal);
  process.removeListener(signal, waiting.arrived);
}
