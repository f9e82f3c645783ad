/** What the demo has to say at its end: what each fault did, how reliable attempts and calls were, and whether every call was answered. */
import { styleText } from "node:util";
import type { Client } from "holdfast";
import type { ReliabilityRow } from "holdfast/observe";
import type { Calculator } from "../gen/calc/v1/calc_pb.ts";
import type { ChapterReport } from "./chapter-report.ts";
import { type FailedCallReport, failedCallLines, failedCallReport, hadNoTime } from "./failed-call-report.ts";
import { faultLines } from "./fault-table.ts";
import { ms, whole } from "./live-table.ts";
import { epochMs, type Stall } from "./stalls.ts";
import type { Tally } from "./tally.ts";

/** What `--json` prints. Durations of unary calls, in milliseconds. */
export interface Report {
  readonly seconds: number;
  /** Calls that ended: unary ones, and streams that were counted to their end. */
  readonly calls: number;
  readonly callsPerSecond: number;
  /** Ended with an error or a wrong answer. */
  readonly failed: number;
  /** Of the failed ones: unary calls whose time was over, of which this machine gave the demo itself less than half. */
  readonly failedInStalls: number;
  /** Saved by another attempt: a repeat after a failure, or a copy that was faster than an attempt that was overdue. */
  readonly recovered: number;
  /** Attempts beyond the calls; a stream that was asked for again is one. */
  readonly extraAttempts: number;
  readonly streamsResumed: number;
  /** Numbers that came through streams, without a gap, none twice. */
  readonly numbers: number;
  /** Streams that were cut because what came was damaged: they have no checksums yet, the program saw it. */
  readonly garbled: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  readonly serversKilled: number;
  /** One after the other. */
  readonly faults: readonly ChapterReport[];
  /** Of unary calls. */
  readonly reliability: Reliability;
  /** How many calls failed in which way. */
  readonly failures: Readonly<Record<string, number>>;
  /** The first of them, each with what it met. */
  readonly failedCalls: readonly FailedCallReport[];
  /** When a process of the demo stood still, of which the demo is not the cause: the machine was too busy. */
  readonly stalls: readonly StallReport[];
  /** Somebody ended the run before its time. */
  readonly isInterrupted: boolean;
}

export interface StallReport {
  /** "client", "proxies", or a server's name. */
  readonly process: string;
  /** When it began, from the beginning of the run. */
  readonly atMs: number;
  readonly lastedMs: number;
}

/** `perAttempt` is what `perCall` would have been without repeats and copies. Intervals of 95 %, after Wilson. */
export interface Reliability {
  readonly perAttempt: Share;
  readonly perCall: Share;
  /** Calls that were saved, by what. */
  readonly saved: { readonly retry: number; readonly hedge: number };
  /** Attempts beyond calls, by calls. */
  readonly extraLoadShare: number;
}

export interface Share {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

type Row = readonly [name: string, value: string, note: string];

/** Of failed calls of one kind, in one chapter, so many are told of. */
const FAILED_CALLS_TOLD = 4;

export function makeReport(
  tally: Tally,
  client: Client<typeof Calculator>,
  run: {
    readonly addresses: readonly string[];
    readonly startedMs: number;
    readonly tookMs: number;
    readonly isInterrupted: boolean;
    readonly serversKilled: number;
    readonly faults: readonly ChapterReport[];
    readonly stallsOf: readonly { readonly process: string; readonly stalls: readonly Stall[] }[];
  },
): Report {
  const { calls, failed, extraAttempts, streamsResumed, numbers, garbled, latency } = tally;
  const wayStalls = run.stallsOf.flatMap(({ process, stalls }) => (isOnTheWay(process) ? stalls : []));
  const failedCalls = tally.failedCalls.map((call) => failedCallReport(call, { ...run, wayStalls }));
  return {
    seconds: rounded(run.tookMs / 1_000),
    calls,
    callsPerSecond: Math.round((calls * 1_000) / Math.max(1, run.tookMs)),
    failed,
    failedInStalls: failedCalls.filter(hadNoTime).length,
    recovered: savedBy(client),
    extraAttempts,
    streamsResumed,
    numbers,
    garbled,
    p50Ms: rounded(latency.quantileMs(0.5)),
    p99Ms: rounded(latency.quantileMs(0.99)),
    maxMs: rounded(latency.maxMs),
    serversKilled: run.serversKilled,
    faults: run.faults,
    reliability: reliabilityOf(client.$channel.reliability().find(({ method }) => method === "add")),
    failures: Object.fromEntries(tally.failures),
    failedCalls: firstOfEach(failedCalls),
    stalls: run.stallsOf
      .flatMap(({ process, stalls }) => stalls.map((stall) => stallReport(process, stall, run.startedMs)))
      .sort((one, other) => one.atMs - other.atMs),
    isInterrupted: run.isInterrupted,
  };
}

function firstOfEach(calls: readonly FailedCallReport[]): readonly FailedCallReport[] {
  const groups = Object.values(Object.groupBy(calls, ({ kind, during }) => `${kind} ${during}`));
  return groups.flatMap((group = []) => group.slice(0, FAILED_CALLS_TOLD));
}

/** All calls go through these; a server that stands still is what the others are for. */
function isOnTheWay(process: string): boolean {
  return process === "client" || process === "proxies";
}

function stallReport(process: string, { fromMs, untilMs }: Stall, startedMs: number): StallReport {
  return { process, atMs: Math.round(fromMs - epochMs(startedMs)), lastedMs: Math.round(untilMs - fromMs) };
}

/** Calls of all methods that another attempt saved. */
export function savedBy(client: Client<typeof Calculator>): number {
  return client.$channel.reliability().reduce((sum, { saved }) => sum + saved.retry + saved.hedge, 0);
}

function reliabilityOf(row: ReliabilityRow | undefined): Reliability {
  const [low = 0, high = 1] = row?.reliabilityInterval ?? [];
  const [attemptLow = 0, attemptHigh = 1] = row?.attemptReliabilityInterval ?? [];
  return {
    perAttempt: { value: row?.attemptReliability ?? 1, low: attemptLow, high: attemptHigh },
    perCall: { value: row?.reliability ?? 1, low, high },
    saved: row?.saved ?? { retry: 0, hedge: 0 },
    extraLoadShare: row?.extraLoadShare ?? 0,
  };
}

/** No call failed, and some had to be saved, unless there was no time for that. */
export function isGood(report: Report): boolean {
  return report.failed === 0 && (report.recovered > 0 || report.isInterrupted);
}

/** For people. */
export function reportText(report: Report): string {
  const { saved, perAttempt, perCall } = report.reliability;
  const share = ((100 * report.extraAttempts) / Math.max(1, report.calls)).toFixed(2);
  const rows: readonly Row[] = [
    ["calls", whole(report.calls), `${whole(report.callsPerSecond)} a second; every answer was checked`],
    ["failed", whole(report.failed), ""],
    ["saved", whole(report.recovered), `${whole(saved.retry)} by a repeat, ${whole(saved.hedge)} by a copy`],
    ["extra attempts", whole(report.extraAttempts), `${share} % more than calls`],
    ["streams resumed", whole(report.streamsResumed), `${whole(report.numbers)} numbers came: no gap, none twice`],
    ["", whole(report.garbled), "for damaged numbers: no checksums on streams"],
    ["latency", ms(report.p50Ms), "ms in the middle (p50)"],
    ["", ms(report.p99Ms), "ms for 99 of 100 calls (p99)"],
    ["", ms(report.maxMs), "ms at most"],
    ["reliability", percent(perAttempt.value), `% of single attempts (${rangeOf(perAttempt)})`],
    ["", percent(perCall.value), `% of calls with all attempts (${rangeOf(perCall)})`],
    ...report.faults.flatMap(fleetRows),
  ];
  const lines = rows.map(([name, value, note]) =>
    `  ${name.padEnd(16)}${value.padStart(12)}   ${styleText("dim", note)}`.trimEnd(),
  );
  const faults = report.faults.filter((chapter) => "healedMs" in chapter);
  const table = faults.length === 0 ? [] : ["", ...faultLines(faults)];
  return [...table, "", ...lines, "", verdict(report)].join("\n");
}

/** What came of a chapter that befell all servers. */
function fleetRows(chapter: ChapterReport): readonly Row[] {
  switch (chapter.kind) {
    case "rolling restart":
      return [
        [
          "rolling restart",
          whole(chapter.unrepeatableCalls),
          `calls that may not be repeated: ${whole(chapter.unrepeatableFailed)} failed`,
        ],
        ["", whole(chapter.streamsResumed), "streams that servers ended went on elsewhere"],
      ];
    case "overload":
      return [
        ["overload", whole(chapter.shed), `of ${whole(chapter.offered)} calls that may be refused were`],
        ["", (100 * chapter.goodputShare).toFixed(1), "% of what the servers can do was done"],
        ["", whole(chapter.criticalCalls), `critical calls meanwhile: ${whole(chapter.criticalFailed)} failed`],
        ["", ms(chapter.criticalP99Ms), "ms for 99 of 100 of these (p99)"],
      ];
    default:
      return [];
  }
}

/** Where a share lies with 95 % confidence. */
function rangeOf({ low, high }: Share): string {
  return `${percent(low)} .. ${percent(high)}`;
}

/** So many digits that one failure in a million calls is seen; 100 means that there was none. */
function percent(value: number): string {
  if (value === 1) return "100";
  return Math.min(99.99999, 100 * value).toFixed(5);
}

function verdict(report: Report): string {
  if (report.failed > 0) {
    const kinds = Object.entries(report.failures).map(([text, count]) => `\n  ${whole(count)} x ${text}`);
    const heading = styleText("red", `${whole(report.failed)} of ${whole(report.calls)} calls failed.`);
    return heading + kinds.join("") + failedCallLines(report.failedCalls) + stallLines(report);
  }
  const ending = report.isInterrupted ? " The run was ended early." : "";
  if (isGood(report)) return styleText("green", "No call failed.") + ending;
  return styleText("red", "No call had to be saved: this run shows nothing.");
}

/** Only told where a call failed: it may be why. */
function stallLines({ failed, failedInStalls, stalls }: Report): string {
  if (stalls.length === 0) return "\nNo process of the demo stood still.";
  const lines = stalls.map(
    ({ process, atMs, lastedMs }) => `\n  ${process}: from ${whole(atMs)} ms on, for ${whole(lastedMs)} ms`,
  );
  const share = failedInStalls === failed ? "Each" : `${whole(failedInStalls)} of ${whole(failed)}`;
  const note = `${share} of the failed calls had less than half of its time: the demo itself stood still.`;
  return `\nThese processes of the demo stood still, for the machine was busy:${lines.join("")}\n${note}`;
}

/** Microseconds are enough. */
function rounded(value: number): number {
  return Math.round(value * 1_000) / 1_000;
}
