/**
 * Where a channel's peers come from: one address, several, or a server in this process.
 */
import { addressText, isLocal, parseAddress } from "../wire/transport/address.ts";
import type { Dial } from "../wire/transport/client-connection.ts";
import { type InProcess, inProcessDial, isInProcess } from "../wire/transport/in-process.ts";
import { connectWithTls } from "./tls-dial.ts";
import type { ClientTlsOptions } from "../world/network.ts";
import type { World } from "../world/world.ts";

/** A text, several, or a server in this process. */
export type Target = string | readonly string[] | InProcess;

/** One peer before it is dialled. */
export interface PeerTarget {
  readonly address: string;
  readonly authority: string;
  readonly dial: Dial;
}

export interface TargetSecurity {
  /** Undefined: plaintext. */
  readonly tls: (() => Promise<ClientTlsOptions>) | undefined;
  readonly isPlaintextAllowed: boolean;
  readonly sendsTokens: boolean;
  /** The name to call instead of the address's, if given. */
  readonly serverName: string | undefined;
}

/** Parses a target. TypeError or RangeError for what is none, an empty list, or plaintext off loopback that was not asked for. */
export function peersOf(target: unknown, world: World, security: TargetSecurity): readonly PeerTarget[] {
  if (isInProcess(target)) {
    if (security.tls !== undefined) throw new TypeError("a server in this process is reached without TLS");
    return [{ address: "in-process", authority: "localhost", dial: (events) => target[inProcessDial](events) }];
  }
  const texts: readonly unknown[] = Array.isArray(target) ? target : [target];
  if (texts.length === 0) throw new RangeError("the target must have at least one address, got an empty list");
  const seen = new Set<string>();
  const peers: PeerTarget[] = [];
  for (const text of texts) {
    if (typeof text !== "string") {
      throw new TypeError(
        `a target must be "host:port", "unix:/path", a list of them or a server, got ${text === null ? "null" : typeof text}`,
      );
    }
    const peer = peerOf(text, world, security);
    if (!seen.has(peer.address)) peers.push(peer);
    seen.add(peer.address);
  }
  return peers;
}

function peerOf(text: string, world: World, security: TargetSecurity): PeerTarget {
  const scheme = /^([a-z][a-z+.-]*):\/\//i.exec(text);
  if (scheme !== null && scheme[1] !== "unix") {
    throw new RangeError(
      `the target ${JSON.stringify(text)} has the unknown scheme "${scheme[1]}", expected host:port or unix:/path`,
    );
  }
  const address = parseAddress(text, "a target");
  if (address.kind === "tcp" && address.port === 0)
    throw new RangeError(`a target must have a port in 1..65535, got ${JSON.stringify(text)}`);
  const { tls } = security;
  const isOffLoopback = !isLocal(address);
  if (tls === undefined && isOffLoopback && !security.isPlaintextAllowed) {
    throw new TypeError(
      `${addressText(address)} is not loopback: give tls, or plaintext: true if the network is trusted`,
    );
  }
  if (tls === undefined && isOffLoopback && security.sendsTokens) {
    throw new TypeError(`token would send credentials in plaintext to ${addressText(address)}: give tls`);
  }
  return {
    address: addressText(address),
    authority: security.serverName ?? (address.kind === "unix" ? "localhost" : addressText(address)),
    dial: (events) =>
      tls === undefined
        ? world.network.connect(address, { tls: undefined, alpn: ["h2"] }, events)
        : connectWithTls(world, address, tls, events),
  };
}
