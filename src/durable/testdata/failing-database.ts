/**
 * A database that fails as a disk does: the n-th write throws an error of SQLite's, before or after it was done.
 */
import type { Database, Statement } from "../../world/database.ts";

/** When it fails: the n-th write from `arm` on, counted over exec and run. */
export class FailingDatabase {
  private left = Infinity;
  private code = 0;
  private isLasting = false;
  /** Writes that reached the database after the first failure. */
  writesAfter = 0;
  private hasFailed = false;

  /** `code`: SQLite's (https://www.sqlite.org/rescode.html). `isLasting`: all later writes fail too. */
  arm(writes: number, code: number, isLasting = false): void {
    this.left = writes;
    this.code = code;
    this.isLasting = isLasting;
  }

  disarm(): void {
    this.left = Infinity;
    this.isLasting = false;
  }

  wrap(database: Database): Database {
    const step = (): void => this.step();
    return {
      get isTransaction() {
        return database.isTransaction;
      },
      exec(sql) {
        if (sql !== "ROLLBACK") step();
        database.exec(sql);
      },
      prepare: (sql) => failingStatement(database.prepare(sql), step),
      close: () => database.close(),
    };
  }

  private step(): void {
    this.left -= 1;
    if (this.left === 0 || (this.left < 0 && this.isLasting)) {
      this.hasFailed = true;
      throw Object.assign(new Error(`injected ${this.code}`), { code: "ERR_SQLITE_ERROR", errcode: this.code });
    }
    if (this.hasFailed) this.writesAfter += 1;
  }
}

function failingStatement(statement: Statement, step: () => void): Statement {
  return {
    run(...values) {
      step();
      return statement.run(...values);
    },
    get: (...values) => statement.get(...values),
    all: (...values) => statement.all(...values),
  };
}
