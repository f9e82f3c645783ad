/**
 * From the rounds of `policy` to what is reported: medians and spreads, and ratios that are the median of the rounds' own, so that a slow
 * minute of the machine hits both sides of each.
 */
import { type PolicyContender, policyContenders } from "./policy-contenders.ts";
import { type PolicyFigures, type PolicyLoad, policyLoads } from "./policy-load.ts";
import { type Spread, spreadOf } from "./summary.ts";

export interface PolicyRow extends PolicyFigures {
  readonly name: PolicyContender;
  readonly load: PolicyLoad;
  readonly round: number;
}

export interface PolicyResult {
  readonly name: PolicyContender;
  readonly load: PolicyLoad;
  readonly callsPerSecond: Spread;
  readonly cpuNsPerCall: Spread;
  /** The worst round. */
  readonly otherCpusMax: number;
}

/** Calls a second of one contender over those of another. */
export interface PolicyRatio {
  readonly of: PolicyContender;
  readonly over: PolicyContender;
  readonly load: PolicyLoad;
  readonly callsPerSecond: Spread;
  /** The same in CPU time a call, which what else runs on the machine disturbs less: how many times less it takes. */
  readonly cpu: Spread;
}

export interface PolicyReport {
  readonly scenario: "policy";
  readonly results: readonly PolicyResult[];
  readonly ratios: readonly PolicyRatio[];
  /** Whether `protect` is at least {@link ratioMin} times either in calls a second, in both loads; undefined with fewer than three rounds. */
  readonly passed: boolean | undefined;
  readonly method: Readonly<Record<string, unknown>>;
}

/** What `protect` has to reach over each of the others. */
export const ratioMin = 3;
const roundsMin = 3;
const ours: readonly PolicyContender[] = ["protect", "protect-default"];
const theirs: readonly PolicyContender[] = ["cockatiel", "opossum"];

export function reportOf(rows: readonly PolicyRow[], method: PolicyReport["method"]): PolicyReport {
  const results = policyLoads.flatMap((load) => policyContenders.map((name) => resultOf(rows, name, load)));
  const ratios = policyLoads.flatMap((load) =>
    ours.flatMap((of) => theirs.map((over): PolicyRatio => ratioOf(rows, of, over, load))),
  );
  const rounds = new Set(rows.map(({ round }) => round)).size;
  const decisive = ratios.filter(({ of }) => of === "protect");
  const passed =
    rounds < roundsMin ? undefined : decisive.every(({ callsPerSecond }) => callsPerSecond.median >= ratioMin);
  return { scenario: "policy", results, ratios, passed, method };
}

function resultOf(rows: readonly PolicyRow[], name: PolicyContender, load: PolicyLoad): PolicyResult {
  const mine = rows.filter((row) => row.name === name && row.load === load);
  return {
    name,
    load,
    callsPerSecond: spreadOf(mine.map(callsPerSecond)),
    cpuNsPerCall: spreadOf(mine.map(cpuNsPerCall)),
    otherCpusMax: Math.max(...mine.map(({ otherCpus }) => otherCpus)),
  };
}

function ratioOf(
  rows: readonly PolicyRow[],
  of: PolicyContender,
  over: PolicyContender,
  load: PolicyLoad,
): PolicyRatio {
  const pairs = rows
    .filter((row) => row.name === of && row.load === load)
    .map((row) => {
      const other = rows.find((each) => each.name === over && each.load === load && each.round === row.round);
      if (other === undefined) throw new Error(`round ${row.round} has no ${over} under ${load}`);
      return { row, other };
    });
  return {
    of,
    over,
    load,
    callsPerSecond: spreadOf(pairs.map(({ row, other }) => callsPerSecond(row) / callsPerSecond(other))),
    cpu: spreadOf(pairs.map(({ row, other }) => cpuNsPerCall(other) / cpuNsPerCall(row))),
  };
}

function callsPerSecond({ calls, elapsedMs }: PolicyFigures): number {
  return (calls * 1_000) / elapsedMs;
}

function cpuNsPerCall({ calls, cpuMs }: PolicyFigures): number {
  return (cpuMs * 1e6) / calls;
}

export function formatPolicyReport({ results, ratios, passed }: PolicyReport): string {
  const lines = ["load        contender        calls/s   least .. greatest   CPU ns a call   other CPUs"];
  for (const { name, load, callsPerSecond: rate, cpuNsPerCall: cpu, otherCpusMax } of results) {
    const spread = `${millions(rate.min)} .. ${millions(rate.max)}`;
    const figures = [millions(rate.median).padStart(9), spread.padStart(18), cpu.median.toFixed(0).padStart(14)];
    lines.push(`${load.padEnd(12)}${name.padEnd(15)}${figures.join("  ")}  ${otherCpusMax.toFixed(2).padStart(11)}`);
  }
  lines.push("", "ratios of calls/s, and of CPU time a call (medians of the rounds' own; least .. greatest)");
  for (const { of, over, load, callsPerSecond: rate, cpu } of ratios) {
    const cpuText = `${cpu.median.toFixed(2)} (${cpu.min.toFixed(2)} .. ${cpu.max.toFixed(2)})`;
    const rateText = `${rate.median.toFixed(2)} (${rate.min.toFixed(2)} .. ${rate.max.toFixed(2)})`;
    lines.push(`${load.padEnd(12)}${`${of} over ${over}`.padEnd(29)}${rateText.padEnd(26)}${cpuText}`);
  }
  const verdict = passed === undefined ? "no verdict: fewer than three rounds" : passed ? "passed" : "MISSED";
  lines.push("", `protect at least ${ratioMin} times either in calls/s, in both loads: ${verdict}`);
  return lines.join("\n");
}

function millions(perSecond: number): string {
  return `${(perSecond / 1e6).toFixed(2)} M`;
}
