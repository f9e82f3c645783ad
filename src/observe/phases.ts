/**
 * Phases: from the moments of one attempt to where its time went. The phases are apart and add up to the whole.
 */
import type { Phase } from "../call/fault.ts";

/**
 * When one attempt went from phase to phase, on the monotonic clock. NaN is a moment that did not come, or was not
 * noted: if a later one did come, its phase took no time; if not, the attempt ended in it.
 */
export interface AttemptStamps {
  /** It began: a peer was wanted. */
  readonly beganMs: number;
  /** The peers were known: `resolve` ends. */
  readonly resolvedMs: number;
  /** The picked peer was connected: `connect` ends. */
  readonly connectedMs: number;
  /** It had a stream, after waiting for a free one: `queue` ends. */
  readonly openedMs: number;
  /** The request was handed to the socket: `send` ends. */
  readonly sentMs: number;
  /** The first sign of an answer, headers or status: `server` ends, for what the client can see. */
  readonly answeredMs: number;
  /** It ended, well or not: `receive` ends. */
  readonly endedMs: number;
  /** How long the server says it worked on it (a trailer); NaN if it does not say. */
  readonly serverMs: number;
  /** The last stall of this process's event loop; NaN for none. */
  readonly stalledFromMs: number;
  readonly stalledUntilMs: number;
}

/**
 * Milliseconds in each phase; none is negative, and their sum is `endedMs - beganMs`.
 *
 * Without the server's word, `server` is the whole wait for an answer, network included. With it, what is left of the wait is the
 * network's, half of it on the way there (`send`) and half on the way back (`receive`), for the two cannot be told apart without a
 * shared clock (as NTP assumes, RFC 5905 section 8); a server that went on working while it answered takes that from `receive`.
 * What of a phase this process's loop stood still goes to `stall`.
 */
export function phasesOf(stamps: AttemptStamps): Record<Phase, number> {
  const [began, resolved, connected, opened, sent, answered, ended] = boundsOf(stamps);
  const stall = { fromMs: stamps.stalledFromMs, untilMs: stamps.stalledUntilMs };
  const phases: Record<Phase, number> = {
    resolve: awake(began, resolved, stall),
    connect: awake(resolved, connected, stall),
    queue: awake(connected, opened, stall),
    send: awake(opened, sent, stall),
    server: awake(sent, answered, stall),
    receive: awake(answered, ended, stall),
    stall: overlapMs(began, ended, stall),
  };
  // A server that did not answer has not said how long it worked.
  if (stamps.serverMs >= 0 && !Number.isNaN(stamps.answeredMs)) believeServer(phases, stamps.serverMs);
  return phases;
}

type Bounds = readonly [
  began: number,
  resolved: number,
  connected: number,
  opened: number,
  sent: number,
  answered: number,
  ended: number,
];

interface Stall {
  readonly fromMs: number;
  readonly untilMs: number;
}

/** The moments without gaps and in order. An answer may come before the request is out: the later moment then counts as the earlier one. */
function boundsOf(stamps: AttemptStamps): Bounds {
  const { beganMs, resolvedMs, connectedMs, openedMs, sentMs, answeredMs } = stamps;
  const endedMs = Math.max(beganMs, stamps.endedMs);
  const bounds = [beganMs, resolvedMs, connectedMs, openedMs, sentMs, answeredMs, endedMs];
  let limitMs = endedMs;
  let isLater = false;
  for (let i = 5; i > 0; i -= 1) {
    const momentMs = bounds[i] as number;
    if (Number.isNaN(momentMs)) {
      // Skipped (a later moment came: filled in below) or never reached.
      if (!isLater) bounds[i] = endedMs;
      continue;
    }
    isLater = true;
    limitMs = Math.min(limitMs, momentMs);
    bounds[i] = limitMs;
  }
  for (let i = 1; i < 6; i += 1) {
    const beforeMs = bounds[i - 1] as number;
    const momentMs = bounds[i] as number;
    bounds[i] = Number.isNaN(momentMs) ? beforeMs : Math.max(beforeMs, momentMs);
  }
  return bounds as unknown as Bounds;
}

/** The part of a span in which this process was not stalled. */
function awake(fromMs: number, untilMs: number, stall: Stall): number {
  return untilMs - fromMs - overlapMs(fromMs, untilMs, stall);
}

function overlapMs(fromMs: number, untilMs: number, stall: Stall): number {
  const overlap = Math.min(untilMs, stall.untilMs) - Math.max(fromMs, stall.fromMs);
  // NaN for no stall: the comparison is false.
  return overlap > 0 ? overlap : 0;
}

function believeServer(phases: Record<Phase, number>, serverMs: number): void {
  const inWaitMs = Math.min(serverMs, phases.server);
  const inReceiveMs = Math.min(serverMs - inWaitMs, phases.receive);
  const halfMs = (phases.server - inWaitMs) / 2;
  phases.send += halfMs;
  phases.server = inWaitMs + inReceiveMs;
  phases.receive += halfMs - inReceiveMs;
}
