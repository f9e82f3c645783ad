/**
 * What the detectors hold of one peer: whether it is ejected, until when and why, and the evidence.
 */
import type { MethodFigures } from "./method-figures.ts";

/** Methods with figures of their own, numbered 0..63; all others share one more slot. */
export const METHODS_MAX = 64;

/** Who the peer is. */
export interface PeerFacts {
  /** For people, and in `why`. */
  readonly name: string;
  readonly zone?: string | undefined;
  readonly version?: string | undefined;
}

/** Before the first call. Replaced, never changed. */
export const NO_FIGURES: MethodFigures[] = [];

/** The client's peer holds one; one detector at a time keeps it. Read the first part, leave the rest to the detector. */
export class PeerRecord {
  readonly name: string;
  /** What its owner was told last. */
  zone: string | undefined;
  version: string | undefined;
  /** Not to be picked while others are there. Stays false while the detector only observes. */
  isEjected: boolean;
  /** When the last ejection ends or ended, monotonic milliseconds; -Infinity: never ejected. */
  ejectedUntilMs: number;
  /** How often it was ejected lately, 0..7: the next ejection is twice as long with each; one less for each 30 s of health. */
  ejections: number;
  /** Why it is or was ejected; empty: never. */
  why: string;
  /** Share of its capacity in use, 0..1 (in flight / cap). The owner sets it before `sweepGroups`; 0 means idle. */
  load: number;

  /** The detector's own, from here on. Place in its list; -1: in none. */
  index: number;
  /** Decided to be ejected, acted upon or not. */
  isMarked: boolean;
  /** The mark is a group's. */
  isMarkedByGroup: boolean;
  /** Faults since the last success, by outcome; those raised by handlers are with their methods. */
  transportRun: number;
  lateRun: number;
  run: number;
  /** When the run began, and when the last success was. NaN at first, so that they are doubles from the start. */
  runSinceMs: number;
  okAtMs: number;
  /** Changes with each run, so that the counts of its methods need no clearing. */
  runId: number;
  /** A full run asks for a sweep no sooner than this. */
  askAtMs: number;
  healthyFromMs: number;
  /** What another detector has found of it since the last sweep; empty: nothing. And when that was the last time. */
  charge: string;
  chargedAtMs: number;
  /** Sweeps in a row that found it slow. */
  slowSweeps: number;
  /** It is slower than the others, so its past does not learn. */
  isSlower: boolean;
  /** Calls and faults since it was added. */
  calls: number;
  faults: number;
  /** By slot, as far as the highest that is used. Outside it is nothing, so ask its length first. */
  bySlot: (MethodFigures | undefined)[];
  /** Those that exist. */
  figures: MethodFigures[];

  constructor(facts: PeerFacts) {
    this.name = facts.name;
    this.zone = facts.zone;
    this.version = facts.version;
    this.isEjected = false;
    this.ejectedUntilMs = Number.NEGATIVE_INFINITY;
    this.ejections = 0;
    this.why = "";
    this.load = 0;
    this.index = -1;
    this.isMarked = false;
    this.isMarkedByGroup = false;
    this.transportRun = 0;
    this.lateRun = 0;
    this.run = 0;
    this.runSinceMs = Number.NaN;
    this.okAtMs = Number.NaN;
    this.runId = 0;
    this.askAtMs = Number.NEGATIVE_INFINITY;
    this.healthyFromMs = Number.NEGATIVE_INFINITY;
    this.charge = "";
    this.chargedAtMs = Number.NEGATIVE_INFINITY;
    this.slowSweeps = 0;
    this.isSlower = false;
    this.calls = 0;
    this.faults = 0;
    this.bySlot = NO_FIGURES;
    this.figures = NO_FIGURES;
  }

  /** A success ends the run of faults. */
  endRun(): void {
    this.transportRun = 0;
    this.lateRun = 0;
    this.run = 0;
    // Kept small: it is compared for equality only.
    this.runId = (this.runId + 1) & 0x3fffffff;
  }

  /** Nothing it did before counts any more, but its own past. */
  forget(nowMs: number): void {
    this.endRun();
    this.charge = "";
    this.slowSweeps = 0;
    this.isSlower = false;
    this.askAtMs = Number.NEGATIVE_INFINITY;
    for (const figures of this.figures) figures.clear(nowMs);
  }
}
