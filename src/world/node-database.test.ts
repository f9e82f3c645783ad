import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { nodeFileLocks, openDatabase, sqliteCode } from "./node-database.ts";

function inDirectory<T>(body: (path: string) => T): T {
  const path = mkdtempSync(join(tmpdir(), "holdfast-database-"));
  const remove = (): void => rmSync(path, { recursive: true, force: true });
  const result = body(path);
  if (result instanceof Promise) return result.finally(remove) as T;
  remove();
  return result;
}

test("a file is held until it is released, also towards its own process, and is gone then", () => {
  inDirectory((directory) => {
    const path = join(directory, "lock");
    assert.equal(nodeFileLocks.isHeld(path), false);
    assert.ok(!existsSync(path), "to ask makes no file");
    const lock = nodeFileLocks.hold(path);
    assert.equal(nodeFileLocks.isHeld(path), true);
    assert.equal(nodeFileLocks.isHeld(path), true, "to ask does not let go of it");
    assert.throws(() => nodeFileLocks.hold(path), /locked/);
    lock.release();
    assert.ok(!existsSync(path));
    nodeFileLocks.remove(path);
  });
});

test("a process that is killed lets go of it, and leaves a file that nobody holds", { timeout: 30_000 }, async () => {
  await inDirectory(async (directory) => {
    const path = join(directory, "lock");
    const program = `
      const { nodeFileLocks } = await import(${JSON.stringify(new URL("./node-database.ts", import.meta.url).href)});
      nodeFileLocks.hold(${JSON.stringify(path)});
      process.stdout.write("held");
      setInterval(() => {}, 1_000);`;
    const holder = spawn(process.execPath, ["--input-type=module", "-e", program], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await new Promise((resolve) => holder.stdout.once("data", resolve));
    assert.equal(nodeFileLocks.isHeld(path), true);
    holder.kill("SIGKILL");
    await new Promise((resolve) => holder.once("exit", resolve));
    assert.equal(nodeFileLocks.isHeld(path), false);
    assert.ok(existsSync(path));
    nodeFileLocks.remove(path);
    assert.ok(!existsSync(path));
  });
});

test("an error of SQLite's has its primary code, another error has none", () => {
  inDirectory((directory) => {
    const file = join(directory, "a.db");
    const [one, two] = [openDatabase(file, { busyMs: 0 }), openDatabase(file, { busyMs: 0 })];
    one.exec("CREATE TABLE t (a PRIMARY KEY); INSERT INTO t VALUES (1); BEGIN IMMEDIATE");
    assert.equal(
      codeOf(() => two.exec("BEGIN IMMEDIATE")),
      5,
    );
    // SQLITE_CONSTRAINT_PRIMARYKEY is 19 | (6 << 8).
    assert.equal(
      codeOf(() => one.exec("INSERT INTO t VALUES (1)")),
      19,
    );
    assert.equal(sqliteCode(new Error("x")), undefined);
    assert.equal(sqliteCode(undefined), undefined);
    assert.equal(sqliteCode({ errcode: "5" }), undefined);
    one.close();
    two.close();
  });
});

function codeOf(work: () => void): number | undefined {
  try {
    work();
  } catch (error) {
    return sqliteCode(error);
  }
  return undefined;
}
