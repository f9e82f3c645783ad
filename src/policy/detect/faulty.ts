/**
 * Whether a peer fails too much: so many faults in a row, or a success share that is low and worse than the others' on the same
 * methods. What a handler raises is held against a peer only where other peers do well with the same method.
 * Source: Finagle's FailureAccrual (5 in a row, or below 0.8 over 30 s), made relative to the others.
 */
import type { MethodFigures } from "./method-figures.ts";
import { METHODS_MAX, type PeerRecord } from "./peer-record.ts";
import { shareDifferenceZ } from "./significance.ts";

/** What one peer is accused of; the most severe is ejected first where not all may be. */
export interface Accusation {
  readonly record: PeerRecord;
  readonly severity: number;
  readonly why: string;
}

/** Fewer calls than this have no share. */
export const CALLS_MIN = 20;
/** Fewer calls of others are nothing to compare with. */
const OTHERS_MIN = 5;
/** From so many judged peers on, a peer is compared with a crowd; below, the distance must be larger. */
export const CROWD = 5;
const CROWD_POINTS = 0.1;
const FEW_POINTS = 0.3;
/** How sure the difference must be, in standard errors, and how sure where the others are ill too: then it may be chance whose turn it is. */
const CROWD_Z = 4;
const FEW_Z = 2.5;
const ALL_ILL_Z = 4.5;
/** Faults in a row go before shares, shares before slowness. */
const ROW_SEVERITY = 1_000;
const SHARE_SEVERITY = 100;

/** Of the sweep that is being made; there is never more than one. With thousands of channels new ones each second are felt. */
const CALLS = new Float64Array(METHODS_MAX + 1);
const FAULTS = new Float64Array(METHODS_MAX + 1);

/** Calls and faults of all peers that are not ejected, by slot of the method, and their runs: made once for a sweep, and good until the next. */
export class FleetFaults {
  readonly calls: Float64Array;
  readonly faults: Float64Array;
  /** Peers that have not succeeded since their last transport or late fault. */
  inFault: number;
  /** Peers with enough calls to have a share. */
  judged: number;
  /** When the peers that are in no run of faults last succeeded, sorted. */
  private readonly okTimes: number[];

  constructor(records: readonly PeerRecord[]) {
    this.calls = CALLS.fill(0);
    this.faults = FAULTS.fill(0);
    this.inFault = 0;
    this.judged = 0;
    this.okTimes = [];
    for (const record of records) if (!record.isMarked) this.include(record);
    this.okTimes.sort((a, b) => a - b);
  }

  private include(record: PeerRecord): void {
    if (record.transportRun + record.lateRun > 0) this.inFault += 1;
    else if (record.run === 0 && !Number.isNaN(record.okAtMs)) this.okTimes.push(record.okAtMs);
    let calls = 0;
    for (const figures of record.figures) {
      calls += figures.calls;
      this.calls[figures.slot] = (this.calls[figures.slot] ?? 0) + figures.calls;
      this.faults[figures.slot] = (this.faults[figures.slot] ?? 0) + figures.faults;
    }
    if (calls >= CALLS_MIN) this.judged += 1;
  }

  /** Peers that have succeeded since a time, and are in no run of faults. */
  wellSince(atMs: number): number {
    let low = 0;
    let high = this.okTimes.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.okTimes[middle] ?? 0) < atMs) low = middle + 1;
      else high = middle;
    }
    return this.okTimes.length - low;
  }

  othersCalls(figures: MethodFigures): number {
    return (this.calls[figures.slot] ?? 0) - figures.calls;
  }

  othersFaults(figures: MethodFigures): number {
    return (this.faults[figures.slot] ?? 0) - figures.faults;
  }
}

/** What is asked of a peer. */
export interface FaultLimits {
  readonly consecutiveFailures: number;
  readonly successShareMin: number;
}

/**
 * So many faults in a row. Not where more of the others are in a row of faults too than have succeeded since this one began: then it is
 * us or the network, and nobody is ejected.
 */
export function accuseRun(record: PeerRecord, fleet: FleetFaults, limits: FaultLimits): Accusation | undefined {
  let run = record.transportRun + record.lateRun;
  if (record.run > run) run += raisedHereAlone(record, fleet, limits);
  if (run < limits.consecutiveFailures) return undefined;
  const isSelfInFault = record.transportRun + record.lateRun > 0;
  const othersInFault = fleet.inFault - (isSelfInFault ? 1 : 0);
  if (othersInFault > fleet.wellSince(record.runSinceMs)) return undefined;
  return { record, severity: ROW_SEVERITY + run, why: `${run} faults in a row` };
}

function raisedHereAlone(record: PeerRecord, fleet: FleetFaults, limits: FaultLimits): number {
  let raised = 0;
  for (const figures of record.figures) {
    if (figures.runId !== record.runId) continue;
    const calls = fleet.othersCalls(figures);
    const isWellElsewhere = calls >= OTHERS_MIN && 1 - fleet.othersFaults(figures) / calls >= limits.successShareMin;
    if (isWellElsewhere) raised += figures.runRaised;
  }
  return raised;
}

/** A success share below the limit, and below what the others make of the same methods. */
export function accuseShare(record: PeerRecord, fleet: FleetFaults, limits: FaultLimits): Accusation | undefined {
  let calls = 0;
  let faults = 0;
  let expected = 0;
  let othersCalls = 0;
  for (const figures of record.figures) {
    const others = fleet.othersCalls(figures);
    if (figures.calls === 0 || others < OTHERS_MIN) continue;
    calls += figures.calls;
    faults += figures.faults;
    expected += (figures.calls * fleet.othersFaults(figures)) / others;
    othersCalls += others;
  }
  if (calls < CALLS_MIN) return undefined;
  const share = 1 - faults / calls;
  const othersShare = 1 - expected / calls;
  if (share >= limits.successShareMin) return undefined;
  const isCrowd = fleet.judged >= CROWD;
  const points = othersShare - share;
  // Shares such as 1 - 6/20 are no exact numbers.
  if (points < (isCrowd ? CROWD_POINTS : FEW_POINTS) - 1e-9) return undefined;
  const needed = othersShare < limits.successShareMin ? ALL_ILL_Z : isCrowd ? CROWD_Z : FEW_Z;
  if (shareDifferenceZ(faults, calls, (expected / calls) * othersCalls, othersCalls) < needed) return undefined;
  const why = `${percent(share)} of ${calls} calls succeeded, ${percent(othersShare)} at the others`;
  return { record, severity: SHARE_SEVERITY + points, why };
}

export function percent(share: number): string {
  return `${(share * 100).toFixed(0)} %`;
}
