/** What the report has to say of each chapter: when it was, what it did to the calls, and what is asked of its kind. */
import { type FaultKind, nameOf } from "./chapters.ts";
import type { FaultWatch, NoticedBy } from "./fault-watch.ts";
import type { OverloadFacts } from "./overload.ts";
import type { RollingRestartFacts } from "./rolling-restart.ts";
import type { Tally } from "./tally.ts";

/** Counts are those from a chapter's beginning to that of the next one. */
interface CountedReport {
  /** Whom it befell; "A to E" for all of them. */
  readonly server: string;
  /** When it began, from the beginning of the run. */
  readonly atMs: number;
  readonly lastedMs: number;
  readonly calls: number;
  readonly failed: number;
  /** Attempts beyond the calls. */
  readonly extraAttempts: number;
}

/** One fault and what came of it. */
export interface FaultReport extends CountedReport {
  readonly kind: FaultKind;
  /**
   * From its beginning: of a server that answers nothing any more, to the last attempt that was started there before it was left alone; else
   * to the first event about it, or the end of the first 200 ms in which it was given less than half of its fair share. Null: not noticed.
   */
  readonly detectedMs: number | null;
  readonly detectedBy: NoticedBy | null;
  /** From its end to the end of the first 500 ms in which the server had at least half of its fair share. Null: not within this run. */
  readonly healedMs: number | null;
  /** Bits that were flipped; 0 for the other kinds. */
  readonly flippedBits: number;
}

export interface RollingRestartReport extends CountedReport, RollingRestartFacts {
  readonly kind: "rolling restart";
}

export interface OverloadReport extends CountedReport, OverloadFacts {
  readonly kind: "overload";
}

export type ChapterReport = FaultReport | RollingRestartReport | OverloadReport;

export type Counts = Pick<Tally, "calls" | "failed" | "extraAttempts">;

/** What every chapter has, once the next one has begun or the run is over. */
export function countedReport(chapter: {
  readonly server: number | undefined;
  readonly atMs: number;
  readonly lastedMs: number;
  readonly before: Counts;
  readonly after: Counts;
}): CountedReport {
  const { server, atMs, lastedMs, before, after } = chapter;
  return {
    server: nameOf(server),
    atMs: rounded(atMs),
    lastedMs: rounded(lastedMs),
    calls: after.calls - before.calls,
    failed: after.failed - before.failed,
    extraAttempts: after.extraAttempts - before.extraAttempts,
  };
}

/** The same, and how soon a fault was noticed and healed. */
export function faultReport(
  kind: FaultKind,
  counted: CountedReport,
  fault: { readonly watch: FaultWatch; readonly flippedBits: number; readonly nowMs: number },
): FaultReport {
  const { detectedMs, detectedBy, healedMs } = fault.watch.noticed(fault.nowMs);
  return {
    kind,
    ...counted,
    detectedMs: detectedMs === undefined ? null : rounded(detectedMs),
    detectedBy: detectedBy ?? null,
    healedMs: healedMs === undefined ? null : rounded(healedMs),
    flippedBits: fault.flippedBits,
  };
}

/** A tenth of a millisecond is enough. */
function rounded(ms: number): number {
  return Math.round(ms * 10) / 10;
}
