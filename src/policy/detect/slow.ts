/**
 * Whether a peer is slow: grey failure, which no success share shows. Five peers and more are judged by a robust z (median and
 * MAD, since one slow peer would stretch a standard deviation until it hides in it); fewer by the median of the others and
 * the peer's own past, since in so small a crowd either alone is often wrong.
 */
import { type Accusation, CROWD } from "./faulty.ts";
import { METHODS_MAX, type PeerRecord } from "./peer-record.ts";

/** MAD to standard deviation, for a normal distribution. */
const MAD_FACTOR = 1.4826;
/** The scale is never below this share of the median: peers that are all alike would make a hair's breadth an outlier. */
const SCALE_FLOOR = 0.1;
const Z_MAX = 4;
/** Below five peers: so many times the others, and so many times its own past. */
const FEW_RATIO = 3;
/** No peer is ejected for less than this, in milliseconds. */
const EXCESS_MS_MIN = 5;
/** Sweeps in a row that must find it. */
const SWEEPS = 2;
/** A crowd's method needs medians of so many peers to have a usual one. */
const CROWD_MEDIANS = 3;
/** From so many peers on, a zone is compared within itself. */
const ZONE_PACES = 3;

/** How a peer stands against the others on its own mix of methods. */
interface Pace {
  readonly record: PeerRecord;
  /** Its latency / that of the others. */
  readonly ratio: number;
  /** Its latency / its own past; NaN: no past. */
  readonly pastRatio: number;
  readonly excessMs: number;
  readonly ownMs: number;
}

/** Looks at the medians of all peers that are not ejected, once for a regular sweep; remembers in each record how often it was slow. */
export function accuseSlow(records: readonly PeerRecord[]): Accusation[] {
  const active = records.filter((record) => !record.isMarked);
  // Nobody to compare with.
  if (active.length < 2) {
    for (const record of records) record.slowSweeps = 0;
    return [];
  }
  const medians = mediansBySlot(active);
  const inCrowd = active.flatMap((record) => paceOf(record, medians, true) ?? []);
  const slow =
    inCrowd.length >= CROWD
      ? slowInCrowd(inCrowd)
      : slowAmongFew(active.flatMap((record) => paceOf(record, medians, false) ?? []));
  for (const record of records) record.slowSweeps = slow.has(record) ? Math.min(SWEEPS, record.slowSweeps + 1) : 0;
  return [...slow.values()].filter(({ record }) => record.slowSweeps >= SWEEPS);
}

function slowInCrowd(paces: readonly Pace[]): ReadonlyMap<PeerRecord, Accusation> {
  const centers = zoneCenters(paces);
  const relative = paces.map(({ record, ratio }) => ratio / (centers.get(record.zone) ?? 1));
  const zOf = robustZ(relative);
  const slow = new Map<PeerRecord, Accusation>();
  paces.forEach((pace, index) => {
    noteSlower(pace);
    const center = centers.get(pace.record.zone) ?? 1;
    const z = zOf(relative[index] ?? Number.NaN);
    const excessMs = pace.ownMs - center * (pace.ownMs - pace.excessMs);
    if (z > Z_MAX && excessMs >= EXCESS_MS_MIN) slow.set(pace.record, accusation(pace, `z ${z.toFixed(1)}`));
  });
  return slow;
}

function slowAmongFew(paces: readonly Pace[]): ReadonlyMap<PeerRecord, Accusation> {
  const slow = new Map<PeerRecord, Accusation>();
  for (const pace of paces) {
    noteSlower(pace);
    // Without a past its ratio is NaN, and the comparison false.
    if (pace.record.isSlower && pace.pastRatio >= FEW_RATIO)
      slow.set(pace.record, accusation(pace, `${pace.pastRatio.toFixed(1)} times its own past`));
  }
  return slow;
}

function noteSlower(pace: Pace): void {
  pace.record.isSlower = pace.ratio >= FEW_RATIO && pace.excessMs >= EXCESS_MS_MIN;
}

/** A zone of several peers has its own usual pace, or all peers of a far one would be outliers. */
function zoneCenters(paces: readonly Pace[]): ReadonlyMap<string | undefined, number> {
  const byZone = new Map<string, number[]>();
  for (const { record, ratio } of paces) {
    if (record.zone === undefined) continue;
    const ratios = byZone.get(record.zone) ?? [];
    ratios.push(ratio);
    byZone.set(record.zone, ratios);
  }
  const centers = new Map<string | undefined, number>();
  for (const [zone, ratios] of byZone) if (ratios.length >= ZONE_PACES) centers.set(zone, medianOf(sorted(ratios)));
  return centers;
}

function accusation(pace: Pace, detail: string): Accusation {
  const usualMs = pace.ownMs - pace.excessMs;
  const why = `median ${pace.ownMs.toFixed(1)} ms, ${usualMs.toFixed(1)} ms at the others (${detail})`;
  return { record: pace.record, severity: Math.min(99, pace.ratio), why };
}

/** Medians by slot. The slot that unnumbered methods share is left out: it mixes what cannot be compared. */
function mediansBySlot(records: readonly PeerRecord[]): readonly (Float64Array | undefined)[] {
  const bySlot = new Array<number[] | undefined>(METHODS_MAX).fill(undefined);
  for (const record of records) {
    for (const figures of record.figures) {
      if (!hasMedian(figures)) continue;
      const medians = bySlot[figures.slot] ?? [];
      medians.push(figures.medianMs);
      bySlot[figures.slot] = medians;
    }
  }
  return bySlot.map((medians) => medians && sorted(medians));
}

function hasMedian({ slot, medianMs }: { readonly slot: number; readonly medianMs: number }): boolean {
  return slot < METHODS_MAX && !Number.isNaN(medianMs);
}

/** Weighted by the peer's own calls, so that a peer that is given the heavy methods is not slow for it. */
function paceOf(
  record: PeerRecord,
  medians: readonly (Float64Array | undefined)[],
  isCrowd: boolean,
): Pace | undefined {
  let calls = 0;
  let own = 0;
  let usual = 0;
  let past = 0;
  for (const figures of record.figures) {
    const all = medians[figures.slot];
    if (!hasMedian(figures) || all === undefined || figures.calls === 0) continue;
    if (all.length < (isCrowd ? CROWD_MEDIANS : 2)) continue;
    calls += figures.calls;
    own += figures.calls * figures.medianMs;
    usual += figures.calls * (isCrowd ? medianOf(all) : medianWithout(all, figures.medianMs));
    past += figures.calls * figures.pastMs;
  }
  if (calls === 0) return undefined;
  return { record, ratio: own / usual, pastRatio: own / past, excessMs: (own - usual) / calls, ownMs: own / calls };
}

/** How far a value lies above the median of all, in robust standard deviations. */
function robustZ(values: readonly number[]): (value: number) => number {
  const center = medianOf(sorted(values));
  const deviation = medianOf(sorted(values.map((value) => Math.abs(value - center))));
  const scale = Math.max(deviation * MAD_FACTOR, SCALE_FLOOR * center);
  return (value) => (value - center) / scale;
}

/** Typed, for those are sorted by number, and fast. */
function sorted(values: readonly number[]): Float64Array {
  return Float64Array.from(values).sort();
}

/** Of sorted values; NaN of none. */
function medianOf(values: Float64Array): number {
  const middle = values.length >> 1;
  const upper = values[middle] ?? Number.NaN;
  return values.length % 2 === 1 ? upper : ((values[middle - 1] ?? Number.NaN) + upper) / 2;
}

/** The median of sorted values without one of them. */
function medianWithout(values: Float64Array, own: number): number {
  const at = values.indexOf(own);
  return medianOf(values.filter((_value, index) => index !== at));
}
