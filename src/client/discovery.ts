/**
 * Watches a resolver for a channel: each list it yields becomes the channel's peers. One that fails is asked again, and the last
 * good list holds meanwhile; a list in which nobody is left is taken for a failure while there are peers.
 */
import type { PeerInit, Resolver } from "../fleet/discover/resolver.ts";
import type { Timer } from "../world/timers.ts";
import type { World } from "../world/world.ts";
import type { PeerTarget } from "./target.ts";

const RETRY_MS_MIN = 500;
const RETRY_MS_MAX = 30_000;
/** While there are no peers, calls wait for the answer. */
const NOBODY_RETRY_MS_MAX = 2_000;
/** A resolver that has given its list and ended does not push: it is asked for the next one after so long, give or take a fifth. */
const POLL_MS = 30_000;
const POLL_JITTER = 0.2;

/** Who gets the peers. */
export interface Discovered {
  readonly peers: readonly unknown[];
  /** Throws for what is no list of peers, and is then as before. */
  setPeers(targets: readonly PeerTarget[]): void;
  /** The resolver does not help now, and why; undefined: it does again. */
  resolverFailed(failure: ResolverFailure | undefined): void;
  /** Its list leaves nobody, and is not believed yet. */
  listHeldBack(): void;
}

/** Why a resolver's peers are not known, or are those of an earlier list. */
export interface ResolverFailure {
  readonly text: string;
  readonly cause: unknown;
}

/** Begins to watch; gives back what ends it. `targetOf` refuses what is no peer (TypeError, RangeError): the whole list is then left out. */
export function watchResolver(
  world: World,
  resolver: Resolver,
  targetOf: (peer: PeerInit) => PeerTarget,
  channel: Discovered,
): () => void {
  const abort = new AbortController();
  const name = `the resolver ${JSON.stringify(resolver.name)}`;
  let timer: Timer | undefined;
  let failures = 0;
  const again = (delayMs: number): void => {
    if (!abort.signal.aborted) timer = world.timers.schedule(delayMs, () => void run());
  };
  const retry = (failure: ResolverFailure): void => {
    if (abort.signal.aborted) return;
    channel.resolverFailed(failure);
    const maxMs = channel.peers.length === 0 ? NOBODY_RETRY_MS_MAX : RETRY_MS_MAX;
    const delayMs = Math.min(maxMs, RETRY_MS_MIN * 2 ** Math.min(failures, 20));
    failures += 1;
    again(delayMs * (0.5 + world.random.float() / 2));
  };
  const run = async (): Promise<void> => {
    const startMs = world.clock.monotonicMs();
    let hasYielded = false;
    let refusal: ResolverFailure | undefined;
    try {
      for await (const list of resolver.watch({ signal: abort.signal, world })) {
        if (abort.signal.aborted) return;
        hasYielded = true;
        refusal = take(list, name, targetOf, channel);
        channel.resolverFailed(refusal);
      }
    } catch (error) {
      // One that yields and fails each time must not be asked every half second for ever.
      if (hasYielded && world.clock.monotonicMs() - startMs >= RETRY_MS_MAX) failures = 0;
      retry({ text: `${name} failed: ${textOf(error)}`, cause: error });
      return;
    }
    if (!hasYielded || channel.peers.length === 0) {
      retry(refusal ?? { text: `${name} ended without naming a peer`, cause: undefined });
      return;
    }
    failures = 0;
    again(POLL_MS * (1 + POLL_JITTER * (2 * world.random.float() - 1)));
  };
  void run();
  return () => {
    abort.abort();
    timer?.cancel();
  };
}

/** One list that was yielded; what is wrong with it, if it could not be taken over. A wrong one ends no watch: the next may be right. */
function take(
  list: readonly PeerInit[],
  name: string,
  targetOf: (peer: PeerInit) => PeerTarget,
  channel: Discovered,
): ResolverFailure | undefined {
  try {
    const targets = calledOf(list.map(targetOf));
    if (targets.length === 0 && channel.peers.length > 0) {
      channel.listHeldBack();
      return { text: `${name} names nobody any more, so its last list holds`, cause: undefined };
    }
    channel.setPeers(targets);
    return undefined;
  } catch (error) {
    return { text: `${name} gave a list that is refused: ${textOf(error)}`, cause: error };
  }
}

/** Without those of weight 0: they get no new calls, and their calls in flight end. Of several with one id the first counts. */
function calledOf(targets: readonly PeerTarget[]): readonly PeerTarget[] {
  const seen = new Set<string>();
  return targets.filter(({ id, weight }) => {
    if (seen.has(id)) return false;
    seen.add(id);
    return weight !== 0;
  });
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
