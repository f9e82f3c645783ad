/**
 * Where a channel's peers come from: one address, several, a resolver, or a server in this process.
 */
import { describeValue } from "../call/options.ts";
import { isResolver, type PeerInit, type Resolver } from "../fleet/discover/resolver.ts";
import { addressText, isLocal, parseAddress } from "../wire/transport/address.ts";
import type { Dial } from "../wire/transport/client-connection.ts";
import { type InProcess, inProcessDial, isInProcess } from "../wire/transport/in-process.ts";
import { connectRacing } from "../wire/transport/happy-eyeballs.ts";
import { type Discovered, watchResolver } from "./discovery.ts";
import { connectWithTls } from "./tls-dial.ts";
import type { ClientTlsOptions } from "../world/network.ts";
import type { World } from "../world/world.ts";

/** A text, several, a resolver, or a server in this process. */
export type Target = string | readonly string[] | Resolver | InProcess;

/** One peer before it is dialled. */
export interface PeerTarget {
  /** Stable across reconnects; the address unless a resolver says otherwise. */
  readonly id: string;
  readonly address: string;
  readonly zone: string | undefined;
  readonly version: string | undefined;
  readonly weight: number | undefined;
  readonly tier: number | undefined;
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

/** The least wanted tier. */
const TIER_MAX = 127;

/** What a target means. */
export interface ParsedTarget {
  /** Those that are known at once. */
  readonly peers: readonly PeerTarget[];
  readonly isInProcess: boolean;
  /** Watches for others; gives back what ends that. */
  readonly watch: ((channel: Discovered) => () => void) | undefined;
}

/** Parses a target. TypeError or RangeError for what is none, an empty list, or plaintext off loopback that was not asked for. */
export function peersOf(target: unknown, world: World, security: TargetSecurity): ParsedTarget {
  if (isInProcess(target)) {
    if (security.tls !== undefined) throw new TypeError("a server in this process is reached without TLS");
    const dial: Dial = (events) => target[inProcessDial](events);
    const peers = [plainPeer({ address: "in-process" }, "in-process", "localhost", dial)];
    return { peers, isInProcess: true, watch: undefined };
  }
  if (isResolver(target)) {
    const targetOf = (peer: PeerInit): PeerTarget => peerOf(peer, world, security);
    return {
      peers: [],
      isInProcess: false,
      watch: (channel) => watchResolver(world, target, targetOf, channel),
    };
  }
  const texts: readonly unknown[] = Array.isArray(target) ? target : [target];
  if (texts.length === 0) throw new RangeError("the target must have at least one address, got an empty list");
  const seen = new Set<string>();
  const peers: PeerTarget[] = [];
  for (const text of texts) {
    if (typeof text !== "string") {
      throw new TypeError(
        `a target must be "host:port", "unix:/path", a list of them, a resolver or a server, got ${text === null ? "null" : typeof text}`,
      );
    }
    const peer = peerOf({ address: text }, world, security);
    if (!seen.has(peer.address)) peers.push(peer);
    seen.add(peer.address);
  }
  return { peers, isInProcess: false, watch: undefined };
}

function peerOf(init: PeerInit, world: World, security: TargetSecurity): PeerTarget {
  const text = init.address;
  if (typeof text !== "string") throw new TypeError(`a peer's address must be a text, got ${describeValue(text)}`);
  const scheme = /^([a-z][a-z+.-]*):\/\//i.exec(text);
  if (scheme !== null && scheme[1] !== "unix") {
    throw new RangeError(
      `the target ${JSON.stringify(text)} has the unknown scheme "${scheme[1]}", expected host:port or unix:/path`,
    );
  }
  const address = parseAddress(text, "a target");
  if (address.kind === "tcp" && address.port === 0)
    throw new RangeError(`a target must have a port in 1..65535, got ${JSON.stringify(text)}`);
  checkInit(init, addressText(address));
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
  const authority = security.serverName ?? (address.kind === "unix" ? "localhost" : addressText(address));
  return plainPeer(init, addressText(address), authority, (events) =>
    tls === undefined
      ? connectRacing(world, address, { tls: undefined, alpn: ["h2"] }, events)
      : connectWithTls(world, address, tls, events),
  );
}

/** What a resolver says may be anything: what cannot be is refused here, where it can be told, and not in a balancer, under a call. */
function checkInit({ id, zone, version, weight = 1, tier = 0 }: PeerInit, address: string): void {
  if (id !== undefined && (typeof id !== "string" || id === "")) {
    throw new TypeError(`the peer at ${address}: id must be a text that is not empty, got ${describeValue(id)}`);
  }
  const who = id === undefined ? `the peer at ${address}` : `the peer ${JSON.stringify(id)} at ${address}`;
  for (const [name, text] of Object.entries({ zone, version })) {
    if (text !== undefined && typeof text !== "string") {
      throw new TypeError(`${who}: ${name} must be a text, got ${describeValue(text)}`);
    }
  }
  if (!(typeof weight === "number" && weight >= 0 && weight < Infinity)) {
    throw new RangeError(`${who}: weight must be a finite number >= 0, got ${describeValue(weight)}`);
  }
  if (!(Number.isInteger(tier) && tier >= 0 && tier <= TIER_MAX)) {
    throw new RangeError(`${who}: tier must be an integer in 0..${TIER_MAX}, got ${describeValue(tier)}`);
  }
}

function plainPeer(init: PeerInit, address: string, authority: string, dial: Dial): PeerTarget {
  const { id = address, zone, version, weight, tier } = init;
  return { id, address, zone, version, weight, tier, authority, dial };
}
