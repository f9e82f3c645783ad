/**
 * Journals of simulated machines: each process of a cluster has a store of its own in memory, or shares the file of its machine with the
 * processes before it. The file is a real one, written in the same thread; it is there after a crash, and the locks are gone.
 */
import { join } from "node:path";
import type { Journal } from "holdfast/durable";
import type { Simulation } from "holdfast/testing";
import type { DedupStore } from "../../src/durable/dedup-store.ts";
import { memory } from "../../src/durable/memory.ts";
import { SqliteDedup } from "../../src/durable/sqlite-dedup.ts";
import { inlineRunner } from "../../src/durable/testdata/dedup-rigs.ts";
import type { Database, FileLocks } from "../../src/world/database.ts";
import type { World } from "../../src/world/world.ts";

/** A journal of which each world gets a store of its own. */
export interface SimulatedJournal extends Journal {
  /** The store of the last process that was started on this host. */
  storeOf(host: string): DedupStore<unknown> | undefined;
  /** Closes what is open in files, of processes that died too. */
  closeFiles(): void;
}

export interface SimulatedJournalOptions {
  readonly simulation: Simulation;
  readonly hosts: readonly string[];
  /** Where the files are; undefined: memory. */
  readonly directory: string | undefined;
  /** Stands between a store and its file. */
  readonly wrap?: ((database: Database, host: string) => Database) | undefined;
}

export function simulatedJournal({
  simulation,
  hosts,
  directory,
  wrap = (database) => database,
}: SimulatedJournalOptions): SimulatedJournal {
  const stores = new Map<string, DedupStore<unknown>>();
  const open: Database[] = [];
  const inFile = (world: World, host: string, path: string): DedupStore<unknown> => {
    const start = inlineRunner(
      (database) => {
        open.push(database);
        return wrap(database, host);
      },
      world,
      locksOf(simulation, host, world),
    );
    const kept = { entriesMax: 100_000, retentionMs: 86_400_000, retentionMsMin: 60_000 };
    const settings = { sync: "normal", transactMsMax: 5_000, ...kept } as const;
    return new SqliteDedup(world, { file: join(path, `${host.replaceAll("/", "-")}.db`), ...settings }, start);
  };
  return {
    scope: directory === undefined ? "process" : "machine",
    "~dedup": (world) => {
      const host = hosts.find((each) => simulation.host(each) === world);
      if (host === undefined) throw new RangeError("a journal of a simulation is for the hosts that it was told of");
      const store = directory === undefined ? memory()["~dedup"](world) : inFile(world, host, directory);
      stores.set(host, store);
      return store as DedupStore;
    },
    storeOf: (host) => stores.get(host),
    closeFiles: () => {
      for (const database of open.splice(0)) {
        try {
          database.close();
        } catch {
          // It was closed by its own process.
        }
      }
    },
    async [Symbol.asyncDispose]() {
      this.closeFiles();
    },
  };
}

/** Which locks are held: those of the processes that live. */
const holders: WeakMap<Simulation, Map<string, { readonly host: string; readonly world: World }>> = new WeakMap();

function locksOf(simulation: Simulation, host: string, world: World): FileLocks {
  const held = holders.get(simulation) ?? new Map<string, { readonly host: string; readonly world: World }>();
  holders.set(simulation, held);
  return {
    hold: (path) => {
      held.set(path, { host, world });
      return { release: () => void held.delete(path) };
    },
    isHeld: (path) => {
      const holder = held.get(path);
      if (holder === undefined) return false;
      return simulation.isRunning(holder.host) && simulation.host(holder.host) === holder.world;
    },
    remove: (path) => void held.delete(path),
  };
}
