/** A report for people: the results as a table, the ratios as lines. */
import type { IdleResult, LoadResult, Report } from "./run.ts";

export function formatReport(report: Report): string {
  const lines = [`${report.scenario}: ${String(report.method["summary"])}`, ""];
  lines.push(...formatTable(report.results.map((result) => ("rps" in result ? loadCells(result) : idleCells(result)))));
  for (const [key, { spread }] of Object.entries(report.ratios)) {
    if (Object.keys(spread).length === 0) continue;
    lines.push("", `ratios, ${key} (median of the rounds' ratios; least .. greatest)`);
    for (const [name, [min, max]] of Object.entries(spread)) {
      const median = report.ratios[key]?.[name];
      if (typeof median !== "number") continue;
      lines.push(`  ${name.padEnd(22)} ${digits(median).padStart(8)}   ${digits(min)} .. ${digits(max)}`);
    }
  }
  if (report.errors.length > 0) lines.push("", "Errors", ...report.errors.map((error) => `  ${error}`));
  if (report.void !== undefined) lines.push("", `VOID: ${report.void}`);
  return lines.join("\n");
}

type Cells = Readonly<Record<string, string>>;

function loadCells(result: LoadResult): Cells {
  return {
    contender: result.name,
    case: result.stream ?? String(result.concurrency),
    rps: Math.round(result.rps).toString(),
    "least .. greatest": `${Math.round(result.rpsMin)} .. ${Math.round(result.rpsMax)}`,
    "p50 ms": digits(result.p50Ms),
    "p99 ms": digits(result.p99Ms),
    "client us": digits(result.clientCpuUsPerCall),
    "server us": digits(result.serverCpuUsPerCall),
    "other CPUs": result.otherCpusMax?.toFixed(2) ?? "?",
    ...(result.mibPerSecond === undefined ? undefined : { "MiB/s": digits(result.mibPerSecond) }),
  };
}

function idleCells(result: IdleResult): Cells {
  return {
    contender: result.name,
    connections: String(result.connections),
    "client KiB": digits(result.clientRssKibPerConnection),
    "server KiB": digits(result.serverRssKibPerConnection),
    "calls p99 ms": digits(result.p99Ms),
  };
}

function formatTable(rows: readonly Cells[]): readonly string[] {
  const [first] = rows;
  if (first === undefined) return ["no results"];
  const columns = Object.keys(first).map((name) => ({
    name,
    width: Math.max(name.length, ...rows.map((row) => row[name]?.length ?? 0)),
  }));
  const line = (cell: (name: string) => string): string =>
    columns
      .map(({ name, width }, index) => (index === 0 ? cell(name).padEnd(width) : cell(name).padStart(width)))
      .join("  ");
  return [line((name) => name), ...rows.map((row) => line((name) => row[name] ?? ""))];
}

/** Three significant digits. */
function digits(value: number): string {
  return Math.abs(value) >= 1_000 ? Math.round(value).toString() : value.toPrecision(3);
}
