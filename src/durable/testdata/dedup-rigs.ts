/**
 * Dedup stores to test, each in a world whose clocks the test moves: the one in memory, the one in a file with its thread, and the same with the
 * file's half in this thread, where the test stands between it and the disk.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DedupLimits, DedupUnderTest } from "../../testing/dedup-suite.ts";
import type { Database, FileLocks } from "../../world/database.ts";
import { type DatabaseSync, nodeFileLocks } from "../../world/node-database.ts";
import { nodeWorld } from "../../world/node.ts";
import type { World } from "../../world/world.ts";
import { memory } from "../memory.ts";
import type { Batch } from "../sqlite-batch.ts";
import { SqliteDedup, type StartRunner } from "../sqlite-dedup.ts";
import { failureOf, openFile, type Runner, type RunnerData, type RunnerEvents, startThread } from "../sqlite-runner.ts";
import { SqliteTable } from "../sqlite-table.ts";

/** The real world with clocks of the test's own. */
export class TestWorld {
  wallMs = 1_900_000_000_000;
  monotonicMs = 5_000;
  readonly world: World = {
    ...nodeWorld,
    clock: { wallMs: () => this.wallMs, monotonicMs: () => this.monotonicMs },
  };
}

/** A directory that is gone when the test is over. */
export class TestDirectory implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), "holdfast-dedup-"));
  readonly file = join(this.path, "journal.db");

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

export async function memoryRig(limits: DedupLimits): Promise<DedupUnderTest<never>> {
  const clocks = new TestWorld();
  const store = memory(limits)["~dedup"](clocks.world);
  await store.open();
  return rigOf(store, clocks, () => store.close());
}

/** `start`: where the file's half runs. */
export function sqliteRig(start: StartRunner): (limits: DedupLimits) => Promise<DedupUnderTest<DatabaseSync>> {
  return async (limits) => {
    const directory = new TestDirectory();
    const clocks = new TestWorld();
    const store = sqliteStore(directory.file, clocks.world, start, limits);
    await store.open();
    return rigOf(store, clocks, async () => {
      await store.close();
      directory[Symbol.dispose]();
    });
  };
}

const roomy: DedupLimits = { entriesMax: 10_000, retentionMs: 86_400_000, retentionMsMin: 60_000 };

/** A store that is not open yet. */
export function sqliteStore(
  file: string,
  world: World = nodeWorld,
  start: StartRunner = startThread,
  limits: DedupLimits = roomy,
): SqliteDedup {
  return new SqliteDedup(world, { file, sync: "full", transactMsMax: 5_000, ...limits }, start);
}

function rigOf<Tx>(
  store: DedupUnderTest<Tx>["store"],
  clocks: TestWorld,
  close: () => Promise<void>,
): DedupUnderTest<Tx> {
  return {
    store,
    advance: (ms) => {
      clocks.wallMs += ms;
      clocks.monotonicMs += ms;
    },
    jump: (ms) => void (clocks.wallMs += ms),
    nowMs: () => clocks.wallMs,
    close,
  };
}

/**
 * The file's half in this thread; `wrap` stands between it and the disk. Everything happens in a later turn, as with a thread. In a simulation
 * `world` is the host's, and `locks` must know which of the simulated processes live: the real ones hold for all of them.
 */
export function inlineRunner(
  wrap: (database: Database) => Database = (database) => database,
  { timers }: Pick<World, "timers"> = nodeWorld,
  locks: FileLocks = nodeFileLocks,
): StartRunner {
  return (data, events) =>
    new InlineRunner(data, events, {
      wrap,
      locks,
      later: (callback) => timers.afterTurn(callback),
    });
}

interface InlineMeans {
  readonly wrap: (database: Database) => Database;
  readonly locks: FileLocks;
  readonly later: (callback: () => void) => void;
}

class InlineRunner implements Runner {
  private readonly events: RunnerEvents;
  private readonly later: InlineMeans["later"];
  private table: SqliteTable | undefined = undefined;
  private waiting: Batch[] = [];

  constructor({ settings, token }: RunnerData, events: RunnerEvents, means: InlineMeans) {
    this.events = events;
    this.later = means.later;
    this.later(() => {
      try {
        this.table = new SqliteTable(means.wrap(openFile(settings)), means.locks, settings, token);
        events.message({ kind: "opened", storeId: this.table.storeId, owner: this.table.owner });
      } catch (error) {
        events.message({ kind: "failed", batches: 0, failure: failureOf(error) });
      }
    });
  }

  send(batch: Batch): void {
    if (this.waiting.push(batch) === 1) this.later(() => this.commit());
  }

  close(): void {
    this.later(() => this.end());
  }

  async stop(): Promise<void> {
    this.later(() => this.end());
  }

  keepAlive(): void {}

  private commit(): void {
    const batches = this.waiting;
    this.waiting = [];
    if (this.table === undefined) return;
    try {
      this.events.message({ kind: "done", replies: this.table.apply(batches) });
    } catch (error) {
      this.events.message({ kind: "failed", batches: batches.length, failure: failureOf(error) });
    }
  }

  private end(): void {
    this.table?.close();
    this.table = undefined;
    this.events.ended(new Error("stopped"));
  }
}

/** Keeps a process alive that has no socket. */
export function startedAlive(): { cancel(): void } {
  return nodeWorld.timers.hold();
}
