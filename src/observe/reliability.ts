/**
 * Reliability: what the counters of a method or a peer say about how far it can be relied on. Every figure is a finite number or
 * Infinity, never NaN, also before the first call.
 *
 * Definitions: R is availability by requests, good / valid (Google, "The Site Reliability Workbook", chapter 2), with Wilson's interval;
 * MTBF and MTTR are those of the classical theory, availability by time = MTBF / (MTBF + MTTR), where a row of failures is one outage.
 */
import type { CallCounters } from "./counters.ts";
import { wilsonInterval } from "./wilson.ts";

/** How one method at one service, or one peer, has done. Shares and probabilities are 0..1. */
export interface ReliabilityRow {
  readonly service: string;
  readonly method: string;
  /** Undefined for all peers together. */
  readonly peer: string | undefined;
  /** N: calls that ended well or with an error, not those that their caller ended; at a peer, attempts that ended. */
  readonly calls: number;
  readonly failures: number;
  /** Pf = failures / N; 0 before the first call. */
  readonly failureProbability: number;
  /** R = 1 - Pf; 1 before the first call, when its interval says that nothing is known. */
  readonly reliability: number;
  /** Where R lies with 95 % confidence, after Wilson; [0, 1] before the first call. Assumes that calls fail independently. */
  readonly reliabilityInterval: readonly [low: number, high: number];
  /** R per attempt: what R would have been without repeats and copies. Cancelled losers prove nothing and are left out. */
  readonly attemptReliability: number;
  readonly attemptReliabilityInterval: readonly [low: number, high: number];
  /** T = N / failures: one call in T fails; Infinity without failures. */
  readonly callsPerFailure: number;
  /** Tp = recovered calls / failed attempts; 1 if no attempt failed. Below 1 also where a call needed two repeats. */
  readonly recoveredShare: number;
  /** Of the calls in which an attempt failed, the share that succeeded; 1 if there was none. At a peer 0, like Tp, once an attempt failed. */
  readonly recoveryProbability: number;
  /** N / t; 0 if no time has passed. */
  readonly throughputPerSecond: number;
  /** Mean time of working between two outages; Infinity without an outage. An outage begins with a failure and ends with the next success. */
  readonly mtbfMs: number;
  /** Mean length of an outage, where the one that goes on counts up to now; 0 without one. */
  readonly mttrMs: number;
  /** Attempts / calls (cancelled ones too) - 1: 0.02 is 2 % more than without repeats and copies. Below 0 where calls ended before an attempt. */
  readonly extraLoadShare: number;
  /** Calls that would have failed, or been late, and by what they were saved; each counts once. */
  readonly saved: { readonly retry: number; readonly hedge: number };
}

/** Whose counters they are, and over what time. Both times are on the monotonic clock. */
export interface ReliabilityFacts {
  readonly service: string;
  readonly method: string;
  readonly peer: string | undefined;
  /** Since when it is counted. */
  readonly sinceMs: number;
  readonly nowMs: number;
}

/** The figures of one set of counters: of a method's calls, or, if `peer` is given, of the attempts there. */
export function reliabilityOf(counters: CallCounters, facts: ReliabilityFacts): ReliabilityRow {
  const { service, method, peer, sinceMs, nowMs } = facts;
  const { endedAttempts, failedAttempts, recovered } = counters;
  const isPeer = peer !== undefined;
  const calls = isPeer ? endedAttempts : counters.calls;
  const failures = isPeer ? failedAttempts : counters.failures;
  const outages = isPeer ? counters.attemptOutages : counters.outages;
  const answered = calls - failures;
  const answeredAttempts = endedAttempts - failedAttempts;
  const spanMs = Math.max(0, nowMs - sinceMs);
  const downMs = Math.min(spanMs, outages.totalMs(nowMs));
  return {
    service,
    method,
    peer,
    calls,
    failures,
    failureProbability: share(failures, calls, 0),
    reliability: share(answered, calls, 1),
    reliabilityInterval: wilsonInterval(answered, calls),
    attemptReliability: share(answeredAttempts, endedAttempts, 1),
    attemptReliabilityInterval: wilsonInterval(answeredAttempts, endedAttempts),
    callsPerFailure: share(calls, failures, Infinity),
    recoveredShare: share(recovered, failedAttempts, 1),
    recoveryProbability: share(recovered, isPeer ? failedAttempts : counters.troubled, 1),
    throughputPerSecond: share(calls * 1_000, spanMs, 0),
    mtbfMs: share(spanMs - downMs, outages.count, Infinity),
    mttrMs: share(downMs, outages.count, 0),
    extraLoadShare: isPeer ? 0 : share(counters.attempts, counters.calls + counters.cancelled, 1) - 1,
    saved: { retry: recovered - counters.copyRecoveries, hedge: counters.copyWins },
  };
}

/** part / whole, or what it is when there is no whole. */
function share(part: number, whole: number, otherwise: number): number {
  return whole === 0 ? otherwise : part / whole;
}

/** A table for people: a line for each row, in the order given; figures that nothing is known of are "-". */
export function formatReliability(rows: readonly ReliabilityRow[]): string {
  if (rows.length === 0) return "no calls were counted";
  const cells = [columns.map(({ title }) => title), ...rows.map((row) => columns.map(({ cell }) => cell(row)))];
  const widths = columns.map((_, i) => Math.max(...cells.map((line) => line[i]?.length ?? 0)));
  const pad = (text: string, i: number): string =>
    columns[i]?.isText === true ? text.padEnd(widths[i] ?? 0) : text.padStart(widths[i] ?? 0);
  return cells.map((line) => line.map(pad).join("  ").trimEnd()).join("\n");
}

interface Column {
  readonly title: string;
  /** Texts stand left, numbers right. */
  readonly isText: boolean;
  readonly cell: (row: ReliabilityRow) => string;
}

const columns: readonly Column[] = [
  { title: "method", isText: true, cell: ({ service, method }) => `${service}/${method}` },
  { title: "peer", isText: true, cell: ({ peer }) => peer ?? "all" },
  { title: "calls", isText: false, cell: ({ calls }) => String(calls) },
  { title: "failures", isText: false, cell: ({ failures }) => String(failures) },
  { title: "reliability", isText: false, cell: (row) => (row.calls === 0 ? "-" : percent(row.reliability)) },
  { title: "95 % interval", isText: false, cell: (row) => interval(row.calls, row.reliabilityInterval) },
  {
    title: "per attempt",
    isText: false,
    cell: (row) => (hasJudgedAttempts(row) ? percent(row.attemptReliability) : "-"),
  },
  { title: "saved by", isText: true, cell: ({ saved }) => savedBy(saved) },
  { title: "extra load", isText: false, cell: (row) => (row.calls === 0 ? "-" : signedPercent(row.extraLoadShare)) },
  { title: "calls/s", isText: false, cell: ({ throughputPerSecond }) => throughputPerSecond.toFixed(1) },
  { title: "MTBF", isText: false, cell: ({ mtbfMs }) => (mtbfMs === Infinity ? "-" : duration(mtbfMs)) },
  { title: "MTTR", isText: false, cell: ({ mtbfMs, mttrMs }) => (mtbfMs === Infinity ? "-" : duration(mttrMs)) },
];

/** Without any, the interval says that nothing is known. */
function hasJudgedAttempts({ attemptReliabilityInterval: [low, high] }: ReliabilityRow): boolean {
  return low > 0 || high < 1;
}

function interval(calls: number, [low, high]: readonly [number, number]): string {
  return calls === 0 ? "-" : `${percent(low)} .. ${percent(high)}`;
}

function savedBy({ retry, hedge }: ReliabilityRow["saved"]): string {
  const parts = [retry > 0 ? `retry ${retry}` : "", hedge > 0 ? `hedge ${hedge}` : ""].filter((part) => part !== "");
  return parts.length === 0 ? "-" : parts.join(", ");
}

/** Decimals beyond these are never shown. */
const decimalsMax = 9;

/** With two digits of what is missing to 0 or to 1: 0.99975 is "99.975 %". Never rounds a failure away: 100 % means that there was none. */
function percent(value: number): string {
  if (value === 0 || value === 1) return `${value * 100} %`;
  const rest = 100 * Math.min(value, 1 - value);
  const decimals = Math.min(decimalsMax, Math.max(1, 1 - Math.floor(Math.log10(rest))));
  const text = (100 * value).toFixed(decimals);
  if (Number(text) === 100) return `>${(100 - 10 ** -decimals).toFixed(decimals)} %`;
  return Number(text) === 0 ? `<${(10 ** -decimals).toFixed(decimals)} %` : `${text} %`;
}

function signedPercent(value: number): string {
  return value === 0 ? "0 %" : `${value < 0 ? "-" : "+"}${(100 * Math.abs(value)).toFixed(2)} %`;
}

const units: readonly (readonly [name: string, ms: number])[] = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["min", 60_000],
  ["s", 1_000],
];

function duration(ms: number): string {
  const unit = units.find(([, unitMs]) => ms >= unitMs);
  return unit === undefined ? `${Math.round(ms)} ms` : `${(ms / unit[1]).toFixed(1)} ${unit[0]}`;
}
