/**
 * Hot path: slow start, Envoy's formula with aggression 1: what became ready takes a tenth of its share at first and all of it after a
 * time, so that a cold peer warms up. Compared with the peer that has been ready longest: where all are new, nobody waits.
 */
import type { Random } from "../../world/random.ts";
import type { Candidate } from "./candidate.ts";

/** The least share of a peer that has become ready. */
const FACTOR_MIN = 0.1;

/** The slow start of one group of peers. */
export class SlowStart {
  private readonly durationMs: number;
  private untilMs: number;
  private eldestReadyMs: number;

  constructor(durationMs: number) {
    this.durationMs = durationMs;
    this.untilMs = Number.NEGATIVE_INFINITY;
    this.eldestReadyMs = Number.NEGATIVE_INFINITY;
  }

  /** The peers are others, or became ready at other times. */
  changed(members: readonly Candidate[]): void {
    let eldestMs = Number.POSITIVE_INFINITY;
    let youngestMs = Number.NEGATIVE_INFINITY;
    for (const { readySinceMs } of members) {
      eldestMs = Math.min(eldestMs, readySinceMs);
      youngestMs = Math.max(youngestMs, readySinceMs);
    }
    this.eldestReadyMs = eldestMs;
    this.untilMs = eldestMs === youngestMs ? Number.NEGATIVE_INFINITY : youngestMs + this.durationMs;
  }

  /** Whether somebody is to be spared: one comparison, so that a group without newcomers pays no more. */
  isOn(nowMs: number): boolean {
    return nowMs < this.untilMs;
  }

  /** What share of a full one the peer may take, in 0.1..1. */
  factor(candidate: Candidate, nowMs: number): number {
    return this.factorAfter(nowMs - candidate.readySinceMs);
  }

  /** Whether the peer lets this turn pass: by chance, in proportion to what it lacks against the eldest. */
  passes(candidate: Candidate, nowMs: number, random: Random): boolean {
    const factor = this.factor(candidate, nowMs);
    return factor < 1 && random.float() * this.factorAfter(nowMs - this.eldestReadyMs) >= factor;
  }

  private factorAfter(readyMs: number): number {
    if (readyMs >= this.durationMs) return 1;
    return Math.max(FACTOR_MIN, readyMs / this.durationMs);
  }
}
