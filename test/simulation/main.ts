/**
 * `npm run simulate`: plays universes of random faults. The report on stdout, progress on stderr. Exit 0 everything held, 1 something
 * did not (or a planted bug was not found), 2 usage.
 */
import { parseArgs } from "node:util";
import { commitSeed } from "./commit-seed.ts";
import { type PlantedBug, plantedBugs, plantedBugVariable, plantedCpuSecondsMax } from "./planted/bugs.ts";
import { findPlanted, formatPlanted } from "./planted/find-planted.ts";
import { formatReport } from "./report-text.ts";
import { simulate, type SimulateOptions } from "./simulate.ts";

const usage = `usage: npm run simulate -- [options]
  --seeds N      universes to play (default 20), from seed 1 or --seed on; in CI the commit's own besides
  --seed S       the first seed; without --seeds the only one
  --keep I,J     only these of the universe's faults, by their places; "none" for none
  --storm-ms MS  a shorter storm
  --no-shrink    do not look for the smallest plan of a failure
  --bug NAME     with a planted bug; it must be found (${plantedBugs.map(({ name }) => name).join(", ")})
  --planted      all planted bugs, one after the other: each must be found
  --json         one JSON object instead of text`;

class UsageError extends Error {}

interface Options extends SimulateOptions {
  readonly isJson: boolean;
  /** Planted bugs that are to be found, each in a process of its own. */
  readonly wanted: readonly PlantedBug[];
}

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  try {
    const options = parseOptions(args);
    const { isJson, wanted } = options;
    if (wanted.length > 0) {
      const results = await findPlanted(wanted, args, progress);
      console.log(isJson ? JSON.stringify(results, undefined, 2) : formatPlanted(results));
      return results.every(({ isFound }) => isFound) ? 0 : 1;
    }
    const report = await simulate(options, progress);
    console.log(isJson ? JSON.stringify(report, undefined, 2) : formatReport(report));
    return report.passed ? 0 : 1;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(`${error.message}\n\n${usage}`);
    return 2;
  }
}

function progress(line: string): void {
  console.error(line);
}

function parseOptions(args: readonly string[]): Options {
  const values = valuesOf(args);
  const count = wholeNumber("--seeds", values.seeds, 1);
  const first = wholeNumber("--seed", values.seed, 0);
  const inside = process.env[plantedBugVariable];
  const seeds = Array.from({ length: count ?? (first === undefined ? 20 : 1) }, (_, index) => (first ?? 1) + index);
  const own = first === undefined ? commitSeed() : undefined;
  return {
    seeds: own === undefined ? seeds : [...seeds, own],
    keep: values.keep === undefined ? undefined : places(values.keep),
    stormMs: wholeNumber("--storm-ms", values["storm-ms"], 1),
    shrinks: values["no-shrink"] !== true,
    stopsAtFirst: inside !== undefined,
    cpuSecondsMax: inside === undefined ? Number.POSITIVE_INFINITY : plantedCpuSecondsMax,
    bug: inside,
    isJson: values.json === true,
    // The process in which a bug is planted looks for it; it plants no other.
    wanted: inside === undefined ? wantedBugs(values.bug, values.planted === true) : [],
  };
}

function valuesOf(args: readonly string[]): ReturnType<typeof parseOurs> {
  try {
    return parseOurs(args);
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

function parseOurs(args: readonly string[]): {
  readonly seeds?: string;
  readonly seed?: string;
  readonly keep?: string;
  readonly "storm-ms"?: string;
  readonly "no-shrink"?: boolean;
  readonly bug?: string;
  readonly planted?: boolean;
  readonly json?: boolean;
} {
  const text = { type: "string" } as const;
  const flag = { type: "boolean" } as const;
  const options = {
    seeds: text,
    seed: text,
    keep: text,
    "storm-ms": text,
    "no-shrink": flag,
    bug: text,
    planted: flag,
    json: flag,
  };
  return parseArgs({ args: [...args], options, strict: true }).values;
}

function wantedBugs(name: string | undefined, isAll: boolean): readonly PlantedBug[] {
  if (isAll) return plantedBugs;
  if (name === undefined) return [];
  const bug = plantedBugs.find((each) => each.name === name);
  if (bug === undefined) {
    throw new UsageError(`--bug must be one of ${plantedBugs.map((each) => each.name).join(", ")}, got "${name}"`);
  }
  return [bug];
}

function wholeNumber(name: string, text: string | undefined, min: number): number | undefined {
  if (text === undefined) return undefined;
  const number = Number(text);
  if (!Number.isSafeInteger(number) || number < min || text.trim() === "") {
    throw new UsageError(`${name} must be a whole number from ${min} on, got "${text}"`);
  }
  return number;
}

function places(text: string): readonly number[] {
  if (text === "none") return [];
  return text.split(",").map((each) => wholeNumber("--keep", each, 0) as number);
}
