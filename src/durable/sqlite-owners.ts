/**
 * Who runs what: each opened store is an owner, and as long as its process lives it holds a lock beside the file. What an owner left running
 * when the lock went is undecided for ever; what one still holds may yet be answered.
 */
import type { Database, FileLocks, Statement } from "../world/database.ts";

export class SqliteOwners {
  /** This store's number in the file. */
  readonly owner: number;
  private readonly file: string;
  private readonly locks: FileLocks;
  private readonly lock: { release(): void };
  private readonly tokenOf: Statement;
  private readonly bury: Statement;

  /** Takes a lock, then a number: nobody ever sees the number without the lock. */
  constructor(database: Database, file: string, token: string, locks: FileLocks) {
    this.file = file;
    this.locks = locks;
    this.tokenOf = database.prepare("SELECT token, is_gone FROM holdfast_owners WHERE owner = ?");
    this.bury = database.prepare("UPDATE holdfast_owners SET is_gone = 1 WHERE owner = ?");
    this.lock = locks.hold(this.lockFile(token));
    const { lastInsertRowid } = database.prepare("INSERT INTO holdfast_owners (token) VALUES (?)").run(token);
    this.owner = Number(lastInsertRowid);
  }

  /** Marks the owners whose processes are gone, and removes what they left beside the file. In a transaction. */
  buryDead(database: Database): void {
    const rows = database.prepare("SELECT owner, token FROM holdfast_owners WHERE is_gone = 0 AND owner <> ?");
    for (const { owner, token } of rows.all(this.owner))
      if (!this.isHeld(String(token))) this.markGone(Number(owner), String(token));
    // An owner that is gone and has left nothing is of no more use.
    database.exec(
      "DELETE FROM holdfast_owners WHERE is_gone = 1 AND owner NOT IN (SELECT owner FROM holdfast_calls WHERE answer IS NULL)",
    );
  }

  /** Whether that owner can no longer answer. In a transaction. */
  isGone(owner: number): boolean {
    const row = this.tokenOf.get(owner);
    if (row === undefined || row.is_gone !== 0) return true;
    if (this.isHeld(String(row.token))) return false;
    this.markGone(owner, String(row.token));
    return true;
  }

  /** Lets go of the lock. What is still running is undecided from now on. */
  release(): void {
    this.lock.release();
  }

  private markGone(owner: number, token: string): void {
    this.bury.run(owner);
    this.locks.remove(this.lockFile(token));
  }

  private isHeld(token: string): boolean {
    return this.locks.isHeld(this.lockFile(token));
  }

  private lockFile(token: string): string {
    return `${this.file}-owner-${token}`;
  }
}
