/** What a soak found: how fast each figure of each process grew, what should be 0 at the end and is not, and whether that is good enough. */
import type { SoakSample, SoakTally } from "./soak-commands.ts";
import type { SoakOptions } from "./soak-options.ts";
import { type Slope, slopeOf, without } from "./slope.ts";

/** A figure that must not grow. */
export interface Growth extends Slope {
  readonly process: string;
  readonly figure: Figure;
  readonly unit: string;
  readonly first: number;
  readonly last: number;
  /** A slope is over it if it is with its confidence, so that noise alone fails nothing. */
  readonly max: number;
  /** Of a figure that is as noisy as this nothing can be said: a leak of two and a half times the limit would not be seen. */
  readonly isBlind: boolean;
  readonly isOver: boolean;
}

export interface SoakReport {
  readonly growths: readonly Growth[];
  readonly calls: number;
  /** By admission, for want of CPU. */
  readonly refused: number;
  readonly perSecond: number;
  readonly deeds: Readonly<Record<string, number>>;
  readonly surprises: Readonly<Record<string, number>>;
  /** The same of calls that ended with UNAVAILABLE, of which one in a thousand may. */
  readonly unavailable: Readonly<Record<string, number>>;
  readonly left: readonly string[];
  readonly busyCpus: number;
  readonly passed: boolean;
  readonly method: Readonly<Record<string, unknown>>;
}

/** One process: its samples after the warm-up, and the last after everything had ended. */
export interface SoakSeries {
  readonly process: string;
  readonly samples: readonly SoakSample[];
}

const figures = ["heapBytes", "rssBytes", "descriptors", "handles", "wheel", "open"] as const;
type Figure = (typeof figures)[number];

/** Resident memory moves by pages and arenas, not by objects. */
const rssFactor = 5;
/** Of counts one in a thousand calls for each 20 bytes of the heap: a thing that is forgotten with each visit of a client is ten times as much. */
const countPerByteMax = 1 / 20_000;
/** A process that stands still for seconds looks dead to others. */
const unavailableShareMax = 1 / 1_000;

/** @param left what should be 0 and is not. */
export function soakReport(
  options: SoakOptions,
  series: readonly SoakSeries[],
  tallies: readonly SoakTally[],
  left: readonly string[],
): SoakReport {
  const growths = series.flatMap((one) => figures.map((figure) => growthOf(one, figure, options.bytesPerCallMax)));
  const surprises = merged(tallies.map((tally) => tally.surprises));
  const { calls, seconds, cpuMs } = spent(series);
  const unavailable = merged(tallies.map((tally) => tally.unavailable));
  const isServed = Object.values(unavailable).reduce((sum, count) => sum + count, 0) <= unavailableShareMax * calls;
  const isGrown = growths.some(({ isOver, isBlind }) => isOver || isBlind);
  return {
    growths,
    calls,
    refused: tallies.reduce((sum, { refused }) => sum + refused, 0),
    perSecond: calls / seconds,
    deeds: merged(tallies.map((tally) => tally.deeds)),
    surprises,
    unavailable,
    left,
    busyCpus: cpuMs / (seconds * 1_000),
    passed: !isGrown && isServed && left.length === 0 && Object.keys(surprises).length === 0,
    method: {
      ...options,
      slope:
        "least squares over calls of the process, after two full collections; within: two standard errors, for AR(1) noise",
      node: process.version,
    },
  };
}

function growthOf({ process: name, samples }: SoakSeries, figure: Figure, bytesPerCallMax: number): Growth {
  const calls = samples.map((sample) => sample.calls);
  const values = samples.map((sample) => sample[figure]).filter((value) => !Number.isNaN(value));
  const isBytes = figure === "heapBytes" || figure === "rssBytes";
  const max =
    figure === "heapBytes"
      ? bytesPerCallMax
      : figure === "rssBytes"
        ? rssFactor * bytesPerCallMax
        : countPerByteMax * bytesPerCallMax;
  const known = values.length === calls.length;
  // A call that is open takes kilobytes, and a machine that stands still now and then has many of them.
  const open = samples.map((sample) => sample.open);
  const slope = !known
    ? { perUnit: 0, within: 0 }
    : figure === "heapBytes"
      ? slopeOf(without(open, calls), without(open, values))
      : slopeOf(calls, values);
  return {
    process: name,
    figure,
    unit: isBytes ? "B/call" : "/1000 calls",
    perUnit: slope.perUnit,
    within: slope.within,
    first: values[0] ?? Number.NaN,
    last: values.at(-1) ?? Number.NaN,
    max,
    isBlind: figure === "heapBytes" && !(slope.within < 1.5 * max),
    isOver: slope.perUnit - slope.within > max,
  };
}

function spent(series: readonly SoakSeries[]): { calls: number; seconds: number; cpuMs: number } {
  let [calls, cpuMs, seconds] = [0, 0, 0];
  for (const { process: name, samples } of series) {
    const [first, last] = [samples[0], samples.at(-1)];
    if (first === undefined || last === undefined) continue;
    cpuMs += last.cpuMs - first.cpuMs;
    seconds = Math.max(seconds, (last.atMs - first.atMs) / 1_000);
    if (name !== "server") calls += last.calls - first.calls;
  }
  return { calls, seconds, cpuMs };
}

function merged(counts: readonly Readonly<Record<string, number>>[]): Readonly<Record<string, number>> {
  const all: Record<string, number> = {};
  for (const each of counts) for (const [key, count] of Object.entries(each)) all[key] = (all[key] ?? 0) + count;
  return all;
}

/** The report for people. */
export function describeSoak(report: SoakReport): string {
  const rows = report.growths.map((growth) => {
    const scale = growth.unit === "B/call" ? 1 : 1_000;
    const number = (value: number): string => (value * scale).toFixed(2).padStart(9);
    const size = (value: number): string =>
      (scale === 1 ? `${(value / 2 ** 20).toFixed(2)} MiB` : String(value)).padStart(11);
    const verdict = growth.isOver ? "GROWS" : growth.isBlind ? "TOO NOISY" : "";
    return [
      growth.process.padEnd(9),
      growth.figure.padEnd(12),
      size(growth.first),
      size(growth.last),
      `${number(growth.perUnit)} +- ${number(growth.within)} ${growth.unit.padEnd(11)} max ${number(growth.max)}`,
      verdict,
    ]
      .join(" ")
      .trimEnd();
  });
  const surprises = Object.entries({ ...report.surprises, ...report.unavailable }).map(
    ([kind, count]) => `${count} x ${kind}`,
  );
  const rate = `${report.calls} calls, ${report.refused} of all refused, ${report.perSecond.toFixed(0)} a second, ${report.busyCpus.toFixed(2)} CPUs busy`;
  return [
    `process   figure             first        last   growth`,
    ...rows,
    "",
    rate,
    ...surprises.map((line) => `surprise: ${line}`),
    ...report.left.map((line) => `left: ${line}`),
    report.passed ? "passed" : "FAILED",
  ].join("\n");
}
