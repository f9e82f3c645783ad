/**
 * The age of connections (gRFC A9): one that is old is drained, so that its client dials again and comes out where a balancer or a new
 * list of addresses sends it today. Calls underway go on, for a grace of their own.
 */
import type { ServerConnection } from "../wire/transport/server-connection.ts";
import type { Random } from "../world/random.ts";
import { ServerCall } from "./server-call.ts";

export interface AgeLimits {
  /** Milliseconds; Infinity: connections live for ever. */
  readonly connectionAgeMsMax: number;
  /** How long calls go on after that; Infinity: as long as they last. */
  readonly connectionAgeGraceMs: number;
}

/** Connections that were made in the same moment do not end in the same moment: gRPC's own share. */
const JITTER = 0.1;

/** Watches over the age of a connection that was accepted now. */
export function limitAge(connection: ServerConnection, limits: AgeLimits, random: Random): void {
  if (limits.connectionAgeMsMax === Infinity) return;
  const ageMs = limits.connectionAgeMsMax * (1 + JITTER * (2 * random.float() - 1));
  connection.limitAge(ageMs, limits.connectionAgeGraceMs, () => {
    for (const { owner } of connection.exchanges()) {
      if (owner instanceof ServerCall) owner.cut("the grace of its connection, which was too old, was over");
    }
    connection.finish("the connection was too old");
  });
}
