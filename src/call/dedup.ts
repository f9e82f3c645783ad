/**
 * Where a server keeps the first answers of its `once` calls, as its clients see it: a store, and how far it reaches (DESIGN
 * section 7). A `once` call that may have reached a handler is repeated only where the same store is asked.
 */

/** Who shares the store: one process until it ends; what runs at one address of a machine, restarts included; any peer of the service. */
export type DedupScope = "process" | "machine" | "service";

/** A store of first answers. */
export interface AnnouncedStore {
  /** 1..64 printable ASCII characters without spaces. For scope process it is another after each start. */
  readonly id: string;
  readonly scope: DedupScope;
}

/**
 * What a connection has shown whose answers announce nothing, or contradict each other, as those of a proxy in front of several servers
 * do: which store an attempt met there cannot be known. It is the same as no store, itself included.
 */
export const NO_STORE: AnnouncedStore = Object.freeze({ id: "", scope: "process" });

/** The same store, and both mean the same by it: a peer that says otherwise of how far an id reaches is not believed. */
export function isSameStore(one: AnnouncedStore | undefined, other: AnnouncedStore | undefined): boolean {
  if (one === undefined || other === undefined || one === NO_STORE || other === NO_STORE) return false;
  return one.id === other.id && one.scope === other.scope;
}

/** What the answers of a connection say together: `before` of the earlier ones (undefined: there were none), `now` of one more. */
export function joinStores(before: AnnouncedStore | undefined, now: AnnouncedStore | undefined): AnnouncedStore {
  if (before === undefined) return now ?? NO_STORE;
  return isSameStore(before, now) ? before : NO_STORE;
}
