/**
 * What was observed to go wrong with one attempt: kind, phase and whose part it was.
 */
import type { Code } from "./code.ts";
import type { Peer } from "./peer.ts";

/** Where in its life a call was. */
export type Phase = "resolve" | "connect" | "queue" | "send" | "server" | "receive" | "stall";

/** What went wrong. */
export type FaultKind =
  | "resolve-failed"
  | "refused"
  | "connect-timeout"
  | "tls"
  | "reset"
  | "goaway"
  | "stream-refused"
  | "attempt-timeout"
  | "deadline"
  | "overload"
  | "status"
  | "protocol"
  /** The reply came whole, and this process does not take it: over a limit of its own, or not of the type it expects. */
  | "unreadable"
  | "corrupt"
  | "cancelled"
  | "local-stall"
  | "disagreed";

/** Whose part it was. */
export type Blame = "peer" | "network" | "this-process" | "caller" | "callee-of-peer";

/** One thing that went wrong. Never crosses the wire. */
export interface Fault {
  readonly kind: FaultKind;
  readonly phase: Phase;
  readonly blame: Blame;
  /** Undefined if it happened before a peer was chosen. */
  readonly peer: Peer | undefined;
  /** Which attempt, from 1. */
  readonly attempt: number;
  /** What the attempt ended with, if it had a code. */
  readonly code: Code | undefined;
  /** Milliseconds since the call began. */
  readonly atMs: number;
  /** For people; holds no payload. */
  readonly text: string;
}
