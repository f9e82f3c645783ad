/**
 * One connection: is its peer there? Looked at from time to time, so that bytes cost nothing. Silence while work is
 * outstanding makes a peer suspect (cheap, may be wrong) and sends one PING; silence after the PING condemns it. Any byte clears it.
 *
 * Two levels, since one threshold cannot be both fast and right at 1 % loss; the second asks over the same path before it
 * condemns, as SWIM does (Das, Gupta, Motivala, DSN 2002), and all times stretch by our own stalls, as Lifeguard's do.
 *
 * PINGs are few: gRPC servers close a connection at the third PING that comes within 5 minutes with no HEADERS or DATA sent
 * between (grpc/proposal A8, MAX_PING_STRIKES). Two are sent between such frames; after them one in 5.5 minutes, which no server strikes.
 */

/** Silence that no handler's slowness and no round trip explains begins here. */
const SUSPECT_MS = 300;
/** A method with a p99 of 30 s still gets its dead peer found. */
const SUSPECT_MS_MAX = 5_000;
const P99_FACTOR = 4;
const RTT_FACTOR = 8;
/** Silence after a PING that condemns: 1,000 ms, or four round trips where those are longer. */
const ANSWER_MS = 1_000;
const ANSWER_MS_MAX = 5_000;
const ANSWER_RTT_FACTOR = 4;
/** A PING that was answered while the work still waits: the handler is slow, the peer is there, and the next PING waits longer. */
const PATIENCE_FACTOR = 4;
const PATIENCE_MAX = 16;
/** gRPC's PERMIT_KEEPALIVE_TIME of 5 minutes, and a tenth, for PINGs arrive at other distances than they left. */
const KEEPALIVE_MS = 330_000;
/** How often to look while an answer to a PING is awaited, so that a byte clears the peer soon. */
const PING_LOOK_MS = 50;
/** How often to look at a suspect that may not be asked. */
const SUSPECT_LOOK_MS = 250;
/** How long a peer stays suspect after the work that showed its silence was taken elsewhere. */
const HOLD_MS = 5_000;

/** What is known of a connection when it is looked at. Times are monotonic milliseconds. */
export interface SuspicionFacts {
  /** When the last byte of any kind was read from the peer. */
  readonly receivedAtMs: number;
  /** When the last HEADERS or DATA frame was read: gRPC servers forget ping strikes when they send those. */
  readonly frameAtMs: number;
  /** Start of the oldest work that has no sign of an answer yet; Infinity: none. */
  readonly outstandingSinceMs: number;
  /** p99 of that work's method at this service, in milliseconds; NaN: unknown. */
  readonly p99Ms: number;
  /** Smoothed round trip, in milliseconds; NaN: unknown. */
  readonly rttMs: number;
  /** `SelfWatch.score`, 0..8. */
  readonly stallScore: number;
  /** `SelfWatch.stalledUntilMs`. */
  readonly stalledUntilMs: number;
}

/** What a look says. "ping": suspect, and a PING is to be sent now. "condemn": destroy the connection. */
export type SuspicionLook = "trust" | "suspect" | "ping" | "condemn";

/** One for a connection. Look when work begins on an idle connection, and then whenever `nextLookMs` has come. */
export class Suspicion {
  /** Not to be picked while others are there. Changes only in {@link look}. */
  isSuspect: boolean;
  /** When to look again; Infinity while nothing is outstanding. */
  nextLookMs: number;
  private suspectedAtMs: number;
  private pingAtMs: number;
  private pingBeforeMs: number;
  private isPingPending: boolean;
  private patience: number;
  private frameSeenMs: number;
  private workSinceMs: number;

  constructor() {
    this.isSuspect = false;
    this.nextLookMs = Number.POSITIVE_INFINITY;
    this.suspectedAtMs = Number.NEGATIVE_INFINITY;
    this.pingAtMs = Number.NEGATIVE_INFINITY;
    this.pingBeforeMs = Number.NEGATIVE_INFINITY;
    this.isPingPending = false;
    this.patience = 1;
    this.frameSeenMs = Number.NEGATIVE_INFINITY;
    this.workSinceMs = Number.POSITIVE_INFINITY;
  }

  /** After a stall, read what the sockets hold before looking: silence is judged by what has been read. */
  look(nowMs: number, facts: SuspicionFacts): SuspicionLook {
    this.hear(facts);
    if (this.isPingPending) return this.awaitAnswer(nowMs, facts);
    if (facts.outstandingSinceMs === Number.POSITIVE_INFINITY) return this.rest(nowMs, Number.POSITIVE_INFINITY);
    const quietFromMs = Math.max(facts.receivedAtMs, facts.outstandingSinceMs, facts.stalledUntilMs);
    const dueMs = quietFromMs + suspicionAfterMs(facts) * this.patience;
    if (nowMs < dueMs) return this.rest(nowMs, dueMs);
    this.isSuspect = true;
    this.suspectedAtMs = nowMs;
    const mayPingAtMs = this.mayPingAtMs(facts.frameAtMs);
    if (nowMs < mayPingAtMs) {
      this.nextLookMs = Math.min(nowMs + SUSPECT_LOOK_MS, mayPingAtMs);
      return "suspect";
    }
    this.pingBeforeMs = this.pingAtMs;
    this.pingAtMs = nowMs;
    this.isPingPending = true;
    this.nextLookMs = nowMs + PING_LOOK_MS;
    return "ping";
  }

  /** The PING that the last look asked for may not be sent, as others were: nobody is condemned for not answering it. */
  notAsked(nowMs: number): void {
    this.isPingPending = false;
    this.pingAtMs = this.pingBeforeMs;
    this.nextLookMs = nowMs + SUSPECT_LOOK_MS;
  }

  /** What came since the last look: a byte clears, a frame forgives, and an answer to a PING alone makes patient. */
  private hear(facts: SuspicionFacts): void {
    if (facts.outstandingSinceMs !== this.workSinceMs) {
      this.workSinceMs = facts.outstandingSinceMs;
      this.patience = 1;
    }
    if (facts.frameAtMs > this.frameSeenMs) {
      this.frameSeenMs = facts.frameAtMs;
      this.patience = Math.max(1, this.patience / PATIENCE_FACTOR);
    }
    // Not before: it was sent after silence, so a byte of its very millisecond came after it.
    if (this.isPingPending && facts.receivedAtMs >= this.pingAtMs) {
      this.isPingPending = false;
      if (facts.frameAtMs < this.pingAtMs && facts.outstandingSinceMs <= this.pingAtMs)
        this.patience = Math.min(PATIENCE_MAX, this.patience * PATIENCE_FACTOR);
    }
    if (facts.receivedAtMs >= this.suspectedAtMs) this.isSuspect = false;
  }

  /** A PING is work of its own: it condemns a dead peer also when all calls have been taken elsewhere. */
  private awaitAnswer(nowMs: number, facts: SuspicionFacts): SuspicionLook {
    const dueMs = Math.max(this.pingAtMs, facts.stalledUntilMs) + answerWithinMs(facts);
    if (nowMs >= dueMs) {
      this.nextLookMs = Number.POSITIVE_INFINITY;
      return "condemn";
    }
    this.nextLookMs = Math.min(nowMs + PING_LOOK_MS, dueMs);
    return "suspect";
  }

  /**
   * Nothing is overdue. One who was silent stays suspect for a while though that work is gone: without this a hung peer
   * would be given another call each time the last one was taken from it.
   */
  private rest(nowMs: number, dueMs: number): SuspicionLook {
    const heldUntilMs = this.suspectedAtMs + HOLD_MS;
    if (this.isSuspect && nowMs < heldUntilMs) {
      this.nextLookMs = Math.min(nowMs + SUSPECT_LOOK_MS, heldUntilMs, dueMs);
      return "suspect";
    }
    this.isSuspect = false;
    this.nextLookMs = dueMs;
    return "trust";
  }

  private mayPingAtMs(frameAtMs: number): number {
    return this.pingBeforeMs > frameAtMs ? this.pingAtMs + KEEPALIVE_MS : Number.NEGATIVE_INFINITY;
  }
}

function suspicionAfterMs(facts: SuspicionFacts): number {
  const slowMs = Math.max(known(facts.p99Ms) * P99_FACTOR, known(facts.rttMs) * RTT_FACTOR);
  return Math.min(SUSPECT_MS_MAX, Math.max(SUSPECT_MS, slowMs)) * (1 + facts.stallScore);
}

function answerWithinMs(facts: SuspicionFacts): number {
  const tripsMs = known(facts.rttMs) * ANSWER_RTT_FACTOR;
  return Math.min(ANSWER_MS_MAX, Math.max(ANSWER_MS, tripsMs)) * (1 + facts.stallScore);
}

function known(ms: number): number {
  return Number.isNaN(ms) ? 0 : ms;
}
