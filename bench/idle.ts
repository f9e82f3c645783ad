/**
 * The `idle` scenario: what a connection with nothing to do costs each side in resident memory, and whether calls are answered beside so
 * many. Some connections are opened first, so that code and pools are there; then the others; the difference is divided by their number.
 * Many connections are dealt out to several client processes.
 */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { type ClientCommands, type ServerCommands, startChild } from "./commands.ts";
import type { ContenderName } from "./contender.ts";

export interface IdleFigures {
  readonly name: ContenderName;
  readonly round: number;
  readonly clientRssKibPerConnection: number;
  readonly serverRssKibPerConnection: number;
  /** Of calls on one of the connections, while the others stand. */
  readonly p99Ms: number;
  readonly error: string | undefined;
}

/** Of those wanted, opened before the first look. */
const warmConnections = 50;
/** Long enough for handshakes, settings and window updates to end. */
const settleMs = 1_000;
/** Files that a process has open for other things. */
const otherFiles = 200;
/** A client process holds no more. */
const perClientMax = 2_500;
/** The calls beside: so many a second, for so long. */
const callsPerSecond = 500;
const callsMs = 2_000;

/** As many of the wanted connections as the limit of open files allows a process. */
export function connectionsAllowed(wanted: number): number {
  let soft = 1_024;
  try {
    soft = Number(/^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1] ?? soft);
  } catch {
    // Not Linux: the usual soft limit.
  }
  return Math.max(1, Math.min(wanted, soft - otherFiles));
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
      const figures = await measureIdle(name, connections, round);
      all.push(figures);
      onFigures(figures);
    }
  }
  return all;
}

/** One contender's turn. What goes wrong is said in its figures. */
export async function measureIdle(name: ContenderName, connections: number, round: number): Promise<IdleFigures> {
  const server = startChild<ServerCommands>("./server-process.ts", 1);
  const count = Math.ceil(connections / perClientMax);
  const clients = Array.from({ length: count }, () => startChild<ClientCommands>("./client-process.ts", 0));
  try {
    const asked = clients.map(({ ask }) => ask);
    return { name, round, ...(await hold(name, connections, server.ask, asked)), error: undefined };
  } catch (error) {
    const nothing = { clientRssKibPerConnection: 0, serverRssKibPerConnection: 0, p99Ms: 0 };
    return { name, round, ...nothing, error: String(error) };
  } finally {
    for (const child of [server, ...clients]) child.stop();
  }
}

async function hold(
  contender: ContenderName,
  connections: number,
  server: ServerCommands,
  clients: readonly ClientCommands[],
): Promise<Omit<IdleFigures, "name" | "round" | "error">> {
  const { port } = await server.serve({ contender, tls: undefined });
  const open = (total: number): Promise<unknown> =>
    Promise.all(
      clients.map((client, index) => {
        const share = Math.floor((total + index) / clients.length);
        return client.connect({ contender, tls: undefined, port, connections: share });
      }),
    );
  const warm = Math.min(warmConnections, Math.floor(connections / 2));
  await open(warm);
  await sleep(settleMs);
  const before = await memoryOf(server, clients);
  await open(connections - warm);
  await sleep(settleMs);
  const after = await memoryOf(server, clients);
  const kib = (side: 0 | 1): number => (after[side] - before[side]) / 1_024 / (connections - warm);
  const p99Ms = await callBeside(clients[0]);
  return { clientRssKibPerConnection: kib(0), serverRssKibPerConnection: kib(1), p99Ms };
}

/** Resident bytes of the clients together, and of the server. */
async function memoryOf(
  server: ServerCommands,
  clients: readonly ClientCommands[],
): Promise<readonly [number, number]> {
  const held = await Promise.all(clients.map((client) => client.memory()));
  const { rssBytes } = await server.memory();
  return [held.reduce((sum, each) => sum + each.rssBytes, 0), rssBytes];
}

async function callBeside(client: ClientCommands | undefined): Promise<number> {
  if (client === undefined) throw new Error("there is no client");
  await client.start({ kind: "add", concurrency: 1, perSecond: callsPerSecond });
  await sleep(settleMs);
  await client.begin();
  await sleep(callsMs);
  const { p99Ms, failed, firstFailure } = await client.end();
  await client.stop();
  if (failed > 0) throw new Error(`${failed} calls failed beside the idle connections: ${firstFailure}`);
  return p99Ms;
}
