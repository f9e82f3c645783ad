/**
 * The dedup store's file, one batch of operations at a time, each batch one transaction: the synchronous half, which runs in a thread of its own.
 * What waits while a transaction commits goes into the next one, so that one fsync serves all of it (group commit: DeWitt et al.,
 * "Implementation Techniques for Main Memory Database Systems", SIGMOD 1984).
 */
import { crc32 } from "node:zlib";
import type { Database, FileLocks, Statement } from "../world/database.ts";
import {
  type Batch,
  type BatchReply,
  CLAIM,
  FINISH,
  type Operation,
  operationsOf,
  type Outcome,
  packOutcomes,
} from "./sqlite-batch.ts";
import { believedMintMs, ownEntriesMax } from "./own-share.ts";
import { SqliteOwners } from "./sqlite-owners.ts";
import { openTables, prepareConnection } from "./sqlite-schema.ts";

export interface SqliteSettings {
  readonly file: string;
  readonly sync: "full" | "normal";
  readonly entriesMax: number;
  readonly retentionMs: number;
  readonly retentionMsMin: number;
  readonly transactMsMax: number;
}

/** Records looked at in one go when some are to be dropped: few, so that no transaction takes long. */
const PURGE_MAX = 64;
/** A full store makes room for so many new records at once, or a part of what it holds; and looks so many times for what may go. */
const ROOM = 32;
const ROOM_STEPS = 8;

interface CallRow {
  readonly seq: number;
  readonly path: string;
  readonly principal: string;
  readonly id: string;
  readonly payload: string;
  readonly minted_ms: number | null;
  readonly expires_ms: number;
  readonly key_check: number;
  readonly owner: number;
  readonly answer: Uint8Array | null;
  readonly answer_check: number | null;
}

type Claim = Extract<Operation, { kind: typeof CLAIM }>;

export class SqliteTable {
  readonly storeId: string;
  /** This store's number as an owner of records. */
  readonly owner: number;
  private readonly database: Database;
  private readonly settings: SqliteSettings;
  private readonly owners: SqliteOwners;
  private readonly insert: Statement;
  private readonly find: Statement;
  private readonly takeOver: Statement;
  private readonly keep: Statement;
  private readonly remove: Statement;
  private readonly drop: Statement;
  private readonly oldestTime: Statement;
  private readonly oldest: Statement;
  private readonly readFacts: Statement;
  private readonly writeFact: Statement;
  private forgottenMs = -Infinity;
  private entries = 0;
  /** Those of callers' own keys, which never make room. */
  private ownEntries = 0;
  /** What is looked at when room is needed comes after this. */
  private passedSeq = 0;
  /** The next look for what is over begins after this. */
  private expirySeq = 0;
  /** This transaction has looked for room and found none. */
  private isRoomDenied = false;

  /** `token` names this opening of the file, and a new file. Throws the engine's error, or Error for a file that cannot be used. */
  constructor(database: Database, locks: FileLocks, settings: SqliteSettings, token: string) {
    this.database = database;
    this.settings = settings;
    prepareConnection(database, settings.sync);
    this.storeId = openTables(database, token);
    this.owners = new SqliteOwners(database, settings.file, token, locks);
    this.owner = this.owners.owner;
    this.insert = database.prepare(
      `INSERT INTO holdfast_calls (path, principal, id, payload, minted_ms, expires_ms, key_check, owner)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
    );
    this.find = database.prepare("SELECT * FROM holdfast_calls WHERE path = ? AND principal = ? AND id = ?");
    this.takeOver = database.prepare("UPDATE holdfast_calls SET owner = ? WHERE seq = ? AND answer IS NULL");
    this.keep = database.prepare(KEEP_ANSWER);
    this.remove = database.prepare(
      "DELETE FROM holdfast_calls WHERE seq = ? AND owner = ? AND answer IS NULL RETURNING minted_ms",
    );
    this.drop = database.prepare("DELETE FROM holdfast_calls WHERE seq = ?");
    this.oldestTime = database.prepare("SELECT expires_ms FROM holdfast_calls WHERE seq > ? ORDER BY seq LIMIT 1");
    this.oldest = database.prepare("SELECT * FROM holdfast_calls WHERE seq > ? ORDER BY seq LIMIT ?");
    this.readFacts = database.prepare(
      "SELECT name, value FROM holdfast_facts WHERE name IN ('entries', 'own', 'forgotten')",
    );
    this.writeFact = database.prepare(
      "INSERT INTO holdfast_facts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    );
    this.inTransaction(() => {
      this.owners.buryDead(database);
      const count = database.prepare("SELECT count(*) AS entries, count(minted_ms) AS minted FROM holdfast_calls");
      const { entries, minted } = count.get() ?? {};
      this.writeFact.run("entries", String(entries));
      this.writeFact.run("own", String(Number(entries) - Number(minted)));
    });
  }

  /** Does all of it or, throwing the engine's error, nothing. What it returns is durable. */
  apply(batches: readonly Batch[]): BatchReply[] {
    return this.inTransaction(() => {
      const nowMs = batches.at(-1)?.nowMs ?? 0;
      // Other processes write here too, so that the figures are the file's and not this thread's.
      this.loadFacts();
      this.isRoomDenied = false;
      const { entries, ownEntries, forgottenMs } = this;
      this.dropExpired(nowMs);
      const outcomes = batches.map((batch) =>
        [...operationsOf(batch)].map((operation) => this.perform(operation, nowMs)),
      );
      if (this.entries !== entries) this.writeFact.run("entries", String(this.entries));
      if (this.ownEntries !== ownEntries) this.writeFact.run("own", String(this.ownEntries));
      if (this.forgottenMs !== forgottenMs) this.writeFact.run("forgotten", String(this.forgottenMs));
      const facts = { entries: this.entries, forgottenMs: this.forgottenMs };
      return outcomes.map((each) => packOutcomes(each, facts));
    });
  }

  close(): void {
    this.owners.release();
    this.database.close();
  }

  private inTransaction<T>(work: () => T): T {
    this.database.exec("BEGIN IMMEDIATE");
    try {
      const result = work();
      this.database.exec("COMMIT");
      return result;
    } catch (error) {
      // After some errors SQLite has rolled back by itself.
      if (this.database.isTransaction) this.database.exec("ROLLBACK");
      this.passedSeq = 0;
      throw error;
    }
  }

  private perform(operation: Operation, nowMs: number): Outcome {
    if (operation.kind === CLAIM) return this.claim(operation, nowMs);
    if (operation.kind === FINISH) {
      const { seq, answer } = operation;
      const isKept = Number(this.keep.run(answer, answerCheck(answer, seq), seq, this.owner).changes) === 1;
      return { kind: isKept ? "done" : "taken" };
    }
    const removed = this.remove.get(operation.seq, this.owner) as Pick<CallRow, "minted_ms"> | undefined;
    if (removed !== undefined) this.uncount(removed);
    return { kind: removed === undefined ? "taken" : "done" };
  }

  private claim(claim: Claim, nowMs: number): Outcome {
    const { retentionMs, entriesMax } = this.settings;
    const { path, principal, id, payloadHash } = claim;
    const mintedMs = believedMintMs(claim.mintedMs ?? undefined, nowMs) ?? null;
    const isOld = mintedMs !== null && mintedMs <= Math.max(this.forgottenMs, nowMs - retentionMs);
    const isOwnFull = mintedMs === null && this.ownEntries >= ownEntriesMax(entriesMax);
    const isFull = this.entries >= entriesMax || isOwnFull;
    if (!isOld && !isFull) {
      const seq = this.add(claim, mintedMs, nowMs);
      if (seq !== undefined) return { kind: "run", seq };
    }
    const row = this.find.get(path, principal, id) as CallRow | undefined;
    if (row !== undefined) return this.heldOutcome(row, payloadHash, claim.rerunUnknown);
    if (isOld) return { kind: "expired" };
    // Room is made for what is new, never for a repeat: it might be its own record that goes.
    const seq = !isOwnFull && this.makeRoom(nowMs) ? this.add(claim, mintedMs, nowMs) : undefined;
    return seq === undefined ? { kind: "full" } : { kind: "run", seq };
  }

  /** The new record's number, or undefined if there is one of this key. */
  private add({ path, principal, id, payloadHash }: Claim, mintedMs: number | null, nowMs: number): number | undefined {
    const expiresMs = Math.max(mintedMs ?? nowMs, nowMs) + this.settings.retentionMs;
    const check = keyCheck(path, principal, id, payloadHash, mintedMs, expiresMs);
    const values = [path, principal, id, payloadHash, mintedMs, expiresMs, check, this.owner];
    const { changes, lastInsertRowid } = this.insert.run(...values);
    if (Number(changes) === 0) return undefined;
    this.entries += 1;
    if (mintedMs === null) this.ownEntries += 1;
    return Number(lastInsertRowid);
  }

  private heldOutcome(row: CallRow, payloadHash: string, rerunUnknown: boolean): Outcome {
    if (!isIntact(row)) return { kind: "corrupt" };
    if (row.payload !== payloadHash) return { kind: "conflict" };
    if (row.answer !== null) return { kind: "answer", answer: row.answer };
    // What this process runs, the store's other half knows and does not ask about: a record of our own is one whose answer was not kept.
    const mayBeAnswered = row.owner !== this.owner && !this.owners.isGone(row.owner);
    if (!rerunUnknown || mayBeAnswered) return { kind: "unknown" };
    this.takeOver.run(this.owner, row.seq);
    return { kind: "run", seq: row.seq };
  }

  private loadFacts(): void {
    this.forgottenMs = -Infinity;
    for (const { name, value } of this.readFacts.all()) {
      if (name === "entries") this.entries = Number(value);
      else if (name === "own") this.ownEntries = Number(value);
      else this.forgottenMs = Number(value);
    }
  }

  /**
   * Drops the oldest records whose time is over, a few. Calls of living processes stay, and so does what is damaged; they may be any number,
   * so that each look goes on where the last one ended, until it meets one whose time is not over.
   */
  private dropExpired(nowMs: number): void {
    if (Number(this.oldestTime.get(this.expirySeq)?.expires_ms ?? Infinity) > nowMs) {
      this.expirySeq = 0;
      return;
    }
    const rows = this.rowsAfter(this.expirySeq);
    for (const row of rows) if (row.expires_ms <= nowMs && !this.mayBeAnswered(row)) this.forget(row);
    this.expirySeq = rows.length < PURGE_MAX ? 0 : (rows.at(-1)?.seq ?? 0);
  }

  /**
   * Drops some of the oldest finished records whose ids are old enough to be refused from now on; whether there is room. Keys of callers'
   * own, which stand in the way until their time is over, are passed once and not looked at again; young ones, which one from a clock that
   * runs ahead may be among older ones, are. So one transaction looks in vain once.
   */
  private makeRoom(nowMs: number): boolean {
    if (this.isRoomDenied) return false;
    const { entriesMax, retentionMsMin } = this.settings;
    const wanted = entriesMax - Math.min(ROOM, Math.ceil(entriesMax / ROOM));
    let at = this.passedSeq;
    let isAnyKept = false;
    for (let step = 0; step < ROOM_STEPS; step += 1) {
      const rows = this.rowsAfter(at);
      for (const row of rows) {
        if (this.entries <= wanted) return true;
        if (row.minted_ms !== null) {
          if (row.answer !== null && row.minted_ms <= nowMs - retentionMsMin) this.forget(row);
          else isAnyKept = true;
        }
        at = row.seq;
        if (!isAnyKept) this.passedSeq = at;
      }
      if (rows.length < PURGE_MAX) break;
    }
    this.isRoomDenied = this.entries >= entriesMax;
    return !this.isRoomDenied;
  }

  private rowsAfter(seq: number): readonly CallRow[] {
    return this.oldest.all(seq, PURGE_MAX) as unknown as readonly CallRow[];
  }

  /** `forgottenMs` rises to the youngest id that went, in the same transaction. */
  private forget(row: CallRow): void {
    if (!isIntact(row)) return;
    this.drop.run(row.seq);
    this.uncount(row);
    if (row.minted_ms !== null && row.minted_ms > this.forgottenMs) this.forgottenMs = row.minted_ms;
  }

  private uncount({ minted_ms: mintedMs }: Pick<CallRow, "minted_ms">): void {
    this.entries -= 1;
    if (mintedMs === null) this.ownEntries -= 1;
  }

  private mayBeAnswered({ answer, owner }: CallRow): boolean {
    return answer === null && (owner === this.owner || !this.owners.isGone(owner));
  }
}

/** Keeps an answer, if the record is still this owner's and running. Operands: answer, its check, seq, owner. */
export const KEEP_ANSWER =
  "UPDATE holdfast_calls SET answer = ?, answer_check = ? WHERE seq = ? AND owner = ? AND answer IS NULL";

/** The check of a kept answer, bound to its record. */
export function answerCheck(answer: Uint8Array, seq: number): number {
  return crc32(answer, seq);
}

function keyCheck(
  path: string,
  principal: string,
  id: string,
  payload: string,
  mintedMs: number | null,
  expiresMs: number,
): number {
  return crc32(JSON.stringify([path, principal, id, payload, mintedMs, expiresMs]));
}

function isIntact(row: CallRow): boolean {
  const { answer, answer_check: check } = row;
  const { path, principal, id, payload, minted_ms: mintedMs, expires_ms: expiresMs } = row;
  if (row.key_check !== keyCheck(path, principal, id, payload, mintedMs, expiresMs)) return false;
  return answer === null ? check === null : check === answerCheck(answer, row.seq);
}
