/**
 * What a handler is given beside its request.
 */
import type { Call } from "../call/call.ts";
import type { Effect } from "../call/method.ts";
import type { Peer } from "../call/peer.ts";
import type { Principal } from "../call/principal.ts";
import type { Refused } from "../call/refused.ts";

/** What handlers of methods with effect once have, on a server whose journal has transactions. */
export interface Transact<E extends Effect, Tx> {
  /**
   * Runs `work` in a transaction of the journal's that also keeps the reply which it gives: both are there or neither is, so that the effect
   * happens exactly once whatever crashes. The reply is what the caller gets, now and when it repeats. What `work` throws rolls everything back,
   * and a repeat runs again. Once a call.
   */
  readonly transact: "once" extends E
    ? <R>(work: (tx: Tx) => R | Promise<R>) => Promise<R>
    : Refused<"transact is for methods with effect once">;
}

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
  /**
   * Fires when this server, or this connection, takes no more calls and this call is asked to come to its end: a stream that would last
   * for ever ends now, best with {@link resumeWith}; a call that ends soon anyway goes on. Its server gives it `drain.timeoutMs`
   * (default 20 s), then `signal` fires too. Made when first read.
   */
  readonly draining: AbortSignal;
  /**
   * Hands the caller a token from which another call, to whichever server, can go on; then return. It travels in the trailers of a reply
   * stream that ends with OK, and is `stream.resumeToken` at a Holdfast client. What it says is the handler's own; all that was yielded before
   * arrives before it. Called again, the last one counts. Text is sent as UTF-8.
   *
   * TypeError if the replies are no stream or the token is neither text nor bytes; RangeError unless it has 1..4096 bytes.
   */
  resumeWith(token: string | Uint8Array): void;
}
