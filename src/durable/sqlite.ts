/**
 * The journal of one machine: a file, through SQLite.
 */
import { type Options, describeValue, numberOption, resolveOptions, wordOption } from "../call/options.ts";
import type { DatabaseSync } from "../world/node-database.ts";
import type { World } from "../world/world.ts";
import type { Journal } from "./journal.ts";
import { retentionMsMinOf } from "./memory.ts";
import { SqliteDedup } from "./sqlite-dedup.ts";
import { startThread } from "./sqlite-runner.ts";

/** What a commit means, how much the file holds, and for how long. */
export type SqliteOptions = Options<{
  /**
   * "full" (default): what was acknowledged survives the loss of power. "normal": it survives the death of the process, but the last
   * moments before a loss of power may be missing, and calls answered then may run again.
   */
  sync: "full" | "normal";
  /** Records at once, 1..1,000,000,000; default 10,000,000. At the limit as in memory, callers' own keys get half; the disk's own end is reported call by call. */
  entriesMax: number;
  /** How long an answer is kept, and how old an id may be, in milliseconds, 1,000..31,536,000,000; default 86,400,000: a day. */
  retentionMs: number;
  /** How long at least, when the journal is full: default 60,000 (or `retentionMs`, if less), twice a call's default deadline. */
  retentionMsMin: number;
  /**
   * How long one `call.transact` may have the file, in milliseconds, 1..600,000; default 5,000, as no call of the journal goes on meanwhile.
   * Then it is rolled back and rejects with ABORTED. Only where its work awaits: a statement that runs cannot be cut.
   */
  transactMsMax: number;
}>;

const shape = {
  sync: wordOption(["full", "normal"], { default: "full" }),
  entriesMax: numberOption({ default: 10_000_000, min: 1, max: 1_000_000_000, integer: true }),
  retentionMs: numberOption({ default: 86_400_000, min: 1_000, max: 31_536_000_000 }),
  retentionMsMin: numberOption({ default: undefined, min: 0, max: 31_536_000_000 }),
  transactMsMax: numberOption({ default: 5_000, min: 1, max: 600_000 }),
};

/**
 * A journal in a file of this machine, which survives restarts and may be shared by its processes. `call.transact` gets a `DatabaseSync` of
 * the same file: keep your own tables there, and effect and answer commit together. Not on a network drive, where SQLite's locks do not
 * hold. The file is opened when a server that uses it listens; beside it stand `-wal`, `-shm` and `-owner-…` files, which belong to it.
 * Throws RangeError or TypeError for a file name or options that it does not take.
 */
export function sqlite(file: string, options?: SqliteOptions): Journal<DatabaseSync> {
  if (typeof file !== "string" || file === "" || file === ":memory:" || file.startsWith("file:"))
    throw new RangeError(
      `sqlite's file must be the path of a file, got ${describeValue(file)}; for memory there is memory()`,
    );
  const { retentionMsMin, ...limits } = resolveOptions("sqlite", options ?? {}, shape);
  const least = retentionMsMinOf("sqlite", limits.retentionMs, retentionMsMin);
  const settings = { file, ...limits, retentionMsMin: least };
  let store: SqliteDedup | undefined;
  return {
    scope: "machine",
    "~dedup": (world: World) => (store ??= new SqliteDedup(world, settings, startThread)),
    [Symbol.asyncDispose]: async () => {
      await store?.close();
    },
  };
}
