/** What a measured process says about itself. */
import { setTimeout as sleep } from "node:timers/promises";

/** User and system time of all threads of this process so far. */
export function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}

/** Resident memory once what is garbage is gone. Needs `--expose-gc`. */
export async function rssBytesAfterCollection(): Promise<number> {
  if (globalThis.gc === undefined) throw new Error("start node with --expose-gc");
  for (let round = 0; round < 3; round += 1) {
    globalThis.gc();
    await sleep(100);
  }
  return process.memoryUsage.rss();
}
