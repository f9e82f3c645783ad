/**
 * Transactions of handlers: effect and kept answer in one, on a connection of this thread, one at a time. The store's own thread is idle
 * meanwhile, so that beginning never waits for it. Statements and the commit block the event loop: that is what `node:sqlite` is.
 *
 * Each has a connection of its own, closed when it ends: what the work left running may still hold it, and on an open one its next
 * statement would be an effect without a record, or a part of somebody else's transaction.
 */
import { RpcError } from "../call/error.ts";
import { type DatabaseSync, openDatabase, sqliteCode } from "../world/node-database.ts";
import type { World } from "../world/world.ts";
import { BUSY_MS, failureOf } from "./sqlite-runner.ts";
import { prepareConnection } from "./sqlite-schema.ts";
import { answerCheck, KEEP_ANSWER, type SqliteSettings } from "./sqlite-table.ts";

/** How long to wait before another process that writes is asked again; the event loop runs meanwhile. */
const BUSY_STEP_MS = 5;
const SQLITE_BUSY = 5;
/** Transactions in a row before the store's thread gets its turn. */
const ROW_MAX = 16;

/** The store whose file it is. */
interface Host {
  /** Resolves when the store's thread is idle; it stays so until `resume`. */
  pause(): Promise<void>;
  resume(): void;
  /** The file cannot be trusted any more. */
  fail(error: Error): void;
  owner(): number;
}

/** The record whose answer is kept. */
interface Kept {
  readonly seq: number;
  /** Set here: nothing of the last transaction is in the file, for certain. */
  isRolledBack: boolean;
}

/** What a committed transaction gave. */
interface Committed<R> {
  readonly result: R;
  readonly answer: Uint8Array;
}

export class SqliteTransactions {
  private readonly world: World;
  private readonly settings: SqliteSettings;
  private readonly host: Host;
  private database: DatabaseSync | undefined = undefined;
  /** Ends with the last one that was asked for. */
  private line: Promise<void> = Promise.resolve();
  private inLine = 0;
  private isRunning = false;
  /** The store's thread is paused; so many have run since. */
  private isHolding = false;
  private inRow = 0;

  constructor(world: World, settings: SqliteSettings, host: Host) {
    this.world = world;
    this.settings = settings;
    this.host = host;
  }

  /**
   * Runs `work` when its turn comes. Rejects with what it threw, with the signal's reason, or with ABORTED after `transactMsMax`; then
   * nothing of it is in the file.
   */
  async run<R>(
    entry: Kept,
    work: (tx: DatabaseSync) => R | Promise<R>,
    answerOf: (result: R) => Uint8Array,
    signal: AbortSignal | undefined,
  ): Promise<Committed<R>> {
    entry.isRolledBack = true;
    const before = this.line;
    const { promise, resolve } = Promise.withResolvers<void>();
    // Whoever gives up still keeps its place, so that the order of the line holds.
    this.line = promise.then(() => before);
    this.inLine += 1;
    let isTurn = false;
    try {
      await unlessAborted(before, signal);
      isTurn = true;
      this.isRunning = true;
      const wasHolding = this.isHolding;
      this.isHolding = true;
      if (!wasHolding) await this.host.pause();
      signal?.throwIfAborted();
      return await this.withinLimit(signal, (ends) => this.inTransaction(entry, work, answerOf, ends));
    } finally {
      if (isTurn) this.dropConnection();
      this.leave(isTurn);
      resolve();
    }
  }

  /** Waits for those that were asked for, until `late`, and closes. */
  async close(late: Promise<void>): Promise<void> {
    await Promise.race([this.line, late]);
    this.dropConnection();
  }

  /** One is over, or gave up while another ran. Those behind it follow at once, a few, so that each costs no pause of its own. */
  private leave(isTurn: boolean): void {
    this.inLine -= 1;
    if (isTurn) {
      this.isRunning = false;
      this.inRow += 1;
    }
    if (!this.isHolding || this.isRunning || (this.inLine > 0 && this.inRow < ROW_MAX)) return;
    this.isHolding = false;
    this.inRow = 0;
    this.host.resume();
  }

  /** No other call of the store goes on meanwhile, so that one that waits for ever would stop them all. */
  private async withinLimit<T>(signal: AbortSignal | undefined, run: (ends: AbortSignal) => Promise<T>): Promise<T> {
    const { transactMsMax } = this.settings;
    const limit = new AbortController();
    const timer = this.world.timers.schedule(transactMsMax, () => {
      limit.abort(new RpcError("ABORTED", `the transaction took more than ${transactMsMax} ms (sqlite.transactMsMax)`));
    });
    try {
      return await run(signal === undefined ? limit.signal : AbortSignal.any([signal, limit.signal]));
    } finally {
      timer.cancel();
    }
  }

  private async inTransaction<R>(
    entry: Kept,
    work: (tx: DatabaseSync) => R | Promise<R>,
    answerOf: (result: R) => Uint8Array,
    signal: AbortSignal,
  ): Promise<Committed<R>> {
    const database = openDatabase(this.settings.file, { busyMs: 0 });
    this.database = database;
    prepareConnection(database, this.settings.sync);
    await this.begin(database, signal);
    let result: R;
    let answer: Uint8Array;
    try {
      result = await unlessAborted((async () => work(database))(), signal);
      if (!database.isTransaction)
        throw new TypeError("the work ended its transaction itself: COMMIT and ROLLBACK are transact's");
      answer = answerOf(result);
      const keep = database.prepare(KEEP_ANSWER);
      const { changes } = keep.run(answer, answerCheck(answer, entry.seq), entry.seq, this.host.owner());
      if (Number(changes) !== 1) throw new Error("the call's record is gone, so that its answer cannot be kept");
    } catch (error) {
      entry.isRolledBack = this.rollBack(database);
      throw error;
    }
    entry.isRolledBack = false;
    try {
      database.exec("COMMIT");
    } catch (error) {
      // A full disk leaves the transaction undone; after anything worse nobody knows what is on it.
      if (failureOf(error).isFatal) this.host.fail(error instanceof Error ? error : new Error(String(error)));
      else entry.isRolledBack = this.rollBack(database);
      throw error;
    }
    return { result, answer };
  }

  /** Whether all of it is undone. Not where the work has ended the transaction: what it did is in the file. */
  private rollBack(database: DatabaseSync): boolean {
    const isOpen = database.isTransaction;
    this.dropConnection();
    return isOpen;
  }

  private async begin(database: DatabaseSync, signal: AbortSignal): Promise<void> {
    const { clock, timers } = this.world;
    const untilMs = clock.monotonicMs() + BUSY_MS;
    for (;;) {
      try {
        database.exec("BEGIN IMMEDIATE");
        return;
      } catch (error) {
        if (sqliteCode(error) !== SQLITE_BUSY || clock.monotonicMs() >= untilMs) throw error;
      }
      await new Promise<void>((resolve) => void timers.schedule(BUSY_STEP_MS, resolve));
      signal.throwIfAborted();
    }
  }

  /** Undoes what is not committed, and takes the file from whoever still holds the connection or a statement of it. */
  private dropConnection(): void {
    this.database?.close();
    this.database = undefined;
  }
}

/** What `promise` gives, unless `signal` aborts first: then its reason is thrown, and what becomes of the promise is nobody's. */
async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = (): void => reject(signal.reason);
  signal.addEventListener("abort", abort);
  if (signal.aborted) abort();
  promise.catch(() => {});
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
