/** The tables at the end of the demo: a line for each fault, and reliability per attempt beside per call. */
import { styleText } from "node:util";
import type { FaultKind } from "./chapters.ts";
import { whole } from "./live-table.ts";
import type { Reliability, Share } from "./report.ts";
import type { FaultReport } from "./story.ts";

const NAMES: Readonly<Record<FaultKind, string>> = {
  kill: "killed: kill -9",
  stop: "frozen: SIGSTOP",
  slow: "200 ms slower",
  unavailable: "20 % UNAVAILABLE",
  corrupt: "bits flipped",
  partition: "cut off, silently",
};
const WIDTHS = { name: 19, noticed: 12, by: 17, healed: 10, failed: 8, extra: 10 } as const;

export function faultLines(faults: readonly FaultReport[]): readonly string[] {
  const heading =
    `  ${"fault".padEnd(WIDTHS.name)}` +
    "noticed".padStart(WIDTHS.noticed) +
    `  ${"by".padEnd(WIDTHS.by - 2)}` +
    "healed".padStart(WIDTHS.healed) +
    "failed".padStart(WIDTHS.failed) +
    "extra".padStart(WIDTHS.extra);
  const rows = faults.map(
    ({ kind, server, detectedMs, detectedBy, healedMs, failed, extraAttempts }) =>
      `  ${`${server} ${NAMES[kind]}`.padEnd(WIDTHS.name)}` +
      (detectedMs === null ? "-" : milliseconds(detectedMs)).padStart(WIDTHS.noticed) +
      `  ${(detectedBy ?? "nobody").padEnd(WIDTHS.by - 2)}` +
      (healedMs === null ? "not yet" : `${(healedMs / 1_000).toFixed(1)} s`).padStart(WIDTHS.healed) +
      whole(failed).padStart(WIDTHS.failed) +
      whole(extraAttempts).padStart(WIDTHS.extra),
  );
  return [styleText("bold", heading), ...rows];
}

/** What single attempts were, and calls are, with the interval in which it lies with 95 % confidence. */
export function reliabilityLines({ perAttempt, perCall }: Reliability): readonly string[] {
  return [
    reliabilityLine("per attempt", perAttempt, "what it would have been"),
    reliabilityLine("per call", perCall, ""),
  ];
}

function reliabilityLine(name: string, { value, low, high }: Share, note: string): string {
  const range = `${percent(low)} .. ${percent(high)} %`;
  return `  ${name.padEnd(16)}${percent(value).padStart(12)} %  ${range.padEnd(24)}${styleText("dim", note)}`.trimEnd();
}

/** So many digits that a single failure in a million calls is seen; 100 means that there was none. */
function percent(value: number): string {
  if (value === 1) return "100";
  const text = (100 * value).toFixed(5);
  return text === "100.00000" ? "99.99999" : text;
}

function milliseconds(value: number): string {
  return `${value < 100 ? value.toFixed(1) : whole(value)} ms`;
}
