/**
 * Which peers are ejected, by what calls to them came to: faults in a row, success share, latency, each against the other peers;
 * and a version or zone that fails together. Pure: outcomes come in one by one, decisions go out at a sweep.
 *
 * Sources: Finagle FailureAccrual, Envoy outlier detection, grpc/proposal A50; changed where their users were hurt: a returned peer needs the
 * full evidence again (envoy#40697), the time grows and is capped (envoy#26758, #37602), the last peer stays, and where all are equally ill nobody goes.
 */
import type { Random } from "../../world/random.ts";
import { Correlated } from "./correlated.ts";
import { type Accusation, accuseRun, accuseShare, FleetFaults } from "./faulty.ts";
import { MethodFigures, SLICE_MS, SLICES } from "./method-figures.ts";
import { OUTCOME_IGNORED, OUTCOME_LATE, OUTCOME_OK, OUTCOME_RAISED, OUTCOME_TRANSPORT } from "./outcome.ts";
import { METHODS_MAX, NO_FIGURES, type PeerRecord } from "./peer-record.ts";
import { accuseSlow } from "./slow.ts";

export { OUTCOME_IGNORED, OUTCOME_LATE, OUTCOME_OK, OUTCOME_RAISED, OUTCOME_TRANSPORT } from "./outcome.ts";
export { type PeerFacts, PeerRecord } from "./peer-record.ts";

/** How strict the detector is. */
export interface OutlierOptions {
  /** Faults in a row that eject, an integer >= 1. Usually 5. */
  readonly consecutiveFailures: number;
  /** Success share over 30 s below which a peer is compared with the others, 0..1. Usually 0.8. */
  readonly successShareMin: number;
  /** Share of the peers that may be ejected, 0..1: rounded down, but one of two or more, and never the last. Usually 0.5. */
  readonly ejectedShareMax: number;
}

/** A peer was ejected or has returned. */
export interface OutlierChange {
  readonly record: PeerRecord;
  readonly kind: "ejected" | "returned";
  readonly why: string;
  /** When the ejection ends, monotonic milliseconds; after a return, when that was. */
  readonly untilMs: number;
}

const EJECTION_MS = 5_000;
const EJECTION_MS_MAX = 300_000;
/** 5 s doubled six times is above the cap; a count that went on would take as long to come down again (envoy#37602). */
const EJECTIONS_MAX = 7;
/** So much health takes one step off the next ejection. */
const HEALTHY_MS = 30_000;
/** Sweeps that faults in a row ask for are at least so far apart (they look at all peers), and those for a peer that could not be ejected a second. */
const URGENT_MS = 20;
const URGENT_MS_PER_PEER = 0.02;
const ASK_AGAIN_MS = 1_000;
/** What another detector found goes before all else; peers found alike within this time are not to blame. */
const CHARGE_SEVERITY = 10_000;
const CHARGE_MS = 60_000;
/** Sweeps closer than this are not regular ones: latency is not judged twice by the same samples. */
const REGULAR_MS = 500;

interface Room {
  /** Peers that are not ejected. */
  left: number;
  /** Of them, how many the limit lets go. */
  ordinary: number;
}

const nothing: readonly OutlierChange[] = Object.freeze([]);

/** One for the peers of a target. */
export class OutlierDetector {
  /** When a sweep is due although nothing happens: the end of an ejection; Infinity if there is none. */
  nextSweepMs: number;
  private readonly options: OutlierOptions;
  private readonly random: Random;
  private records: PeerRecord[];
  private readonly correlated: Correlated;
  private isDark: boolean;
  private areGroupsDark: boolean;
  /** What must be summed up anew. */
  private readonly touched: MethodFigures[];
  private areAllTouched: boolean;
  private slice: number;
  private sliceEndMs: number;
  private urgentAtMs: number;
  private regularAtMs: number;

  /** Throws a RangeError for an option outside its range. */
  constructor(options: OutlierOptions, random: Random) {
    checkOptions(options);
    this.nextSweepMs = Number.POSITIVE_INFINITY;
    this.options = options;
    this.random = random;
    this.records = [];
    this.correlated = new Correlated();
    this.isDark = false;
    this.areGroupsDark = false;
    this.touched = [];
    this.areAllTouched = false;
    this.slice = 0;
    this.sliceEndMs = Number.NaN;
    this.urgentAtMs = Number.NEGATIVE_INFINITY;
    this.regularAtMs = Number.NEGATIVE_INFINITY;
  }

  /** Dark: decides and reports, but `isEjected` stays false. May change at any time. */
  get isObserving(): boolean {
    return this.isDark;
  }

  set isObserving(isObserving: boolean) {
    this.isDark = isObserving;
    for (const record of this.records) if (record.isMarked && !record.isMarkedByGroup) record.isEjected = !isObserving;
  }

  /** The same for what versions and zones are ejected for together. */
  get isObservingGroups(): boolean {
    return this.areGroupsDark;
  }

  set isObservingGroups(isObserving: boolean) {
    this.areGroupsDark = isObserving;
    for (const record of this.records) if (record.isMarkedByGroup) record.isEjected = !isObserving;
  }

  /** A peer was discovered. It begins without a past. Throws an Error if it is in a detector already. */
  add(record: PeerRecord, nowMs: number): void {
    if (record.index >= 0) throw new Error(`peer ${record.name} is in a detector already`);
    record.index = this.records.length;
    record.healthyFromMs = nowMs;
    // As with figures: room for 17 is much where there is one.
    if (this.records.length === 0) this.records = [record];
    else this.records.push(record);
  }

  /** A peer is gone; nothing is remembered against it but its count of ejections. Does nothing if it is not here. */
  remove(record: PeerRecord): void {
    const { index } = record;
    if (index < 0 || this.records[index] !== record) return;
    const last = this.records.pop();
    if (last !== undefined && last !== record) {
      this.records[index] = last;
      last.index = index;
    }
    record.index = -1;
    record.isMarked = false;
    record.isMarkedByGroup = false;
    record.isEjected = false;
    record.figures = NO_FIGURES;
    record.bySlot = NO_FIGURES;
    record.endRun();
    this.correlated.remove(record);
    this.findNextSweep();
  }

  /**
   * Hot path. How an attempt at a peer ended: `outcome` is one of OUTCOME_*, `method` a small integer (0..63 have figures of their own, others share),
   * `latencyMs` counts for success and lateness. True: sweep at once, for so many faults came in a row.
   */
  observe(record: PeerRecord, method: number, outcome: number, latencyMs: number, nowMs: number): boolean {
    if (outcome === OUTCOME_IGNORED) return false;
    if (!(nowMs < this.sliceEndMs)) this.turnSlices(nowMs);
    const slot = method < METHODS_MAX ? method : METHODS_MAX;
    const known = slot < record.bySlot.length ? record.bySlot[slot] : undefined;
    const figures = known ?? firstCall(record, slot, nowMs);
    figures.count(this.slice, outcome);
    if (!figures.isTouched) {
      figures.isTouched = true;
      this.touched.push(figures);
    }
    record.calls += 1;
    if (outcome === OUTCOME_OK) {
      figures.latency(latencyMs);
      record.okAtMs = nowMs;
      if (record.run !== 0) record.endRun();
      return false;
    }
    return this.observeFault(record, figures, outcome, latencyMs, nowMs);
  }

  /** A detector that looks at one peer alone (corruption) has found it ill: sweep now. The limits hold for it as for any other. */
  charge(record: PeerRecord, why: string, nowMs: number): void {
    record.charge = why;
    record.chargedAtMs = nowMs;
  }

  /**
   * Judges all peers: about once a second while there is traffic, when `observe` asks, and at `nextSweepMs`.
   * @param stallScore `SelfWatch.score`: while it is not 0, nobody is ejected for lateness or latency.
   */
  sweep(nowMs: number, stallScore: number): readonly OutlierChange[] {
    this.prepare(nowMs, stallScore);
    const changes: OutlierChange[] = [];
    for (const record of this.records) {
      if (record.isMarked && nowMs >= record.ejectedUntilMs)
        changes.push(this.giveBack(record, nowMs, "its time is over"));
      else if (!record.isMarked) forgive(record, nowMs);
    }
    const last = this.firstToReturn();
    if (last !== undefined) changes.push(this.giveBack(last, nowMs, "the others are gone"));
    const accusations = this.accuse(nowMs, stallScore);
    const room = this.findRoom();
    for (const { record, why } of accusations.sort((a, b) => b.severity - a.severity)) {
      if (record.isMarked) continue;
      record.healthyFromMs = nowMs;
      if (this.takeRoom(room, record)) changes.push(this.eject(record, nowMs, why, false));
    }
    this.urgentAtMs = nowMs + URGENT_MS + URGENT_MS_PER_PEER * this.records.length;
    this.findNextSweep();
    return changes.length === 0 ? nothing : changes;
  }

  /** Judges versions and zones, about once a second while there is traffic; `PeerRecord.load` says who has room. */
  sweepGroups(nowMs: number, stallScore: number): readonly OutlierChange[] {
    if (stallScore > 0) return nothing;
    this.prepare(nowMs, stallScore);
    const step = this.correlated.consider(this.records, nowMs, this.areGroupsDark);
    if (step === undefined) return nothing;
    const changes = [
      ...step.eject.map((record) => this.ejectMember(record, nowMs, step.why)),
      ...step.revert.map((record) => this.revertMember(record, nowMs, step.why)),
    ];
    this.findNextSweep();
    return changes;
  }

  private observeFault(
    record: PeerRecord,
    figures: MethodFigures,
    outcome: number,
    latencyMs: number,
    nowMs: number,
  ): boolean {
    record.faults += 1;
    if (record.run === 0) record.runSinceMs = nowMs;
    record.run += 1;
    if (outcome === OUTCOME_TRANSPORT) record.transportRun += 1;
    else if (outcome === OUTCOME_LATE) {
      record.lateRun += 1;
      // It took at least that long.
      figures.latency(latencyMs);
    } else if (outcome === OUTCOME_RAISED) {
      if (figures.runId !== record.runId) {
        figures.runId = record.runId;
        figures.runRaised = 0;
      }
      figures.runRaised += 1;
    }
    if (record.run < this.options.consecutiveFailures || record.isMarked) return false;
    return nowMs >= record.askAtMs && nowMs >= this.urgentAtMs;
  }

  private prepare(nowMs: number, stallScore: number): void {
    if (!(nowMs < this.sliceEndMs)) this.turnSlices(nowMs);
    if (stallScore > 0) this.excuseLateness();
    if (this.areAllTouched)
      for (const record of this.records) for (const figures of record.figures) figures.summarize();
    else for (const figures of this.touched) figures.summarize();
    for (const figures of this.touched) figures.isTouched = false;
    this.touched.length = 0;
    this.areAllTouched = false;
  }

  /** Lateness seen through our own stall is ours; it must not count when the stall is over either. */
  private excuseLateness(): void {
    for (const record of this.records) {
      record.run -= record.lateRun;
      record.lateRun = 0;
    }
    // Those that were late since the last sweep are among the touched.
    const before = (this.slice + SLICES - 1) % SLICES;
    for (const figures of this.touched) {
      figures.excuseLate(this.slice);
      figures.excuseLate(before);
    }
  }

  private accuse(nowMs: number, stallScore: number): Accusation[] {
    const fleet = new FleetFaults(this.records);
    const accusations: Accusation[] = [];
    for (const record of this.records) {
      if (record.isMarked) continue;
      // Whatever comes of it now, it asks no sooner than in a second again.
      if (record.run >= this.options.consecutiveFailures) record.askAtMs = nowMs + ASK_AGAIN_MS;
      const found =
        this.accuseCharged(record, nowMs) ??
        accuseRun(record, fleet, this.options) ??
        accuseShare(record, fleet, this.options);
      if (found !== undefined) accusations.push(found);
    }
    if (nowMs < this.regularAtMs + REGULAR_MS) return accusations;
    this.regularAtMs = nowMs;
    // What was measured through our own stall says nothing; the windows then turn without teaching the past.
    const isCalm = stallScore === 0;
    if (isCalm) {
      for (const record of this.records) for (const figures of record.figures) figures.findMedian();
      accusations.push(...accuseSlow(this.records));
    }
    for (const record of this.records) {
      if (record.isMarked) continue;
      for (const figures of record.figures) figures.turn(nowMs, isCalm && !record.isSlower);
    }
    return accusations;
  }

  /** Not where most of the others were found the same lately: then it is us, or the network. */
  private accuseCharged(record: PeerRecord, nowMs: number): Accusation | undefined {
    const why = record.charge;
    if (why === "") return undefined;
    record.charge = "";
    let alike = 0;
    for (const other of this.records) if (other !== record && nowMs - other.chargedAtMs <= CHARGE_MS) alike += 1;
    return alike * 2 > this.records.length - 1 ? undefined : { record, severity: CHARGE_SEVERITY, why };
  }

  /** A member of a group that is kept out has no part in the limit. */
  private isExempt(record: PeerRecord): boolean {
    return !this.areGroupsDark && this.correlated.holds(record);
  }

  /** How many may still go: at most the allowed share, at least one of two or more. */
  private findRoom(): Room {
    let total = 0;
    let marked = 0;
    let left = 0;
    for (const record of this.records) {
      if (!record.isMarked) left += 1;
      if (this.isExempt(record)) continue;
      total += 1;
      if (record.isMarked) marked += 1;
    }
    const most = Math.min(total - 1, Math.max(1, Math.floor(total * this.options.ejectedShareMax)));
    return { left, ordinary: most - marked };
  }

  /** Never the last. */
  private takeRoom(room: Room, record: PeerRecord): boolean {
    if (room.left <= 1) return false;
    if (!this.isExempt(record)) {
      if (room.ordinary <= 0) return false;
      room.ordinary -= 1;
    }
    room.left -= 1;
    return true;
  }

  private eject(record: PeerRecord, nowMs: number, why: string, isByGroup: boolean): OutlierChange {
    record.ejections = Math.min(EJECTIONS_MAX, record.ejections + 1);
    const ms = Math.min(EJECTION_MS_MAX, EJECTION_MS * 2 ** (record.ejections - 1));
    // Equal jitter: half of it for certain, so that an ejection means something, and clients do not come back in step.
    record.ejectedUntilMs = nowMs + ms / 2 + (ms / 2) * this.random.float();
    record.isMarked = true;
    record.isMarkedByGroup = isByGroup;
    record.isEjected = isByGroup ? !this.areGroupsDark : !this.isDark;
    record.why = why;
    record.endRun();
    record.slowSweeps = 0;
    return { record, kind: "ejected", why, untilMs: record.ejectedUntilMs };
  }

  private giveBack(record: PeerRecord, nowMs: number, why: string): OutlierChange {
    record.isMarked = false;
    record.isMarkedByGroup = false;
    record.isEjected = false;
    record.healthyFromMs = nowMs;
    record.forget(nowMs);
    return { record, kind: "returned", why, untilMs: nowMs };
  }

  /** Where groups are only observed, the record stays as it is, so that the ordinary rules go on. */
  private ejectMember(record: PeerRecord, nowMs: number, why: string): OutlierChange {
    if (!this.areGroupsDark) return this.eject(record, nowMs, why, true);
    return { record, kind: "ejected", why, untilMs: nowMs };
  }

  private revertMember(record: PeerRecord, nowMs: number, why: string): OutlierChange {
    if (!this.areGroupsDark) return this.giveBack(record, nowMs, why);
    return { record, kind: "returned", why, untilMs: nowMs };
  }

  /** Slices that have passed are empty now. */
  private turnSlices(nowMs: number): void {
    if (Number.isNaN(this.sliceEndMs)) {
      this.sliceEndMs = nowMs + SLICE_MS;
      return;
    }
    const passed = Math.floor((nowMs - this.sliceEndMs) / SLICE_MS) + 1;
    for (let i = 0; i < Math.min(passed, SLICES); i += 1) {
      this.slice = (this.slice + 1) % SLICES;
      for (const record of this.records) for (const figures of record.figures) figures.clearSlice(this.slice);
    }
    this.areAllTouched = true;
    this.sliceEndMs += passed * SLICE_MS;
  }

  /** Where removals have left nobody in service: the one whose time ends first. */
  private firstToReturn(): PeerRecord | undefined {
    let first: PeerRecord | undefined;
    for (const record of this.records) {
      if (!record.isMarked) return undefined;
      if (first === undefined || record.ejectedUntilMs < first.ejectedUntilMs) first = record;
    }
    return first;
  }

  private findNextSweep(): void {
    let next = Number.POSITIVE_INFINITY;
    for (const record of this.records) if (record.isMarked) next = Math.min(next, record.ejectedUntilMs);
    // At once, that is in the past, where nobody is left in service.
    this.nextSweepMs = this.firstToReturn() === undefined ? next : 0;
  }
}

function firstCall(record: PeerRecord, slot: number, nowMs: number): MethodFigures {
  const figures = new MethodFigures(slot, nowMs);
  if (slot >= record.bySlot.length) record.bySlot = grown(record.bySlot, slot + 1);
  record.bySlot[slot] = figures;
  // An empty array that is pushed to makes room for 17, and many clients use one method.
  if (record.figures.length === 0) record.figures = [figures];
  else record.figures.push(figures);
  return figures;
}

/** Twice as long, or as long as it must be. */
function grown(bySlot: readonly (MethodFigures | undefined)[], length: number): (MethodFigures | undefined)[] {
  const longer = new Array<MethodFigures | undefined>(Math.max(length, Math.min(2 * bySlot.length, METHODS_MAX + 1)));
  for (let slot = 0; slot < longer.length; slot += 1) longer[slot] = bySlot[slot];
  return longer;
}

/** Each 30 s in service without an accusation take one step off. */
function forgive(record: PeerRecord, nowMs: number): void {
  while (record.ejections > 0 && nowMs - record.healthyFromMs >= HEALTHY_MS) {
    record.ejections -= 1;
    record.healthyFromMs += HEALTHY_MS;
  }
}

function checkOptions({ consecutiveFailures, successShareMin, ejectedShareMax }: OutlierOptions): void {
  if (!Number.isInteger(consecutiveFailures) || consecutiveFailures < 1)
    throw new RangeError(`gate.consecutiveFailures must be an integer >= 1, got ${consecutiveFailures}`);
  if (!(successShareMin >= 0 && successShareMin <= 1))
    throw new RangeError(`gate.successShareMin must be 0..1, got ${successShareMin}`);
  if (!(ejectedShareMax >= 0 && ejectedShareMax <= 1))
    throw new RangeError(`gate.ejectedShareMax must be 0..1, got ${ejectedShareMax}`);
}
