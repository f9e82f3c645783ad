/**
 * The `idle` scenario: what a connection with nothing to do costs each side in resident memory. Some connections are
 * opened first, so that code and pools are there; then many more; the difference is divided by their number.
 */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { ContenderName } from "./contender.ts";
import { withPair } from "./rounds.ts";

export interface IdleFigures {
  readonly name: ContenderName;
  readonly round: number;
  readonly clientRssKibPerConnection: number;
  readonly serverRssKibPerConnection: number;
  readonly error: string | undefined;
}

const warmConnections = 50;
/** Long enough for handshakes, settings and window updates to end. */
const settleMs = 1_000;
/** Files that a process has open for other things. */
const otherFiles = 200;

/** As many of the wanted connections as the limit of open files allows a process. */
export function connectionsAllowed(wanted: number): number {
  let soft = 1_024;
  try {
    soft = Number(/^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1] ?? soft);
  } catch {
    // Not Linux: the usual soft limit.
  }
  return Math.max(1, Math.min(wanted, soft - otherFiles - warmConnections));
}

export async function runIdleRounds(
  contenders: readonly ContenderName[],
  connections: number,
  rounds: number,
  onFigures: (figures: IdleFigures) => void,
): Promise<readonly IdleFigures[]> {
  const all: IdleFigures[] = [];
  for (let round = 0; round < rounds; round += 1) {
    for (const name of contenders) {
      const figures = await measure(name, connections, round);
      all.push(figures);
      onFigures(figures);
    }
  }
  return all;
}

async function measure(name: ContenderName, connections: number, round: number): Promise<IdleFigures> {
  try {
    return await withPair(name, undefined, warmConnections, async (server, client, port) => {
      await sleep(settleMs);
      const before = await Promise.all([client.memory(), server.memory()]);
      await client.connect({ contender: name, tls: undefined, port, connections });
      await sleep(settleMs);
      const after = await Promise.all([client.memory(), server.memory()]);
      const kib = (side: 0 | 1): number => (after[side].rssBytes - before[side].rssBytes) / 1_024 / connections;
      return { name, round, clientRssKibPerConnection: kib(0), serverRssKibPerConnection: kib(1), error: undefined };
    });
  } catch (error) {
    return { name, round, clientRssKibPerConnection: 0, serverRssKibPerConnection: 0, error: String(error) };
  }
}
