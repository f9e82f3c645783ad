/**
 * The client's stack as one ordered list, outermost first: each layer, where it is, and why it stands there. The layers are
 * synchronous steps on one call object, not functions around functions: a layer that is off costs a branch.
 */

export interface Layer {
  readonly name: string;
  /** The file that holds it. */
  readonly file: string;
  readonly role: string;
  /** Why it stands here and not further out or in. */
  readonly why: string;
}

export const clientStack: readonly Layer[] = Object.freeze([
  {
    name: "context",
    file: "client/client-call.ts",
    role: "inherits deadline, cancellation, priority and trace; mints the call id",
    why: "all that follows is bounded by the deadline, and every attempt carries the same id",
  },
  {
    name: "interceptors",
    file: "client/intercept.ts",
    role: "the user's functions around the logical call",
    why: "inside the context, so that they see the id and deadline; outside the attempts, so that they never see a repeat",
  },
  {
    name: "attempts",
    file: "policy/recover/attempts.ts",
    role: "decides whether a failed attempt is followed by another",
    why: "outside the pick: every attempt chooses anew, and the tried peers are left out",
  },
  {
    name: "pick",
    file: "policy/balance/round-robin.ts",
    role: "chooses a peer that can take the call now, or lets the call wait for one",
    why: "before the credentials: a token may depend on the attempt, never the other way round",
  },
  {
    name: "credentials",
    file: "client/client-call.ts",
    role: "asks for the token of an attempt, again after one UNAUTHENTICATED",
    why: "per attempt, for tokens expire between two of them",
  },
  {
    name: "connection",
    file: "wire/transport/client-connection.ts",
    role: "the stream on a connection: headers, messages, windows, status",
    why: "innermost: what happens here is what an attempt is",
  },
]);
