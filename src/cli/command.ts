/** What a command of the command line is, and what it is given. */
import type { World } from "../world/world.ts";
import { type FlagTable, type FlagValues, parseFlags } from "./flags.ts";

/** 0 done, 1 failed, 2 used wrongly, 130 interrupted. */
export type ExitCode = 0 | 1 | 2 | 130;

/** Whoever called us, and the world. */
export interface Shell {
  readonly world: World;
  /** A line of data: stdout. */
  print(line: string): void;
  /** A line of progress, or a complaint: stderr. */
  say(line: string): void;
  /** Aborted when the command should come to its end: interrupted, or nobody reads its data any more. */
  readonly interrupted: AbortSignal;
}

/** One command. */
export interface Command {
  /** The words it is called by, such as `chaos proxy`. */
  readonly name: string;
  /** What it does, in a line. */
  readonly summary: string;
  /** What `--help` says beside its flags. */
  readonly help: string;
  readonly flags: FlagTable;
  /** Does it. A UsageError that it rejects with is told with exit code 2, anything else with 1. */
  run(args: readonly string[], shell: Shell): Promise<ExitCode>;
}

/** A command whose `run` gets its flags read and checked. */
export function defineCommand<const F extends FlagTable>(parts: {
  readonly name: string;
  readonly summary: string;
  readonly help: string;
  readonly flags: F;
  readonly run: (flags: FlagValues<F>, shell: Shell) => Promise<ExitCode>;
}): Command {
  const { run, ...rest } = parts;
  return { ...rest, run: async (args, shell) => run(parseFlags(args, parts.flags), shell) };
}
