/**
 * How much CPU the rest of the machine took during a measurement. A figure taken while others worked says little, and
 * nothing in the figure itself shows it.
 */
import { readFileSync } from "node:fs";

/** The machine's busy time so far in ms, all CPUs together; undefined where /proc/stat is not there. */
export function machineBusyMs(): number | undefined {
  try {
    return parseBusyMs(readFileSync("/proc/stat", "utf8"));
  } catch {
    return undefined;
  }
}

/** The kernel counts in hundredths of a second: user, nice, system, idle, iowait, irq, softirq, steal (proc(5)). */
export function parseBusyMs(stat: string): number {
  const ticks = (/^cpu\s+(.*)$/m.exec(stat)?.[1] ?? "").split(/\s+/).map(Number);
  const idle = (ticks[3] ?? Number.NaN) + (ticks[4] ?? Number.NaN);
  const total = ticks.slice(0, 8).reduce((sum, each) => sum + each, 0);
  if (Number.isNaN(total - idle)) throw new Error("/proc/stat does not begin with the sum of all CPUs");
  return (total - idle) * 10;
}
