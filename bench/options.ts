/** The command line of the bench, checked at once. */
import { parseArgs } from "node:util";
import { contenderNames, type ContenderName } from "./contender.ts";
import { scenarios, type ScenarioName } from "./scenarios.ts";

export interface BenchOptions {
  readonly scenario: ScenarioName | "verdict";
  readonly isJson: boolean;
  readonly rounds: number;
  readonly seconds: number;
  readonly warmUpSeconds: number;
  readonly contenders: readonly ContenderName[] | undefined;
  readonly concurrencies: readonly number[] | undefined;
  readonly connections: number | undefined;
}

/** What was typed cannot be done; the text says what can. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

export const scenarioNames: readonly ScenarioName[] = [
  ...(Object.keys(scenarios) as (keyof typeof scenarios)[]),
  "idle",
];

/** Benchmarks that are programs of their own, with flags of their own (`--json` among them). */
export const programs: Readonly<Record<string, { readonly file: string; readonly what: string }>> = {
  codec: { file: "./codec.ts", what: "the compiled message codec against protobuf-es" },
  once: { file: "./once.ts", what: "claim and finish at the dedup stores, in memory and in a file" },
  "once-chaos": {
    file: "../test/once/main.ts",
    what: "once calls under SIGKILL and cut connections, with real processes",
  },
  pick: { file: "./pick.ts", what: "one choice of a balancer, at 10 to 10,000 peers" },
  policy: { file: "./policy.ts", what: "protect() against cockatiel and opossum" },
  rolling: { file: "./rolling.ts", what: "five servers restarted one after the other under load, with real processes" },
  "slow-peer": { file: "./slow-peer.ts", what: "one of 11 servers becomes slow, with real processes" },
};

export const usage = `usage: npm run bench -- SCENARIO [flags]
  SCENARIO             ${scenarioNames.join(", ")}; or verdict, which runs them all against the goals;
                       or one of ${Object.keys(programs).join(", ")}, programs of their own
  --json               one JSON object on stdout instead of a table
  --rounds N           interleaved rounds, 1..100 (3; fewer give no verdict)
  --seconds N          each measured window, 0.2..600 (2.5)
  --warm-up-seconds N  before a contender's first window in a round, 0..60 (3)
  --contenders a,b     ${contenderNames.join(", ")}
  --concurrency 1,64   calls (or streams) in flight, 1..1024 each; not for open and idle
  --connections N      connections that share the load (1); idle: connections held (1000)`;

/** Throws UsageError on anything it does not know. */
export function parseOptions(args: readonly string[]): BenchOptions {
  const { values, positionals } = typed(() => parseKnown(args));
  const [scenario, ...rest] = positionals;
  if (rest.length > 0) throw new UsageError(`one scenario at a time, got also ${rest.join(" ")}`);
  if (scenario === undefined) throw new UsageError("which scenario?");
  if (!isScenario(scenario))
    throw new UsageError(`no scenario "${scenario}"; there are ${scenarioNames.join(", ")}, verdict`);
  const isFixed = scenario === "open" || scenario === "idle" || scenario === "verdict";
  if (values.concurrency !== undefined && isFixed) throw new UsageError(`${scenario} takes no --concurrency`);
  if (values.connections !== undefined && scenario === "verdict")
    throw new UsageError("verdict takes no --connections");
  if (values.contenders !== undefined && scenario === "verdict") throw new UsageError("verdict takes no --contenders");
  return {
    scenario,
    isJson: values.json ?? false,
    rounds: numberOf("rounds", values.rounds ?? "3", 1, 100, true),
    seconds: numberOf("seconds", values.seconds ?? "2.5", 0.2, 600, false),
    warmUpSeconds: numberOf("warm-up-seconds", values["warm-up-seconds"] ?? "3", 0, 60, false),
    contenders: values.contenders?.split(",").map(contenderOf),
    concurrencies: values.concurrency?.split(",").map((text) => numberOf("concurrency", text, 1, 1_024, true)),
    connections:
      values.connections === undefined ? undefined : numberOf("connections", values.connections, 1, 100_000, true),
  };
}

/** What `parse` gives; what it throws is a mistake in what was typed. */
export function typed<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
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
      contenders: { type: "string" },
      concurrency: { type: "string" },
      connections: { type: "string" },
    },
  });
}

function isScenario(name: string): name is ScenarioName | "verdict" {
  return name === "verdict" || scenarioNames.some((each) => each === name);
}

function contenderOf(name: string): ContenderName {
  const contender = contenderNames.find((each) => each === name);
  if (contender === undefined) throw new UsageError(`no contender "${name}"; there are ${contenderNames.join(", ")}`);
  return contender;
}

/** A flag's number, in `min`..`max`. */
export function numberOf(flag: string, text: string, min: number, max: number, isWhole: boolean): number {
  const value = text.trim() === "" ? Number.NaN : Number(text);
  if (value >= min && value <= max && (!isWhole || Number.isInteger(value))) return value;
  throw new UsageError(`--${flag} must be ${isWhole ? "a whole number in " : ""}${min}..${max}, got ${text}`);
}
