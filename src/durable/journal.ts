/**
 * Where promises are kept, as users see it.
 */
import type { World } from "../world/world.ts";
import type { DedupStore } from "./dedup-store.ts";

/**
 * Where promises are kept: `memory()` or `sqlite(file)`. `scope` says who sees it: a call with effect `once` is repeated only at a peer that
 * shares it. `Tx` is what a handler's `transact` gets; never where the journal has no transactions.
 *
 * Whoever makes a journal closes it, after the servers that use it: `await using journal = sqlite("orders.db")`.
 */
export interface Journal<Tx = never> extends AsyncDisposable {
  readonly scope: "process" | "machine" | "service";
  /** Types only; absent at run time. */
  readonly "~tx"?: Tx;
  /** For the server: the journal's dedup store, made in the world of whoever asks first. */
  "~dedup"(world: World): DedupStore<Tx>;
}
