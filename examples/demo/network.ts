/**
 * The demo's bad network, in a process of its own so that it does not share the client's event loop: a TCP fault proxy in front of each
 * server. Forked with the servers' ports by network-process.ts.
 */
import { createFaultProxy, type FaultProxyCounts, type ProxyFault } from "holdfast/chaos";
import { endWithParent, tell, tellFailure } from "./parent.ts";
import { watchStalls } from "./stalls.ts";

/** What the network is asked for; it answers with the counts of that proxy. */
export interface NetworkOrder {
  /** Whose proxy, in the order of the ports. */
  readonly index: number;
  /** Its faults from now on. */
  readonly faults: readonly ProxyFault[];
}

/** Whom to wake when the demo dies: a stopped process does not notice that its parent is gone. */
export interface WakeOrder {
  /** Undefined: nobody any more. */
  readonly wakePid: number | undefined;
}

const HOST = "127.0.0.1";
let wakePid: number | undefined;

endWithParent(() => {
  if (wakePid !== undefined) process.kill(wakePid, "SIGCONT");
});

const proxies = process.argv
  .slice(2)
  .map((port) => createFaultProxy({ listen: { host: HOST, port: 0 }, target: { host: HOST, port: Number(port) } }));

process.on("message", (order: NetworkOrder | WakeOrder) => {
  if ("index" in order) {
    proxies[order.index]?.set(order.faults);
    const counts: FaultProxyCounts | undefined = proxies[order.index]?.counts();
    tell({ kind: "ready", result: counts });
  } else {
    wakePid = order.wakePid;
    tell({ kind: "ready", result: undefined });
  }
});

try {
  const places = await Promise.all(proxies.map((proxy) => proxy.listen()));
  watchStalls((stall) => tell({ kind: "stalled", stall }));
  tell({ kind: "ready", result: places.map(({ port }) => port) });
} catch (error) {
  tellFailure(error);
}
