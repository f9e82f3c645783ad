/**
 * What a handler is given beside its request.
 */
import type { Call } from "../call/call.ts";
import type { Peer } from "../call/peer.ts";
import type { Principal } from "../call/principal.ts";

/** The facts of the call being handled, and its reply's metadata. */
export interface HandlerCall<P extends Principal = Principal> extends Call {
  readonly side: "server";
  /** Who is at the other end of the connection. */
  readonly peer: Peer;
  /** Who calls; undefined as long as nothing authenticates. */
  readonly principal: P | undefined;
  /** Adds reply metadata. Throws TypeError once the first message has gone, or for a malformed name or value. */
  setHeader(name: string, value: string | Uint8Array): void;
  /** Adds trailing metadata. Throws TypeError for a malformed name or value. */
  setTrailer(name: string, value: string | Uint8Array): void;
}
