/**
 * Where the file's half runs: in a thread, since `node:sqlite` blocks the one that calls it.
 */
import { openDatabase, sqliteCode } from "../world/node-database.ts";
import { startWorker } from "../world/node-worker.ts";
import type { Database } from "../world/database.ts";
import type { Batch, BatchFailure, BatchReply } from "./sqlite-batch.ts";
import type { SqliteSettings } from "./sqlite-table.ts";

/** What the thread is started with. `token` is 32 hex digits of chance. */
export interface RunnerData {
  readonly settings: SqliteSettings;
  readonly token: string;
}

/** What the thread says: once opened or failed, then a reply or a failure for each transaction; `batches` is how many it carried. */
export type RunnerMessage =
  | { readonly kind: "opened"; readonly storeId: string; readonly owner: number }
  | { readonly kind: "done"; readonly replies: readonly BatchReply[] }
  | { readonly kind: "failed"; readonly batches: number; readonly failure: BatchFailure };

export interface RunnerEvents {
  message(message: RunnerMessage): void;
  /** It is gone, and nothing more comes. */
  ended(error: Error): void;
}

export interface Runner {
  send(batch: Batch): void;
  /** Asks it to close the file and end, which `ended` tells. */
  close(): void;
  /** Ends it at once. */
  stop(): Promise<void>;
  keepAlive(isWanted: boolean): void;
}

/** How long the thread waits for another process that writes, before it gives a batch up. */
export const BUSY_MS = 5_000;

/** Starts the thread: the module beside this one, whether that is TypeScript's source or what was built from it. */
export function startThread(data: RunnerData, events: RunnerEvents): Runner {
  const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
  const thread = startWorker(new URL(`./sqlite-thread.${extension}`, import.meta.url), data, {
    message: (message) => events.message(message as RunnerMessage),
    ended: (error) => events.ended(error),
  });
  return {
    send: (batch) => thread.post(batch, [batch.answers.buffer as ArrayBuffer]),
    close: () => thread.post(undefined, []),
    stop: () => thread.stop(),
    keepAlive: (isWanted) => thread.keepAlive(isWanted),
  };
}

/**
 * What SQLite says can pass: another process writes (5, 6), the disk is full (13), a deferred constraint of the user's own fails at the commit
 * (19). Nothing was kept, and what comes later may be.
 */
const PASSING: readonly (number | undefined)[] = [5, 6, 13, 19];

/**
 * What an error means. After anything but the passing ones the store must not go on: when an fsync has failed, the kernel may have dropped
 * what was to be written and call the next one a success (Rebello et al., "Can Applications Recover from fsync Failures?", ATC 2020).
 */
export function failureOf(error: unknown): BatchFailure {
  const code = sqliteCode(error);
  const text = error instanceof Error ? error.message : String(error);
  return { text, code, isFatal: !PASSING.includes(code) };
}

/** The real file. */
export function openFile(settings: SqliteSettings): Database {
  return openDatabase(settings.file, { busyMs: BUSY_MS });
}
