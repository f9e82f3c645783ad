/**
 * Files of lines that several processes append to, and that outlive them: plans, effects, what callers were told.
 */
import { appendFileSync, existsSync, fsyncSync, openSync, readFileSync, writeSync } from "node:fs";

/** Each line is there when it returns, for any process that looks: SIGKILL takes nothing that was written. */
export function appendLine(file: string, line: string): void {
  appendFileSync(file, `${line}\n`);
}

/** The same, and on the disk when it returns (O_APPEND and fsync). */
export function durableLines(file: string): (line: string) => void {
  const descriptor = openSync(file, "a");
  return (line) => {
    writeSync(descriptor, `${line}\n`);
    fsyncSync(descriptor);
  };
}

/** Whole lines: one that was cut was not written. */
export function linesOf(file: string): readonly string[] {
  return existsSync(file) ? readFileSync(file, "utf8").split("\n").slice(0, -1) : [];
}
