/**
 * `node --conditions=holdfast-source test/scenarios/main.ts slow-peer|fan-out|leaves [--seeds 5] [--seed 1] [--roots 10000] [--json]`: a
 * scenario in virtual time, with more seeds or calls than a test has time for. Exit 0: the bar is met by each seed; 1: not; 2: usage.
 */
import { parseArgs } from "node:util";
import { type FanOutResult, playFanOut } from "./fan-out.ts";
import { type LeafFault, playLeaves } from "./leaves.ts";
import { playSlowPeer } from "./slow-peer.ts";

/** One line of the result. */
interface Row {
  readonly seed: number;
  readonly passed: boolean;
  readonly [figure: string]: number | string | boolean;
}

interface Options {
  readonly seeds: readonly number[];
  readonly roots: number;
  readonly isJson: boolean;
}

const scenarios: Readonly<Record<string, (seed: number, options: Options) => Promise<readonly Row[]>>> = {
  "slow-peer": slowPeer,
  "fan-out": fanOut,
  leaves,
};

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      seeds: { type: "string", default: "5" },
      seed: { type: "string", default: "1" },
      roots: { type: "string", default: "10000" },
      json: { type: "boolean", default: false },
    },
  });
  const scenario = scenarios[positionals[0] ?? ""];
  const numbers = [values.seeds, values.seed, values.roots].map(Number);
  if (
    scenario === undefined ||
    positionals.length > 1 ||
    !numbers.every((number) => Number.isInteger(number) && number >= 1)
  ) {
    console.error(`usage: ${Object.keys(scenarios).join("|")} [--seeds 5] [--seed 1] [--roots 10000] [--json]`);
    return 2;
  }
  const [count = 1, first = 1, roots = 1] = numbers;
  const seeds = Array.from({ length: count }, (_, index) => first + index);
  const options = { seeds, roots, isJson: values.json };
  const rows: Row[] = [];
  for (const seed of seeds) {
    const played = await scenario(seed, options);
    rows.push(...played);
    if (!options.isJson) for (const row of played) console.log(textOf(row));
  }
  if (options.isJson) console.log(JSON.stringify(rows, undefined, 2));
  return rows.every(({ passed }) => passed) ? 0 : 1;
}

async function slowPeer(seed: number): Promise<readonly Row[]> {
  const { examples, ...figures } = await playSlowPeer({ seed });
  return [{ seed, passed: examples.length === 0 && figures.extraShare <= 0.001, ...figures }];
}

async function fanOut(seed: number, { roots }: Options): Promise<readonly Row[]> {
  const copied = await playFanOut({ seed, roots });
  const without = await playFanOut({ seed, roots, policy: { hedge: false } });
  const ratio = without.p999Ms / copied.p999Ms;
  return [
    {
      seed,
      policy: "default",
      passed: ratio >= 24 && copied.extraShare <= 0.02,
      p999Ratio: ratio,
      ...figuresOf(copied),
    },
    { seed, policy: "hedge: false", passed: true, p999Ratio: 1, ...figuresOf(without) },
  ];
}

function figuresOf({ roots, failed, extraShare, stalls, p50Ms, p99Ms, p999Ms, maxMs }: FanOutResult) {
  return { roots, failed, extraShare, stalls, p50Ms, p99Ms, p999Ms, maxMs };
}

async function leaves(seed: number): Promise<readonly Row[]> {
  const rows: Row[] = [];
  for (const fault of ["killed", "stopped", "unavailable", "hanging"] satisfies LeafFault[]) {
    const plan = { seed, fault, rootsPerSecond: 10, timeoutMs: 1_000, forMs: 24_000, faultMs: [3_000, 9_000] } as const;
    const { roots, singles, extraShare, reachedIll } = await playLeaves(plan);
    const passed = roots.failed + roots.late + singles.failed + singles.late === 0;
    const lost = { rootsLost: roots.failed + roots.late, singlesLost: singles.failed + singles.late };
    rows.push({
      seed,
      fault,
      passed,
      roots: roots.calls,
      ...lost,
      extraShare,
      reachedIll,
      rootMaxMs: roots.quantileMs(1),
    });
  }
  return rows;
}

function textOf(row: Row): string {
  const words = Object.entries(row).map(([name, value]) => {
    return `${name} ${typeof value === "number" && !Number.isInteger(value) ? value.toPrecision(4) : String(value)}`;
  });
  return words.join("  ");
}
