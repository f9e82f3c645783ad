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
  /**
   * Adds reply metadata. Set it before the handler's first `await` and before its first message: a reply stream's headers are sent at
   * the end of the turn in which its handler began (of one that reads a stream: in which it got its first request, or after 10 s),
   * so that a caller knows that the stream stands though nothing has come yet. Behind interceptors they wait for the Reply.
   * Throws TypeError once the headers have gone, or for a malformed name or value.
   */
  setHeader(name: string, value: string | Uint8Array): void;
  /** Adds trailing metadata. Throws TypeError for a malformed name or value. */
  setTrailer(name: string, value: string | Uint8Array): void;
}
