/**
 * The contract of a dedup store: the first answer of a call with effect `once`, kept under (method path, principal, id), so that a repeat
 * gets it and runs nothing (DESIGN section 7; Lee et al., "Implementing Linearizability at Large Scale and Low Latency", SOSP 2015, whose
 * completion records these are).
 *
 * What a store promises: of all claims of one key, at most one is told to run, unless the record was taken back because its handler
 * provably did not run, or its owner died and the claim says `rerunUnknown`. An answer that `finish` acknowledged is what every later
 * claim of the key gets, until the store's retention ends; after that the id is refused and not run.
 */
import type { DedupScope } from "../call/dedup.ts";

/** What one request is known by. */
export interface DedupKey {
  /** The method as on the wire: `/shop.v1.Orders/Place`. */
  readonly path: string;
  /** Who asks; "" for nobody. Equal ids of two principals are two calls. */
  readonly principal: string;
  /** The call's id or the caller's own idempotency key. */
  readonly id: string;
  /** When the id was made, in milliseconds since 1970 by its maker's clock; undefined for a key that does not say it. */
  readonly mintedMs: number | undefined;
  /** What {@link payloadHashOf} makes of the request. */
  readonly payloadHash: string;
  /** Whether a call that its owner's death left undecided may be run again (`onUnknown: "rerun"`). */
  readonly rerunUnknown: boolean;
}

/** A record in the hands of whoever runs the handler, until `finish` or `forget`. */
export interface DedupEntry {
  /** The kept answer, once finished. After `transact` it stands before the handler has ended, and is what the caller must get. */
  readonly answer: Uint8Array | undefined;
  /** The last `transact` was rolled back: its effect did not happen. A handler that then fails may be forgotten. */
  readonly isRolledBack: boolean;
}

/** What the store says to a request. */
export type DedupClaim =
  /** New, and recorded as running: run the handler, then `finish` or `forget`. */
  | { readonly kind: "run"; readonly entry: DedupEntry }
  /** It was finished earlier. */
  | { readonly kind: "answer"; readonly answer: Uint8Array }
  /** It runs in this process now. Resolves with its answer; undefined: it ended without one, claim again. */
  | { readonly kind: "running"; readonly answer: Promise<Uint8Array | undefined> }
  /** The id was used with another payload. Never run. */
  | { readonly kind: "conflict" }
  /** The id is older than what the store remembers. Never run. */
  | { readonly kind: "expired" }
  /** Left running by a process that died, or running in another one. Never run. */
  | { readonly kind: "unknown" }
  /** The store holds as much as it may and can forget nothing yet. Not run: it may be tried again later. */
  | { readonly kind: "full" };

/** Figures for status pages and tests. */
export interface DedupSnapshot {
  readonly scope: DedupScope;
  readonly storeId: string;
  /** Calls that run now, in this process. */
  readonly running: number;
  /** Records held, running ones included. For a file: at most so many. */
  readonly entries: number;
  /** Bytes of answers and keys, approximately. Undefined where it is not counted. */
  readonly bytes: number | undefined;
  /** Ids minted at or before this are refused if they are not held, whatever the clock says. -Infinity: none was dropped yet. */
  readonly forgottenMs: number;
  /** Operations and the transactions that carried them; both 0 in memory. */
  readonly operations: number;
  readonly commits: number;
  /** Why the store refuses everything. Undefined: it works. */
  readonly failure: string | undefined;
}

/** A dedup store. `Tx` is what a handler's transaction gets; never: the store has none. */
export interface DedupStore<Tx = never> {
  readonly scope: DedupScope;
  /** What the server announces beside the scope. Known once `open` has resolved. */
  readonly storeId: string;
  /** Before the first claim; again gives the same. Rejects with an RpcError that names the file. */
  open(): Promise<void>;
  /** Resolves (or returns: a store in memory is synchronous) when the record is durable. Rejects with an RpcError: then nothing is to be run. */
  claim(key: DedupKey): DedupClaim | Promise<DedupClaim>;
  /**
   * Keeps the answer, which the store then owns. Only once it is kept may the caller get it. If it rejects, the outcome is unknown to every
   * later claim. Does nothing to an entry that is finished.
   */
  finish(entry: DedupEntry, answer: Uint8Array): void | Promise<void>;
  /** The handler provably did not run, or its only effect was rolled back: the record is taken back, and the next claim runs. */
  forget(entry: DedupEntry): void | Promise<void>;
  /**
   * Runs `work` in a transaction that also keeps the answer: both are there or neither is. One at a time. When `signal` aborts, or
   * the store's own limit is reached, it is rolled back. `tx` is closed at its end, however it ended, so that nothing is written late. Rejects
   * with what `work` threw, the signal's reason, or ABORTED at the limit. TypeError if the entry is not running.
   */
  readonly transact?: <R>(
    entry: DedupEntry,
    work: (tx: Tx) => R | Promise<R>,
    answerOf: (result: R) => Uint8Array,
    signal: AbortSignal | undefined,
  ) => Promise<R>;
  /** Ends what is under way and closes. Later claims reject. Closing twice is closing once. */
  close(): Promise<void>;
  snapshot(): DedupSnapshot;
}
