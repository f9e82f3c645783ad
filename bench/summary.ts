/**
 * From the figures of all rounds to what is reported: medians, spreads, and ratios. A ratio is the median of the rounds'
 * own ratios, never the ratio of medians: what a round's contenders had in common cancels out.
 */
import { contenderNames, type ContenderName } from "./contender.ts";

/** One contender's figures in one case of one round, by metric. */
export interface Row {
  readonly name: ContenderName;
  readonly caseKey: string;
  readonly round: number;
  readonly metrics: Readonly<Record<string, number>>;
}

/** A ratio: the sum of the `metrics` of `of`, over the same sum of `over`. */
export interface RatioSpec {
  readonly name: string;
  readonly of: ContenderName;
  readonly over: ContenderName;
  readonly metrics: readonly string[];
}

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** The ratios of one case: a number by name, and beside them the spread over the rounds. */
export interface CaseRatios {
  readonly [name: string]: number | Readonly<Record<string, readonly [min: number, max: number]>>;
  readonly spread: Readonly<Record<string, readonly [min: number, max: number]>>;
}

/** The middle value (of an even number: the mean of the two in the middle), the least and the greatest. */
export function spreadOf(values: readonly number[]): Spread {
  if (values.length === 0) throw new RangeError("a spread needs a value");
  const sorted = values.toSorted((a, b) => a - b);
  const at = (index: number): number => sorted[index] ?? Number.NaN;
  const median = (at(Math.floor((sorted.length - 1) / 2)) + at(Math.ceil((sorted.length - 1) / 2))) / 2;
  return { median, min: at(0), max: at(sorted.length - 1) };
}

/** Each metric of one contender in one case over the rounds; undefined if there is no round. */
export function summarise(
  rows: readonly Row[],
  name: ContenderName,
  caseKey: string,
): Readonly<Record<string, Spread>> | undefined {
  const mine = rows.filter((row) => row.name === name && row.caseKey === caseKey);
  const [first] = mine;
  if (first === undefined) return undefined;
  const metrics = Object.keys(first.metrics);
  return Object.fromEntries(
    metrics.map((metric) => [metric, spreadOf(mine.map((row) => row.metrics[metric] ?? Number.NaN))]),
  );
}

/** The ratios of one case, those that the measured contenders allow. */
export function ratiosOf(rows: readonly Row[], caseKey: string, specs: readonly RatioSpec[]): CaseRatios {
  const medians: Record<string, number> = {};
  const spread: Record<string, readonly [number, number]> = {};
  for (const { name, of, over, metrics } of specs) {
    const perRound: number[] = [];
    for (const row of rows) {
      if (row.name !== of || row.caseKey !== caseKey) continue;
      const other = rows.find((each) => each.name === over && each.caseKey === caseKey && each.round === row.round);
      if (other !== undefined) perRound.push(sum(row, metrics) / sum(other, metrics));
    }
    if (perRound.length === 0) continue;
    const { median, min, max } = spreadOf(perRound);
    medians[name] = median;
    spread[name] = [min, max];
  }
  return { ...medians, spread };
}

function sum(row: Row, metrics: readonly string[]): number {
  return metrics.reduce((total, metric) => total + (row.metrics[metric] ?? Number.NaN), 0);
}

const cpuMetrics = ["clientCpuUsPerCall", "serverCpuUsPerCall"];

/** The ratios of a load scenario: Holdfast over each other contender, and the floor over grpc-js. */
export const loadRatios: readonly RatioSpec[] = [
  ...contenderNames
    .filter((name) => name !== "holdfast")
    .flatMap((over): readonly RatioSpec[] => [
      { name: `rpsOver${nameInRatios(over)}`, of: "holdfast", over, metrics: ["rps"] },
      { name: `p99Over${nameInRatios(over)}`, of: "holdfast", over, metrics: ["p99Ms"] },
      { name: `cpuOver${nameInRatios(over)}`, of: "holdfast", over, metrics: cpuMetrics },
    ]),
  { name: "floorRpsOverGrpcJs", of: "socket-floor", over: "grpc-js", metrics: ["rps"] },
];

/** The ratios of `idle`: memory of each side over grpc-js. */
export const idleRatios: readonly RatioSpec[] = ["client", "server"].map((side) => ({
  name: `${side}RssOverGrpcJs`,
  of: "holdfast",
  over: "grpc-js",
  metrics: [`${side}RssKibPerConnection`],
}));

function nameInRatios(name: ContenderName): string {
  if (name === "socket-floor") return "Floor";
  return name.replaceAll(/(?:^|-)(\w)/g, (_match, letter: string) => letter.toUpperCase());
}
