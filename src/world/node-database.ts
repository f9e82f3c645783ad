/**
 * SQLite by `node:sqlite`, and files held by locks that end with their process.
 */
import { rmSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import type { Database, FileLocks } from "./database.ts";

export type { DatabaseSync } from "node:sqlite";

/**
 * Opens a file, and creates it if it is not there. `busyMs`: for how long a statement waits (and its thread stands still) while another
 * connection writes. Throws the engine's error.
 */
export function openDatabase(file: string, { busyMs }: { readonly busyMs: number }): DatabaseSync {
  return new DatabaseSync(file, { timeout: busyMs });
}

/** SQLite's primary result code (https://www.sqlite.org/rescode.html), or undefined for an error of another kind. */
export function sqliteCode(error: unknown): number | undefined {
  if (typeof error !== "object" || error === null || !("errcode" in error)) return undefined;
  return typeof error.errcode === "number" ? error.errcode & 0xff : undefined;
}

/**
 * A lock is an open exclusive transaction on a database of its own: SQLite holds it by `fcntl` (LockFileEx on Windows), so that the
 * kernel drops it when the process dies, by SIGKILL too. No process id is compared, which containers number anew and systems use again,
 * and no lease can run out while its owner is stopped.
 */
export const nodeFileLocks: FileLocks = {
  hold(path) {
    const lock: Database = openDatabase(path, { busyMs: 0 });
    lock.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE");
    return {
      release() {
        lock.close();
        rmSync(path, { force: true });
      },
    };
  },

  isHeld(path) {
    let probe: Database;
    try {
      probe = new DatabaseSync(path, { readOnly: true, timeout: 0 });
    } catch (error) {
      if (sqliteCode(error) === SQLITE_CANTOPEN) return false;
      throw error;
    }
    try {
      probe.prepare("SELECT count(*) AS tables FROM sqlite_schema").get();
      return false;
    } catch (error) {
      if (sqliteCode(error) === SQLITE_BUSY) return true;
      throw error;
    } finally {
      probe.close();
    }
  },

  remove: (path) => rmSync(path, { force: true }),
};

const SQLITE_BUSY = 5;
const SQLITE_CANTOPEN = 14;
