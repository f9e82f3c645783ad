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
  readonly scenario: (seed: number, options: Options) => Promise<readonly Row[]>;
  readonly seeds: readonly number[];
  readonly roots: number;
  readonly isJson: boolean;
}

class UsageError extends Error {}

const scenarios: Readonly<Record<string, Options["scenario"]>> = { "slow-peer": slowPeer, "fan-out": fanOut, leaves };
const usage = `usage: ${Object.keys(scenarios).join("|")} [--seeds 5] [--seed 1] [--roots 10000] [--json]`;

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  try {
    const rows = await play(parseOptions(args));
    return rows.every(({ passed }) => passed) ? 0 : 1;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(`${error.message}\n\n${usage}`);
    return 2;
  }
}

async function play(options: Options): Promise<readonly Row[]> {
  const rows: Row[] = [];
  for (const seed of options.seeds) {
    const played = await options.scenario(seed, options);
    rows.push(...played);
    if (!options.isJson) for (const row of played) console.log(textOf(row));
  }
  if (options.isJson) console.log(JSON.stringify(rows, undefined, 2));
  return rows;
}

function parseOptions(args: readonly string[]): Options {
  const { values, positionals } = parse(args);
  const [name = "", ...rest] = positionals;
  const scenario = Object.hasOwn(scenarios, name) ? scenarios[name] : undefined;
  if (scenario === undefined || rest.length > 0) throw new UsageError(`no scenario "${positionals.join(" ")}"`);
  const first = wholeNumber("seed", values.seed ?? "1");
  const seeds = Array.from({ length: wholeNumber("seeds", values.seeds ?? "5") }, (_, index) => first + index);
  return { scenario, seeds, roots: wholeNumber("roots", values.roots ?? "10000"), isJson: values.json ?? false };
}

function parse(args: readonly string[]): ReturnType<typeof parseKnown> {
  try {
    return parseKnown(args);
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

function parseKnown(args: readonly string[]) {
  const text = { type: "string" } as const;
  const options = { seeds: text, seed: text, roots: text, json: { type: "boolean" } } as const;
  return parseArgs({ args: [...args], allowPositionals: true, options });
}

function wholeNumber(flag: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 1 && text.trim() !== "") return value;
  throw new UsageError(`--${flag} must be a whole number from 1 on, got "${text}"`);
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
