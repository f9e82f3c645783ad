/**
 * What a server knows of a connection before its first call: where it came in, who is at its other end, and whether what it says of
 * itself is believed. Made once per connection.
 */
import type { AsyncResource } from "node:async_hooks";
import type { Peer } from "../call/peer.ts";
import type { Principal } from "../call/principal.ts";
import { contextHere } from "../call/scope.ts";
import type { Principal as AdmittedPrincipal } from "../policy/protect/principal.ts";
import type { Socket } from "../world/network.ts";

/** Where connections come in. */
export interface DoorFacts {
  /** `host:port`, `unix:/path`, or "in-process". */
  readonly address: string;
  /** Nobody but this machine can reach it. */
  readonly isLocal: boolean;
  readonly isTls: boolean;
  /** It asks clients for certificates. */
  readonly asksCertificates: boolean;
  /** Nobody but this process. */
  readonly isInProcess: boolean;
  /**
   * The async context that handlers of its calls run in, whoever lets them begin: that of whoever opened the door. A connection's own would be that
   * of whoever dialled it, where the two are of one process.
   */
  readonly context: AsyncResource;
}

/** The door of clients in the server's own process, which opens with the server. */
export function inProcessDoor(): DoorFacts {
  return Object.freeze({
    address: "in-process",
    isLocal: true,
    isTls: false,
    asksCertificates: false,
    isInProcess: true,
    context: contextHere("HOLDFAST_DOOR"),
  });
}

export class ConnectionFacts {
  readonly door: DoorFacts;
  readonly peer: Peer;
  /** Who the certificate says it is: the first identity. */
  readonly certified: Principal | undefined;
  /**
   * The trust domain: what comes from this machine, through a door whose network was declared trusted (`plaintext: true`), or with a
   * certificate of our authority. From elsewhere nothing is believed that would be to the caller's advantage.
   */
  readonly isTrusted: boolean;
  /** Calls whose handler has not ended. */
  open: number;
  /** Calls that came, and those that ended well and otherwise. */
  started: number;
  succeeded: number;
  failed: number;
  /** Whom admission counts its calls for. */
  admitted: AdmittedPrincipal | undefined;

  constructor(door: DoorFacts, socket: Socket) {
    const identities = socket.tls?.identities ?? [];
    const [id] = identities;
    this.door = door;
    const address = socket.remoteAddress;
    this.peer = Object.freeze({ id: address, address, zone: undefined, version: undefined, identities });
    this.certified = id === undefined ? undefined : Object.freeze({ id });
    this.isTrusted = door.isLocal || !door.isTls || id !== undefined;
    this.admitted = undefined;
    this.open = 0;
    this.started = 0;
    this.succeeded = 0;
    this.failed = 0;
  }
}
