/**
 * The journal of one process.
 */
import { type Options, numberOption, resolveOptions } from "../call/options.ts";
import type { World } from "../world/world.ts";
import type { Journal } from "./journal.ts";
import { MemoryDedup } from "./memory-dedup.ts";

/** How much a journal in memory holds, and for how long. */
export type MemoryOptions = Options<{
  /** Records at once, 1..10,000,000; default 100,000 (about 40 MB with small answers). At the limit see `retentionMsMin`. */
  entriesMax: number;
  /** Bytes of answers and keys, 1,024 or more; default 67,108,864. What runs at the limit still keeps its answer; new calls are refused. */
  bytesMax: number;
  /** How long an answer is kept, and how old an id may be, in milliseconds, 1,000..31,536,000,000; default 86,400,000: a day. */
  retentionMs: number;
  /**
   * How long at least, when the journal is full: default 60,000 (or `retentionMs`, if less), twice a call's default deadline. Finished records
   * older than this make room, and unknown ids of their age are refused; where none is so old, new calls are refused until one is.
   * So `entriesMax` must be at least the calls of this time: by default 1,600 a second. Callers' own keys (`idempotencyKey`) never make room
   * before `retentionMs`: they get half of `entriesMax` and `bytesMax`, one principal an eighth of `entriesMax`: 50,000 and 12,500 a day.
   */
  retentionMsMin: number;
}>;

const RETENTION_MS_DEFAULT = 86_400_000;
const RETENTION_MS_MIN_DEFAULT = 60_000;

const shape = {
  entriesMax: numberOption({ default: 100_000, min: 1, max: 10_000_000, integer: true }),
  bytesMax: numberOption({ default: 67_108_864, min: 1_024, max: Number.MAX_SAFE_INTEGER, integer: true }),
  retentionMs: numberOption({ default: RETENTION_MS_DEFAULT, min: 1_000, max: 31_536_000_000 }),
  retentionMsMin: numberOption({ default: undefined, min: 0, max: 31_536_000_000 }),
};

/**
 * A journal in this process's memory, the default of every server: repeats over broken connections get the first answer, and a restart
 * forgets everything. It has no transactions. Throws RangeError or TypeError for options that it does not take.
 */
export function memory(options?: MemoryOptions): Journal {
  const { retentionMsMin, ...limits } = resolveOptions("memory", options ?? {}, shape);
  const settings = { ...limits, retentionMsMin: retentionMsMinOf("memory", limits.retentionMs, retentionMsMin) };
  let store: MemoryDedup | undefined;
  return {
    scope: "process",
    "~dedup": (world: World) => (store ??= new MemoryDedup(world, settings)),
    [Symbol.asyncDispose]: async () => {
      await store?.close();
    },
  };
}

/** What stands for the least retention; RangeError if it is more than the retention. */
export function retentionMsMinOf(name: string, retentionMs: number, given: number | undefined): number {
  if (given !== undefined && given > retentionMs)
    throw new RangeError(`${name}.retentionMsMin must be at most retentionMs (${retentionMs}), got ${given}`);
  return given ?? Math.min(RETENTION_MS_MIN_DEFAULT, retentionMs);
}
