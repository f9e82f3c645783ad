/**
 * The client's stack as one ordered list, outermost first: each layer, where it is, and why it stands there. The layers are
 * synchronous steps on one call object, not functions around functions: a layer that is off costs a branch.
 */
import type { Mechanism } from "../policy/protect/switches.ts";

export interface Layer {
  readonly name: string;
  /** The file that holds it. */
  readonly file: string;
  readonly role: string;
  /** Why it stands here and not further out or in. */
  readonly why: string;
  /** What of it can be `off`, `observe` or `on` in a running channel (`createSwitches`). */
  readonly switches: readonly Mechanism[];
}

export const clientStack: readonly Layer[] = Object.freeze([
  {
    name: "context",
    file: "client/call-base.ts",
    role: "inherits deadline, cancellation, priority, trace and the repeat mark; mints the call id",
    why: "all that follows is bounded by the deadline, and every attempt carries the same id",
    switches: [],
  },
  {
    name: "record",
    file: "client/call-trail.ts",
    role: "counts the call, and tells those who listen what it went through",
    why: "outside of all that may save the call: a call that was saved is recorded as such",
    switches: [],
  },
  {
    name: "interceptors",
    file: "client/intercept.ts",
    role: "the user's functions around the logical call; a second next draws on the budget",
    why: "inside the context, so that they see the id and deadline; outside the attempts, so that they never see a repeat",
    switches: [],
  },
  {
    name: "fallback",
    file: "client/fall-back.ts",
    role: "a typed reply in place of a failure",
    why: "outside the attempts: it is for the call that they could not save",
    switches: [],
  },
  {
    name: "quarantine",
    file: "policy/protect/poison.ts",
    role: "refuses a request that brought down two servers within the last minute",
    why: "before the first attempt: that attempt would be the third server",
    switches: ["poison"],
  },
  {
    name: "attempts",
    file: "policy/recover/attempts.ts",
    role: "decides whether a failed attempt is followed by another, and an overdue one gets a copy; within the budget",
    why: "outside the pick: every attempt chooses anew, and the tried peers are left out",
    switches: ["retry", "hedge", "budget"],
  },
  {
    name: "throttle",
    file: "policy/protect/throttle.ts",
    role: "refuses an attempt that overloaded servers would refuse",
    why: "inside the attempts, for repeats are load too; before the pick: what is refused takes nobody's place",
    switches: ["throttle"],
  },
  {
    name: "pick",
    file: "policy/balance/balancer.ts",
    role: "chooses a peer that can take the call now, by its cost and by what is thought of it, or lets the call wait for one",
    why: "before the credentials: a token may depend on the attempt, never the other way round",
    switches: ["gate", "outlier", "correlated", "suspicion", "panic", "slow-start"],
  },
  {
    name: "credentials",
    file: "client/client-call.ts",
    role: "asks for the token of an attempt, again after one UNAUTHENTICATED",
    why: "per attempt, for tokens expire between two of them",
    switches: [],
  },
  {
    name: "integrity",
    file: "wire/grpc/checksum.ts",
    role: "checksums of requests and replies, towards peers that offer them",
    why: "per attempt and next to the bytes: a damaged reply is a failed attempt, and is repeated like any other",
    switches: ["integrity", "corruption"],
  },
  {
    name: "chaos",
    file: "client/ordeal.ts",
    role: "faults for tests: late, failed, unanswered, damaged",
    why: "innermost of what is ours, so that all of the above is exercised",
    switches: [],
  },
  {
    name: "connection",
    file: "wire/transport/client-connection.ts",
    role: "the stream on a connection: headers, messages, windows, status",
    why: "innermost: what happens here is what an attempt is",
    switches: [],
  },
]);
