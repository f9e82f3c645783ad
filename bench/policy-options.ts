/** The command line of `npm run bench -- policy`, checked at once. */
import { parseArgs } from "node:util";
import { numberOf, typed, UsageError } from "./options.ts";

export interface PolicyOptions {
  readonly isJson: boolean;
  readonly rounds: number;
  readonly seconds: number;
  readonly warmUpSeconds: number;
}

export const policyUsage = `usage: npm run bench -- policy [flags]
  --json               one JSON object on stdout instead of a table
  --rounds N           interleaved rounds, 1..100 (5; fewer than 3 give no verdict)
  --seconds N          each measured window, 0.1..60 (1)
  --warm-up-seconds N  before each window, in its own process, 0..60 (1)`;

/** Throws UsageError on anything it does not know. */
export function parsePolicyOptions(args: readonly string[]): PolicyOptions {
  const { values, positionals } = typed(() => parseKnown(args));
  if (positionals.length > 0) throw new UsageError(`policy takes flags only, got ${positionals.join(" ")}`);
  return {
    isJson: values.json ?? false,
    rounds: numberOf("rounds", values.rounds ?? "5", 1, 100, true),
    seconds: numberOf("seconds", values.seconds ?? "1", 0.1, 60, false),
    warmUpSeconds: numberOf("warm-up-seconds", values["warm-up-seconds"] ?? "1", 0, 60, false),
  };
}

function parseKnown(args: readonly string[]) {
  return parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      json: { type: "boolean" },
      rounds: { type: "string" },
      seconds: { type: "string" },
      "warm-up-seconds": { type: "string" },
    },
  });
}
