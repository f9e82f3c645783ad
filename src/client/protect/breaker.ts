/**
 * Hot path: the gate of one peer that has no others beside it: a circuit breaker. The outlier detector compares peers and never ejects
 * the last, so where a function has one peer, its faults alone must count. Pure: times come in, and chance as a number.
 *
 * Shut after 5 faults in a row, or below 0.8 of good attempts in 30 s (Finagle's FailureAccrual); shut for 5 s, twice as long each time up to
 * 300 s, with equal jitter (Envoy's ejection times; the cap against envoy#26758); then one probe at a time (Linkerd's probation). No timer moves
 * it: who asks after the time is over is the probe, so it cannot stay half-open for ever (opossum#276), nor be shut by attempts
 * that began before it was (opossum#385).
 */

/** Faults in a row that shut it. */
const FAULTS_IN_A_ROW = 5;
/** The share of good attempts below which it is shut, from so many attempts on. */
const GOOD_SHARE_MIN = 0.8;
const ATTEMPTS_MIN = 20;
/** The share is that of 30 s, in slices. */
const SLICES = 6;
const SLICE_MS = 5_000;
const SHUT_MS = 5_000;
const SHUT_MS_MAX = 300_000;
/** 5 s doubled six times is above the cap; a count that went on would take as long to come down again. */
const OPENINGS_MAX = 7;
/** So much health takes one step off the next time. */
const HEALTHY_MS = 30_000;
/** A probe that has not come back keeps others out for so long. */
const PROBE_MS = 5_000;

/** What {@link Breaker.admit} gives in place of a ticket. */
export const REFUSED = -1;

type State = "closed" | "shut" | "probing";

/** What the last report changed. */
export type BreakerChange = "shut" | "returned" | undefined;

/** Told how attempts end, it says whether the next may begin. "Closed" as in a circuit: the current flows. */
export class Breaker {
  /** "shut": nothing passes until `untilMs`. "probing": one at a time does. */
  state: State;
  /** When it stops being shut, monotonic milliseconds; -Infinity: it never was. */
  untilMs: number;
  /** Why it is or was shut; empty: it never was. */
  why: string;
  /** Attempts of an earlier time have an older ticket, and say nothing about now. */
  private ticket: number;
  /** Probes have tickets from here on. */
  private firstProbe: number;
  private probeUntilMs: number;
  private run: number;
  private openings: number;
  private healthyFromMs: number;
  private slice: number;
  private sliceEndMs: number;
  private readonly good: Uint32Array;
  private readonly bad: Uint32Array;

  constructor() {
    this.state = "closed";
    this.untilMs = Number.NEGATIVE_INFINITY;
    this.why = "";
    this.ticket = 0;
    this.firstProbe = 0;
    this.probeUntilMs = Number.NEGATIVE_INFINITY;
    this.run = 0;
    this.openings = 0;
    this.healthyFromMs = Number.NEGATIVE_INFINITY;
    this.slice = 0;
    this.sliceEndMs = Number.NEGATIVE_INFINITY;
    this.good = new Uint32Array(SLICES);
    this.bad = new Uint32Array(SLICES);
  }

  /** A ticket for an attempt that begins now, to be handed back with its end; {@link REFUSED} if it may not begin. */
  admit(nowMs: number): number {
    if (this.state === "closed") return this.ticket;
    if (this.state === "shut") {
      if (nowMs < this.untilMs) return REFUSED;
      this.state = "probing";
      this.firstProbe = this.ticket + 1;
    } else if (nowMs < this.probeUntilMs) return REFUSED;
    this.probeUntilMs = nowMs + PROBE_MS;
    this.ticket += 1;
    return this.ticket;
  }

  /** Whether {@link admit} would give a ticket. */
  wouldAdmit(nowMs: number): boolean {
    if (this.state === "closed") return true;
    return nowMs >= (this.state === "shut" ? this.untilMs : this.probeUntilMs);
  }

  /** The peer did what it was asked, or answered that the caller was wrong. */
  succeeded(ticket: number, nowMs: number): BreakerChange {
    if (this.state === "closed") {
      if (ticket !== this.ticket) return undefined;
      if (nowMs >= this.sliceEndMs) this.turnSlices(nowMs);
      this.good[this.slice] = (this.good[this.slice] as number) + 1;
      if (this.run !== 0) this.run = 0;
      return undefined;
    }
    // An overtaken probe counts too: it shows the same.
    if (this.state !== "probing" || ticket < this.firstProbe) return undefined;
    this.state = "closed";
    this.ticket += 1;
    this.forget(nowMs);
    return "returned";
  }

  /**
   * The peer failed at it: {@link OUTCOME_TRANSPORT}, `OUTCOME_RAISED` or `OUTCOME_LATE`.
   * @param text what it was, in a few words.
   * @param chance in [0, 1).
   */
  failed(ticket: number, nowMs: number, text: string, chance: number): BreakerChange {
    if (ticket !== this.ticket || this.state === "shut") return undefined;
    if (this.state === "probing") return this.shut(nowMs, `a probe failed (${text})`, chance);
    if (nowMs >= this.sliceEndMs) this.turnSlices(nowMs);
    this.bad[this.slice] = (this.bad[this.slice] as number) + 1;
    this.run += 1;
    if (this.run >= FAULTS_IN_A_ROW) {
      return this.shut(nowMs, `${this.run} faults in a row, the last: ${text}`, chance);
    }
    const good = sumOf(this.good);
    const attempts = good + sumOf(this.bad);
    if (attempts < ATTEMPTS_MIN || good >= GOOD_SHARE_MIN * attempts) return undefined;
    return this.shut(nowMs, `${Math.round((100 * good) / attempts)} % of ${attempts} attempts succeeded`, chance);
  }

  /** The attempt's end says nothing about the peer: it was cancelled, or refused for overload. The next call may be the probe. */
  saidNothing(ticket: number): void {
    if (this.state === "probing" && ticket === this.ticket) this.probeUntilMs = Number.NEGATIVE_INFINITY;
  }

  private shut(nowMs: number, why: string, chance: number): BreakerChange {
    if (this.state === "closed") this.forgive(nowMs);
    this.openings = Math.min(OPENINGS_MAX, this.openings + 1);
    const ms = Math.min(SHUT_MS_MAX, SHUT_MS * 2 ** (this.openings - 1));
    // Equal jitter: half of it for certain, so that clients do not come back in step.
    this.untilMs = nowMs + ms / 2 + (ms / 2) * chance;
    this.state = "shut";
    this.why = why;
    this.ticket += 1;
    return "shut";
  }

  /** One step off for each 30 s in which nothing shut it. */
  private forgive(nowMs: number): void {
    if (this.openings === 0) return;
    this.openings = Math.max(0, this.openings - Math.floor((nowMs - this.healthyFromMs) / HEALTHY_MS));
  }

  /** One that is open again needs the full evidence to be shut. */
  private forget(nowMs: number): void {
    this.run = 0;
    this.good.fill(0);
    this.bad.fill(0);
    this.healthyFromMs = nowMs;
  }

  /** Slices that have passed are empty now. */
  private turnSlices(nowMs: number): void {
    const passed = Math.floor((nowMs - this.sliceEndMs) / SLICE_MS) + 1;
    for (let i = Math.min(passed, SLICES); i > 0; i--) {
      this.slice = (this.slice + 1) % SLICES;
      this.good[this.slice] = 0;
      this.bad[this.slice] = 0;
    }
    this.sliceEndMs = passed > SLICES ? nowMs + SLICE_MS : this.sliceEndMs + passed * SLICE_MS;
  }
}

function sumOf(counts: Uint32Array): number {
  let sum = 0;
  for (const count of counts) sum += count;
  return sum;
}
