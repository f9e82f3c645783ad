/**
 * The door `holdfast/discover`: where peers come from. Types only, so far.
 */
export type { Io, PeerInit, Resolver } from "./resolver.ts";
