/**
 * An SQL database as a port: the part of SQLite's connection that the rooms use. `node:sqlite`'s DatabaseSync has this shape.
 */

export type SqlValue = null | number | bigint | string | Uint8Array;

/** A prepared statement. Each call throws the engine's error. */
export interface Statement {
  run(...values: SqlValue[]): { readonly changes: number | bigint; readonly lastInsertRowid: number | bigint };
  /** The first row, or undefined. */
  get(...values: SqlValue[]): Readonly<Record<string, unknown>> | undefined;
  all(...values: SqlValue[]): readonly Readonly<Record<string, unknown>>[];
}

/** One connection. Synchronous: it blocks its thread while the disk works. */
export interface Database {
  /** Whether a transaction is open. */
  readonly isTransaction: boolean;
  exec(sql: string): void;
  prepare(sql: string): Statement;
  close(): void;
}

/** Files that are held by a living process. The system lets go of them when the process ends, however it ends. */
export interface FileLocks {
  /** Creates the file and holds it until `release`, which removes it. Throws if it cannot. */
  hold(path: string): { release(): void };
  /** Whether some process holds it. A file that is not there is held by nobody. */
  isHeld(path: string): boolean;
  /** Removes what a process left that is gone. A file that is not there is no error. */
  remove(path: string): void;
}
