/** What the demo has to say at its end: what each fault did, how reliable attempts and calls were, and whether every call was answered. */
import { styleText } from "node:util";
import type { Client } from "holdfast";
import type { ReliabilityRow } from "holdfast/observe";
import type { Calculator } from "../gen/calc/v1/calc_pb.ts";
import { ms, whole } from "./live-table.ts";
import { faultLines, reliabilityLines } from "./report-tables.ts";
import type { FaultReport } from "./story.ts";
import type { Tally } from "./tally.ts";

/** What `--json` prints. Durations of unary calls, in milliseconds. */
export interface Report {
  readonly seconds: number;
  /** Calls that ended: unary ones, and streams that were counted to their end. */
  readonly calls: number;
  readonly callsPerSecond: number;
  /** Ended with an error or a wrong answer. */
  readonly failed: number;
  /** Saved by another attempt. */
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
  readonly faults: readonly FaultReport[];
  /** Of unary calls. */
  readonly reliability: Reliability;
  /** How many calls failed in which way. */
  readonly failures: Readonly<Record<string, number>>;
  /** Somebody ended the run before its time. */
  readonly isInterrupted: boolean;
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

export function makeReport(
  tally: Tally,
  client: Client<typeof Calculator>,
  run: {
    readonly tookMs: number;
    readonly isInterrupted: boolean;
    readonly serversKilled: number;
    readonly faults: readonly FaultReport[];
  },
): Report {
  const { calls, failed, recovered, extraAttempts, streamsResumed, numbers, garbled, latency } = tally;
  return {
    seconds: rounded(run.tookMs / 1_000),
    calls,
    callsPerSecond: Math.round((calls * 1_000) / Math.max(1, run.tookMs)),
    failed,
    recovered,
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
    isInterrupted: run.isInterrupted,
  };
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
  const rows: readonly (readonly [name: string, value: string, note: string])[] = [
    ["calls", whole(report.calls), `${whole(report.callsPerSecond)} a second; every answer was checked`],
    ["failed", whole(report.failed), ""],
    ["saved", whole(report.recovered), savedNote(report)],
    ["streams resumed", whole(report.streamsResumed), `${whole(report.numbers)} numbers came: no gap, none twice`],
    ["", whole(report.garbled), "of them for a damaged number: streams have no checksum yet"],
    ["latency", ms(report.p50Ms), "ms in the middle (p50)"],
    ["", ms(report.p99Ms), "ms for 99 of 100 calls (p99)"],
    ["", ms(report.maxMs), "ms at most"],
  ];
  const lines = rows.map(([name, value, note]) =>
    `  ${name.padEnd(16)}${value.padStart(12)}   ${styleText("dim", note)}`.trimEnd(),
  );
  const { faults, reliability } = report;
  return ["", ...faultLines(faults), "", ...lines, "", ...reliabilityLines(reliability), "", verdict(report)].join("\n");
}

function savedNote({ reliability, extraAttempts }: Report): string {
  const { retry, hedge } = reliability.saved;
  return `${whole(retry)} by a repeat, ${whole(hedge)} by a copy; ${whole(extraAttempts)} extra attempts`;
}

function verdict(report: Report): string {
  if (report.failed > 0) {
    const kinds = Object.entries(report.failures).map(([text, count]) => `\n  ${whole(count)} x ${text}`);
    return styleText("red", `${whole(report.failed)} of ${whole(report.calls)} calls failed.`) + kinds.join("");
  }
  const ending = report.isInterrupted ? " The run was ended early." : "";
  if (isGood(report)) return styleText("green", "No call failed.") + ending;
  return styleText("red", "No call had to be saved: this run shows nothing.");
}

/** Microseconds are enough. */
function rounded(value: number): number {
  return Math.round(value * 1_000) / 1_000;
}
