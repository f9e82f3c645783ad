/** What the demo has to say at its end: figures, and whether every call was answered. */
import { styleText } from "node:util";
import { ms, whole } from "./live-table.ts";
import type { ServerProcess } from "./server-process.ts";
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
  readonly streamsResumed: number;
  /** Numbers that came through streams, without a gap, none twice. */
  readonly numbers: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  readonly serversKilled: number;
  /** How many calls failed in which way. */
  readonly failures: Readonly<Record<string, number>>;
  /** Somebody ended the run before its time. */
  readonly isInterrupted: boolean;
}

export function makeReport(
  tally: Tally,
  servers: readonly ServerProcess[],
  run: { readonly tookMs: number; readonly isInterrupted: boolean },
): Report {
  const { calls, failed, recovered, streamsResumed, numbers, latency } = tally;
  return {
    seconds: rounded(run.tookMs / 1_000),
    calls,
    callsPerSecond: Math.round((calls * 1_000) / Math.max(1, run.tookMs)),
    failed,
    recovered,
    streamsResumed,
    numbers,
    p50Ms: rounded(latency.quantileMs(0.5)),
    p99Ms: rounded(latency.quantileMs(0.99)),
    maxMs: rounded(latency.maxMs),
    serversKilled: servers.reduce((sum, { kills }) => sum + kills, 0),
    failures: Object.fromEntries(tally.failures),
    isInterrupted: run.isInterrupted,
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
    ["recovered", whole(report.recovered), "saved by another attempt at another server"],
    ["streams resumed", whole(report.streamsResumed), `${whole(report.numbers)} numbers came: no gap, none twice`],
    ["servers killed", whole(report.serversKilled), "with SIGKILL, while calls ran"],
    ["latency", ms(report.p50Ms), "ms in the middle (p50)"],
    ["", ms(report.p99Ms), "ms for 99 of 100 calls (p99)"],
    ["", ms(report.maxMs), "ms at most"],
  ];
  const lines = rows.map(([name, value, note]) =>
    `  ${name.padEnd(16)}${value.padStart(12)}   ${styleText("dim", note)}`.trimEnd(),
  );
  return ["", ...lines, "", verdict(report)].join("\n");
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
