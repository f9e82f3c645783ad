/**
 * The tables of the dedup store, in a file that may hold the user's own tables too: a handler's transaction writes both. All names begin
 * with `holdfast_`; nothing else of the file is looked at or changed, but that it is in WAL mode, which stays with it.
 */
import type { Database } from "../world/database.ts";

/** Raised when the tables change. A file of another version is refused. */
const VERSION = "1";

/**
 * `seq` rises with each new record, so that the oldest are found without an index on time. A record is running while `answer` is null.
 * The checks are CRC-32 of the key and of the answer: SQLite's pages carry none.
 */
const TABLES = `
  CREATE TABLE IF NOT EXISTS holdfast_facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS holdfast_owners (
    owner INTEGER PRIMARY KEY, token TEXT NOT NULL UNIQUE, is_gone INTEGER NOT NULL DEFAULT 0) STRICT;
  CREATE TABLE IF NOT EXISTS holdfast_calls (
    seq INTEGER PRIMARY KEY, path TEXT NOT NULL, principal TEXT NOT NULL, id TEXT NOT NULL, payload TEXT NOT NULL,
    minted_ms REAL, expires_ms REAL NOT NULL, key_check INTEGER NOT NULL,
    owner INTEGER NOT NULL, answer BLOB, answer_check INTEGER) STRICT;
  CREATE UNIQUE INDEX IF NOT EXISTS holdfast_calls_key ON holdfast_calls (path, principal, id);
`;

/**
 * Makes the connection what the store needs. `sync` "full": a commit is on the disk when it returns. "normal": it survives the death of the process,
 * but the last ones may be lost when the machine loses power (https://www.sqlite.org/wal.html#performance_considerations).
 */
export function prepareConnection(database: Database, sync: "full" | "normal"): void {
  const mode = database.prepare("PRAGMA journal_mode = WAL").get()?.journal_mode;
  if (mode !== "wal") throw new Error(`its journal mode must be wal, and is ${String(mode)}`);
  // On macOS fsync leaves the data in the drive's cache; fullfsync does not. Elsewhere these two change nothing.
  database.exec(
    `PRAGMA synchronous = ${sync}; PRAGMA fullfsync = ${sync === "full"}; PRAGMA checkpoint_fullfsync = true`,
  );
}

/**
 * Makes the tables, or checks those that are there; gives the store's id. `newStoreId` is taken by a new file. Throws the engine's error, and
 * Error for another version or what `integrity_check` finds wrong: a lost index entry would let a call run twice.
 */
export function openTables(database: Database, newStoreId: string): string {
  database.exec("BEGIN IMMEDIATE");
  try {
    database.exec(TABLES);
    const addFact = database.prepare("INSERT INTO holdfast_facts VALUES (?, ?) ON CONFLICT DO NOTHING");
    addFact.run("version", VERSION);
    addFact.run("store", newStoreId);
    const version = readFact(database, "version");
    if (version !== VERSION) throw new Error(`its dedup tables are of version ${version}, this is version ${VERSION}`);
    const [report] = database.prepare("PRAGMA integrity_check('holdfast_calls')").all();
    if (report?.integrity_check !== "ok") throw new Error(`it is damaged: ${String(report?.integrity_check)}`);
    const storeId = readFact(database, "store");
    database.exec("COMMIT");
    return storeId;
  } catch (error) {
    if (database.isTransaction) database.exec("ROLLBACK");
    throw error;
  }
}

function readFact(database: Database, name: string): string {
  return String(database.prepare("SELECT value FROM holdfast_facts WHERE name = ?").get(name)?.value);
}
