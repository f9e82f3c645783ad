/**
 * Where peers come from: the contract of resolvers.
 */
import type { World } from "../../world/world.ts";

/** One peer as a resolver announces it. */
export interface PeerInit {
  /** `host:port`, or `unix:/path`. */
  readonly address: string;
  /** Stable for one replica; a restarted one may have a new one. Default the address. */
  readonly id?: string | undefined;
  /**
   * Its share against the others', for `balance: "weighted"` and in part for others. A number >= 0, default 1. 0: it gets no new calls, as
   * if it were not named; those in flight end.
   */
  readonly weight?: number | undefined;
  /** Where it stands: clients of the same zone prefer it while it suffices. Default unknown. */
  readonly zone?: string | undefined;
  /** What it runs: peers of one version may be judged together. Default unknown. */
  readonly version?: string | undefined;
  /** Priority: 0 is the most wanted; higher ones are called when those below do not suffice. Default 0, an integer 0..127. */
  readonly tier?: number | undefined;
}

/** What a resolver may use. */
export interface Io {
  /** Aborted when nobody listens any more. */
  readonly signal: AbortSignal;
  /** Brings clock and network: the same resolver runs simulated. */
  readonly world: World;
}

/**
 * A source of peers. `watch` yields the whole list each time it changes; what is new, gone or to be doubted is found out by the
 * channel. Throwing means "ask again later", never "no peers". Ending after a list means "ask again in half a minute". A list with a peer
 * that cannot be, or that leaves nobody, is not taken over: the last one holds. Of two peers with one id the first counts.
 */
export interface Resolver {
  readonly name: string;
  watch(io: Io): AsyncIterable<readonly PeerInit[]>;
}

/** Whether a value is a resolver. */
export function isResolver(value: unknown): value is Resolver {
  return (
    typeof value === "object" &&
    value !== null &&
    "watch" in value &&
    typeof value.watch === "function" &&
    "name" in value &&
    typeof value.name === "string"
  );
}
