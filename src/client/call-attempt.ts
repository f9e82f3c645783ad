/**
 * Hot path: one attempt of a call, as the client's stack sees it: which peer has it, since when, and why it was started.
 */
import type { Fault } from "../call/fault.ts";
import type { Outstanding } from "../call/outstanding.ts";
import { type AttemptOwner, ClientAttempt } from "../wire/transport/client-attempt.ts";
import type { ClientConnection } from "../wire/transport/client-connection.ts";
import type { ClientPeer } from "./client-peer.ts";
import type { MethodState } from "./method-state.ts";

/** `first`; `retry`: after a failure; `hedge`: the last one was overdue; `copy`: the mode runs several at once. */
export type AttemptWhy = "first" | "retry" | "hedge" | "copy";

export class CallAttempt extends ClientAttempt implements Outstanding {
  readonly peer: ClientPeer;
  readonly state: MethodState;
  readonly why: AttemptWhy;
  readonly token: string | undefined;
  startedMs: number = Number.NaN;
  /** What was wrong with it, though it succeeded: seen by what only observes. */
  observed: Fault | undefined = undefined;
  /** A connection has died under its call before: no other such call is sent to the same peer meanwhile. */
  isMarked: boolean = false;
  /** A server with another store of first answers is to refuse it. */
  storeId: string | undefined = undefined;
  isOutstanding: boolean = false;
  outstandingPrevious: Outstanding | undefined = undefined;
  outstandingNext: Outstanding | undefined = undefined;

  constructor(
    owner: AttemptOwner,
    connection: ClientConnection,
    number: number,
    peer: ClientPeer,
    state: MethodState,
    why: AttemptWhy,
    token: string | undefined,
  ) {
    super(owner, connection, number);
    this.peer = peer;
    this.state = state;
    this.why = why;
    this.token = token;
  }
}
