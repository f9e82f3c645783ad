/** The command line of the demo, checked at once. */
import { parseArgs } from "node:util";

export interface DemoOptions {
  /** The report alone, as one JSON object. */
  readonly isJson: boolean;
  readonly seconds: number;
  readonly isHelp: boolean;
}

/** What was typed cannot be done; the text says what can. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

export const usage = `usage: npm run demo -- [flags]
  --seconds N   how long the calls run, 3..600 (40); the faults are as much longer.
                A run goes on until each fault has had its turn, one at a time
  --json        the report alone, as one JSON object on stdout (npm run --silent demo -- --json)
  --help        this text`;

const SECONDS_MIN = 3;
const SECONDS_MAX = 600;

/** Throws UsageError on anything it does not know. */
export function parseOptions(args: readonly string[]): DemoOptions {
  const values = parseFlags(args);
  const text = values.seconds ?? "40";
  const seconds = text.trim() === "" ? Number.NaN : Number(text);
  if (!(seconds >= SECONDS_MIN && seconds <= SECONDS_MAX)) {
    throw new UsageError(`--seconds must be ${SECONDS_MIN}..${SECONDS_MAX}, got ${JSON.stringify(text)}`);
  }
  return { isJson: values.json ?? false, seconds, isHelp: values.help ?? false };
}

function parseFlags(args: readonly string[]): ReturnType<typeof parseKnown> {
  try {
    return parseKnown(args);
  } catch (error) {
    // Node adds advice on positional arguments, of which there are none here.
    throw new UsageError(error instanceof Error ? (error.message.split(". ")[0] ?? "") : String(error));
  }
}

function parseKnown(args: readonly string[]) {
  const options = { json: { type: "boolean" }, seconds: { type: "string" }, help: { type: "boolean" } } as const;
  return parseArgs({ args: [...args], options }).values;
}
