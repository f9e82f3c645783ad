/** What the report has to say of a call that failed: what it met, and during which fault of the demo. */
import { SERVER_NAMES } from "./chapters.ts";
import type { FailedCall, MetFault } from "./failed-call.ts";
import { epochMs, type Stall } from "./stalls.ts";
import type { ChapterReport } from "./chapter-report.ts";
import { TIMEOUT_MS } from "./load.ts";

/** A call had less than half of its time: what is left is not what the demo promises. */
const STOOD_STILL_MS = TIMEOUT_MS / 2;

export interface FailedCallReport {
  readonly kind: string;
  /** When it ended, from the beginning of the run. */
  readonly endedMs: number;
  readonly tookMs: number;
  /** Null for a stream. */
  readonly attempts: number | null;
  /** The demo's faults while it ran: "B stop"; or the last one before it: "after B stop"; or "before the first fault". */
  readonly during: string;
  /** How long of its time the client, or the proxies that all calls go through, stood still. */
  readonly stalledMs: number;
  readonly verdict: string;
  /** What its attempts met, in order. */
  readonly met: readonly (Omit<MetFault, "address"> & { readonly server: string | null })[];
}

export function failedCallReport(
  { kind, endedMs, tookMs, attempts, verdict, met }: FailedCall,
  run: {
    readonly startedMs: number;
    readonly faults: readonly ChapterReport[];
    readonly addresses: readonly string[];
    readonly wayStalls: readonly Stall[];
  },
): FailedCallReport {
  const atMs = Math.round(endedMs - run.startedMs);
  return {
    kind,
    endedMs: atMs,
    tookMs: Math.round(tookMs),
    attempts: attempts ?? null,
    during: duringOf(atMs - tookMs, atMs, run.faults),
    stalledMs: Math.round(stalledMs({ fromMs: epochMs(endedMs - tookMs), untilMs: epochMs(endedMs) }, run.wayStalls)),
    verdict,
    met: met.map(({ address, ...fault }) => ({
      ...fault,
      server: SERVER_NAMES[run.addresses.indexOf(address ?? "")] ?? null,
    })),
  };
}

/** The call ran out of time, of which this machine gave the demo itself less than half: no server and no client is to blame. */
export function hadNoTime({ kind, stalledMs: ownMs }: FailedCallReport): boolean {
  return kind.includes("DEADLINE_EXCEEDED") && ownMs >= STOOD_STILL_MS;
}

/** How much of a stretch of time lies in stalls, which may overlap. */
function stalledMs({ fromMs, untilMs }: Stall, stalls: readonly Stall[]): number {
  let sum = 0;
  let seenMs = fromMs;
  for (const stall of [...stalls].sort((one, other) => one.fromMs - other.fromMs)) {
    const endMs = Math.min(untilMs, stall.untilMs);
    const beginMs = Math.max(seenMs, stall.fromMs);
    if (endMs <= beginMs) continue;
    sum += endMs - beginMs;
    seenMs = endMs;
  }
  return sum;
}

/** For people: what each failed call met. */
export function failedCallLines(calls: readonly FailedCallReport[]): string {
  return calls
    .map(({ kind, endedMs, tookMs, attempts, during, stalledMs: ownMs, verdict, met }) => {
      const tries = attempts === null ? "" : `, ${attempts} attempts`;
      const faults = met.map((fault) => `\n    ${faultLine(fault)}`);
      return `\n  ${kind} at ${endedMs} ms, after ${tookMs} ms${tries}; ${during}; the demo itself stood still for ${ownMs} ms\n    ${verdict}${faults.join("")}`;
    })
    .join("");
}

function faultLine({ atMs, attempt, server, kind, phase, blame, text }: FailedCallReport["met"][number]): string {
  return `${atMs} ms: attempt ${attempt} at ${server ?? "nobody"}: ${kind} (${phase}, ${blame}): ${text}`;
}

function duringOf(fromMs: number, untilMs: number, faults: readonly ChapterReport[]): string {
  const begun = faults.filter(({ atMs }) => atMs <= untilMs);
  const running = begun.filter(({ atMs, lastedMs }) => atMs + lastedMs >= fromMs);
  if (running.length > 0) return running.map(({ server, kind }) => `${server} ${kind}`).join(", ");
  const last = begun.at(-1);
  return last === undefined ? "before the first fault" : `after ${last.server} ${last.kind}`;
}
