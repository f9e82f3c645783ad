/**
 * Debug figures of what a server has: itself and its connections, read from what they keep anyway.
 */
import type { Connection } from "../wire/transport/connection.ts";
import type { Clock } from "../world/clock.ts";
import type { DebugIds, DebugServer, DebugSocket } from "./debug-source.ts";
import type { DoorStatus, MethodCounts } from "./server-status.ts";

/** A server's figures: sums over its methods. `doors` are told by objects that stay the same while the door is open. */
export function debugServer(
  ids: DebugIds,
  server: object,
  facts: { readonly name: string; readonly doors: Iterable<DoorStatus>; readonly methods: Iterable<MethodCounts> },
): DebugServer {
  let started = 0;
  let succeeded = 0;
  let ended = 0;
  for (const { started: own, codes } of facts.methods) {
    started += own;
    succeeded += codes.OK ?? 0;
    for (const count of Object.values(codes)) ended += count;
  }
  const doors = Array.from(facts.doors, (door) => ({ id: ids.of(door), address: door.address }));
  const { name } = facts;
  return { id: ids.of(server), name, doors, started, succeeded, failed: ended - succeeded, lastAtMs: undefined };
}

/** A connection's figures. `server` is undefined for a client's connection. */
export function debugSocket(
  ids: DebugIds,
  server: object | undefined,
  connection: Connection,
  clock: Clock,
): DebugSocket {
  const { engine, socket } = connection;
  // Stream ids are odd and go up by two (RFC 9113, 5.1.1): the last one says how many there were.
  const streamsStarted = engine.role === "server" ? (engine.lastPeerId + 1) >> 1 : (engine.nextId - 1) >> 1;
  return {
    id: ids.of(connection),
    serverId: server === undefined ? undefined : ids.of(server),
    localAddress: socket?.localAddress ?? "",
    remoteAddress: socket?.remoteAddress ?? "",
    tls: socket?.tls?.protocol,
    streamsStarted,
    streamsOpen: engine.streams.count,
    receivedAtMs: Math.round(clock.wallMs() - (clock.monotonicMs() - connection.receivedAtMs)),
    sendWindowBytes: engine.sendWindow,
    receiveWindowBytes: engine.receiveCredit,
  };
}
