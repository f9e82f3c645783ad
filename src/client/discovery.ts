/**
 * Watches a resolver for a channel: each list it yields becomes the channel's peers. One that fails is asked again, and the last
 * good list holds meanwhile; an empty list is taken for a failure while there are peers.
 */
import type { PeerInit, Resolver } from "../fleet/discover/resolver.ts";
import type { Timer } from "../world/timers.ts";
import type { World } from "../world/world.ts";
import type { PeerTarget } from "./target.ts";

const RETRY_MS_MIN = 500;
const RETRY_MS_MAX = 30_000;

/** Who gets the peers. */
export interface Discovered {
  readonly peers: readonly unknown[];
  setPeers(targets: readonly PeerTarget[]): void;
}

/** Begins to watch; gives back what ends it. `targetOf` refuses what is no peer (TypeError, RangeError): the whole list is then left out. */
export function watchResolver(
  world: World,
  resolver: Resolver,
  targetOf: (peer: PeerInit) => PeerTarget,
  channel: Discovered,
): () => void {
  const abort = new AbortController();
  let timer: Timer | undefined;
  let delayMs = RETRY_MS_MIN;
  const again = (): void => {
    if (abort.signal.aborted) return;
    timer = world.timers.schedule(delayMs * (0.5 + world.random.float() / 2), () => void run());
    delayMs = Math.min(delayMs * 2, RETRY_MS_MAX);
  };
  const run = async (): Promise<void> => {
    try {
      for await (const list of resolver.watch({ signal: abort.signal, world })) {
        if (abort.signal.aborted) return;
        if (list.length === 0 && channel.peers.length > 0) continue;
        channel.setPeers(list.map(targetOf));
        delayMs = RETRY_MS_MIN;
      }
    } catch {
      // "Ask again", whatever it was: the last good list holds.
    }
    again();
  };
  void run();
  return () => {
    abort.abort();
    timer?.cancel();
  };
}
