/** The table at the end of the demo: for each fault how soon it was noticed and healed, and what it cost. */
import { styleText } from "node:util";
import type { FaultKind } from "./chapters.ts";
import { whole } from "./live-table.ts";
import type { FaultReport } from "./chapter-report.ts";

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

function milliseconds(value: number): string {
  return `${value < 100 ? value.toFixed(1) : whole(value)} ms`;
}
