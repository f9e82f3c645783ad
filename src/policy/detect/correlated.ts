/**
 * A version or a zone that fails together: no limit of half the peers must keep a bad release in service. Pure. The group must have at least
 * two peers inside and two outside, fail significantly more on the same methods, also without its worst peer (calls of one peer
 * are not independent), and the rest must have room. It goes in steps, a quarter at a time, comes back if the rest worsens, and one group
 * at a time is held.
 */
import { percent } from "./faulty.ts";
import { METHODS_MAX, type PeerRecord } from "./peer-record.ts";
import { type Stratum, shareDifferenceZ, strataP } from "./significance.ts";

/** Peers that have something in common. */
export interface PeerGroup {
  readonly by: "version" | "zone";
  readonly value: string;
}

/** What to do now. */
export interface GroupStep {
  readonly group: PeerGroup;
  readonly eject: readonly PeerRecord[];
  readonly revert: readonly PeerRecord[];
  readonly why: string;
}

const P_MAX = 0.001;
const PEERS_MIN = 2;
/** Significant is not yet much: a group must fail so many points more. */
const POINTS_MIN = 0.1;
/** A step takes this share of the group. */
const STEP_SHARE = 0.25;
/** Mean load of the peers that would be left, to begin and to go on. */
const LOAD_MAX = 0.8;
const LOAD_REVERT = 0.95;
/** The rest has worsened: so many points, and so many standard errors, over so many calls. */
const WORSE_POINTS = 0.05;
const WORSE_Z = 3;
const WORSE_CALLS = 20;
/** After a reversal no group is touched for so long, in milliseconds: it was room that was missing, or the wrong cause. */
const REVERTED_MS = 60_000;
/** A group is let go when none of its members has been out for so long. */
const RELEASE_MS = 30_000;
/** Steps are at least so far apart, however often they are asked for. */
const STEP_MS = 500;
/** Versions, and zones, that are compared with the rest in one turn. */
const SUSPECTS_MAX = 16;

interface Evidence {
  readonly group: PeerGroup;
  readonly members: readonly PeerRecord[];
  readonly rest: readonly PeerRecord[];
  readonly p: number;
  readonly points: number;
  readonly why: string;
}

interface Held {
  readonly group: PeerGroup;
  readonly why: string;
  /** Who was put out on the group's account. */
  readonly out: Set<PeerRecord>;
  /** Calls and faults of the rest when it began, to tell what came since; and its share of faults then. */
  readonly calls: number;
  readonly faults: number;
  readonly share: number;
  /** When a member was last seen out. */
  outAtMs: number;
}

/** One for a detector; asked once a second. The records' figures must have been summed up. */
export class Correlated {
  private held: Held | undefined;
  private nextStepMs: number;
  private restUntilMs: number;

  constructor() {
    this.held = undefined;
    this.nextStepMs = Number.NEGATIVE_INFINITY;
    this.restUntilMs = Number.NEGATIVE_INFINITY;
  }

  /** The group that is being kept out, if one is. */
  get heldGroup(): PeerGroup | undefined {
    return this.held?.group;
  }

  /** Whether a peer was put out with its group, which is still kept out: if it returns ill, ordinary rules may eject it beyond their limit. */
  holds(record: PeerRecord): boolean {
    return this.held?.out.has(record) === true;
  }

  /** A peer is gone for good. */
  remove(record: PeerRecord): void {
    this.held?.out.delete(record);
  }

  /** @param isObserving nobody acts on the steps, so what is out is what steps have said. */
  consider(records: readonly PeerRecord[], nowMs: number, isObserving = false): GroupStep | undefined {
    const isOut = (record: PeerRecord): boolean =>
      isObserving ? this.held?.out.has(record) === true : record.isEjected;
    if (nowMs < this.nextStepMs) return undefined;
    this.nextStepMs = nowMs + STEP_MS;
    if (this.held !== undefined) return this.goOn(this.held, records, nowMs, isOut, isObserving);
    const evidence = nowMs < this.restUntilMs ? undefined : worstOf(records);
    if (evidence === undefined || !hasRoom(records, evidence.rest, isOut, LOAD_MAX)) return undefined;
    const { group, why, members, rest } = evidence;
    const { calls, faults } = totals(rest);
    this.held = { group, why, out: new Set(), calls, faults, share: faultShare(rest), outAtMs: nowMs };
    return this.step(
      this.held,
      members,
      members.filter((record) => !isOut(record)),
      nowMs,
    );
  }

  private goOn(
    held: Held,
    records: readonly PeerRecord[],
    nowMs: number,
    isOut: (record: PeerRecord) => boolean,
    isObserving: boolean,
  ): GroupStep | undefined {
    const { group } = held;
    const members = records.filter((record) => record[group.by] === group.value);
    const rest = records.filter((record) => record[group.by] !== group.value);
    const trouble = troubleOf(held, rest, records, isOut);
    if (trouble !== undefined) return this.revert(held, nowMs, isOut, trouble);
    if (members.some(isOut)) held.outAtMs = nowMs;
    const evidence = evidenceOf(group, members, rest);
    if (evidence !== undefined && evidence.p < P_MAX) {
      if (!hasRoom(records, rest, isOut, LOAD_MAX)) return undefined;
      const ill = members.filter((record) => !isOut(record) && !isWell(record, rest));
      return this.step(held, members, ill, nowMs);
    }
    if (nowMs - held.outAtMs >= RELEASE_MS) this.held = undefined;
    if (!isObserving || held.out.size === 0) return undefined;
    // While nobody acts nothing returns by itself.
    const revert = [...held.out];
    held.out.clear();
    return { group, eject: [], revert, why: "it no longer fails more than the rest" };
  }

  private step(
    held: Held,
    members: readonly PeerRecord[],
    ill: readonly PeerRecord[],
    nowMs: number,
  ): GroupStep | undefined {
    const size = Math.ceil(members.length * STEP_SHARE);
    const eject = [...ill].sort((a, b) => faultShare([b]) - faultShare([a])).slice(0, size);
    for (const record of eject) held.out.add(record);
    if (eject.length === 0) return undefined;
    held.outAtMs = nowMs;
    return { group: held.group, eject, revert: [], why: held.why };
  }

  private revert(
    held: Held,
    nowMs: number,
    isOut: (record: PeerRecord) => boolean,
    why: string,
  ): GroupStep | undefined {
    const revert = [...held.out].filter(isOut);
    this.held = undefined;
    this.restUntilMs = nowMs + REVERTED_MS;
    return revert.length === 0 ? undefined : { group: held.group, eject: [], revert, why };
  }
}

/** Of all versions and zones, the one that fails most surely. */
function worstOf(records: readonly PeerRecord[]): Evidence | undefined {
  if (records.length < 2 * PEERS_MIN) return undefined;
  let worst: Evidence | undefined;
  for (const { group, members } of suspectsOf(records)) {
    const rest = records.filter((record) => record[group.by] !== group.value);
    const found = evidenceOf(group, members, rest);
    if (found === undefined || found.p >= P_MAX) continue;
    // A p that cannot be told from 0 is common: then the distance decides.
    if (worst === undefined || found.p < worst.p || (found.p === worst.p && found.points > worst.points)) worst = found;
  }
  return worst;
}

interface Suspects {
  readonly group: PeerGroup;
  readonly members: readonly PeerRecord[];
  readonly share: number;
}

/**
 * The groups that fail enough to be looked at, the worst first and not too many, for each is compared with all peers. Versions come
 * before zones: where a version fills a zone, the version is the likelier cause.
 */
function suspectsOf(records: readonly PeerRecord[]): readonly Suspects[] {
  return (["version", "zone"] as const).flatMap((by) => {
    const groups = new Map<string, PeerRecord[]>();
    for (const record of records) {
      const value = record[by];
      if (value === undefined) continue;
      const members = groups.get(value) ?? [];
      members.push(record);
      groups.set(value, members);
    }
    return [...groups]
      .filter(([, members]) => members.length >= PEERS_MIN && records.length - members.length >= PEERS_MIN)
      .map(([value, members]) => ({ group: { by, value }, members, share: faultShare(members) }))
      .filter(({ share }) => share >= POINTS_MIN)
      .sort((a, b) => b.share - a.share)
      .slice(0, SUSPECTS_MAX);
  });
}

/** Undefined where there are too few peers, or the group does not fail by much. */
function evidenceOf(
  group: PeerGroup,
  members: readonly PeerRecord[],
  rest: readonly PeerRecord[],
): Evidence | undefined {
  const called = members.filter(hasCalls);
  const others = rest.filter((record) => hasCalls(record) && !record.isMarked);
  if (called.length < PEERS_MIN || others.length < PEERS_MIN) return undefined;
  const all = strataOf(called, rest);
  const points = pointsBetween(all);
  if (points < POINTS_MIN) return undefined;
  const worst = called.reduce((a, b) => (faultShare([b]) > faultShare([a]) ? b : a));
  const withoutWorst = strataOf(
    called.filter((record) => record !== worst),
    rest,
  );
  if (pointsBetween(withoutWorst) < POINTS_MIN) return undefined;
  const p = Math.max(strataP(all), strataP(withoutWorst));
  const why = `${group.by} "${group.value}": ${percent(faultShare(called))} of its calls failed at ${called.length} peers, ${percent(faultShare(rest))} elsewhere`;
  return { group, members, rest, p, points, why };
}

/** Only methods that both sides were called for. */
function strataOf(members: readonly PeerRecord[], rest: readonly PeerRecord[]): readonly Stratum[] {
  const own = bySlot(members);
  const other = bySlot(rest);
  const strata: Stratum[] = [];
  for (let slot = 0; slot <= METHODS_MAX; slot += 1) {
    const calls = own.calls[slot] ?? 0;
    const otherCalls = other.calls[slot] ?? 0;
    if (calls > 0 && otherCalls > 0)
      strata.push({ calls, failures: own.faults[slot] ?? 0, otherCalls, otherFailures: other.faults[slot] ?? 0 });
  }
  return strata;
}

/** By how much the share of failures is higher than the others' on the same mix of methods. */
function pointsBetween(strata: readonly Stratum[]): number {
  let calls = 0;
  let excess = 0;
  for (const stratum of strata) {
    calls += stratum.calls;
    excess += stratum.failures - (stratum.calls * stratum.otherFailures) / stratum.otherCalls;
  }
  return calls === 0 ? 0 : excess / calls;
}

function bySlot(records: readonly PeerRecord[]): { readonly calls: Float64Array; readonly faults: Float64Array } {
  const calls = new Float64Array(METHODS_MAX + 1);
  const faults = new Float64Array(METHODS_MAX + 1);
  for (const record of records) {
    for (const figures of record.figures) {
      calls[figures.slot] = (calls[figures.slot] ?? 0) + figures.calls;
      faults[figures.slot] = (faults[figures.slot] ?? 0) + figures.faults;
    }
  }
  return { calls, faults };
}

/** Why the group must come back, if it must. */
function troubleOf(
  held: Held,
  rest: readonly PeerRecord[],
  records: readonly PeerRecord[],
  isOut: (record: PeerRecord) => boolean,
): string | undefined {
  if (rest.filter((record) => !isOut(record)).length < PEERS_MIN) return "too few peers are left outside the group";
  if (!hasRoom(records, rest, isOut, LOAD_REVERT)) return "the rest has no room";
  const now = totals(rest);
  const calls = now.calls - held.calls;
  const faults = now.faults - held.faults;
  if (calls < WORSE_CALLS) return undefined;
  const points = faults / calls - held.share;
  // What was known before is taken for as many calls as have come since.
  if (points < WORSE_POINTS || shareDifferenceZ(faults, calls, held.share * calls, calls) < WORSE_Z) return undefined;
  return `the rest worsened: ${percent(faults / calls)} of its calls failed, ${percent(held.share)} before`;
}

/** Whether the rest alone could carry what all peers in service carry now. */
function hasRoom(
  records: readonly PeerRecord[],
  rest: readonly PeerRecord[],
  isOut: (record: PeerRecord) => boolean,
  loadMax: number,
): boolean {
  const total = records.reduce((sum, record) => sum + (isOut(record) ? 0 : record.load), 0);
  return total <= rest.filter((record) => !isOut(record)).length * loadMax;
}

/** A member that by itself does as well as the rest stays. */
function isWell(record: PeerRecord, rest: readonly PeerRecord[]): boolean {
  const own = windowOf([record]);
  return own.calls >= WORSE_CALLS && own.faults / own.calls <= faultShare(rest) + WORSE_POINTS;
}

function hasCalls(record: PeerRecord): boolean {
  return record.figures.some(({ calls }) => calls > 0);
}

function faultShare(records: readonly PeerRecord[]): number {
  const { calls, faults } = windowOf(records);
  return calls === 0 ? 0 : faults / calls;
}

/** Calls and faults in the window. */
function windowOf(records: readonly PeerRecord[]): { readonly calls: number; readonly faults: number } {
  let calls = 0;
  let faults = 0;
  for (const record of records) {
    for (const figures of record.figures) {
      calls += figures.calls;
      faults += figures.faults;
    }
  }
  return { calls, faults };
}

/** Calls and faults of all time. */
function totals(records: readonly PeerRecord[]): { readonly calls: number; readonly faults: number } {
  let calls = 0;
  let faults = 0;
  for (const record of records) {
    calls += record.calls;
    faults += record.faults;
  }
  return { calls, faults };
}
