/**
 * What `$channel.peers()` and `$channel.reliability()` say.
 */
import type { PeerHealth } from "../call/event.ts";
import type { Peer } from "../call/peer.ts";
import { type ReliabilityRow, reliabilityOf } from "../observe/reliability.ts";
import { type ChannelCore, healthOf } from "./channel-core.ts";
import type { ClientPeer } from "./client-peer.ts";
import { ConnectionWatch } from "./connection-watch.ts";

/** One peer as the channel sees it now. */
export interface PeerReport extends Peer {
  readonly health: PeerHealth;
  /** In words; for "failed" what the last attempt to connect met. */
  readonly why: string;
  /** Attempts that it has now. */
  readonly inFlight: number;
  readonly connections: number;
  /** Streams open on them, those included that were left and wait for their reset. */
  readonly streams: number;
  /** What the balancer thinks a call costs here, in milliseconds. */
  readonly costMs: number;
  /** What its middle attempt takes, in milliseconds; NaN while unknown. */
  readonly p50Ms: number;
  /** Time of a PING there and back, in milliseconds; NaN while none was sent. */
  readonly rttMs: number;
}

export function peerReport(peer: ClientPeer, nowMs: number): PeerReport {
  const { health, why } = healthOf(peer, nowMs);
  const watcher = peer.link.connection?.watcher;
  return {
    ...peer.describe(),
    health,
    why,
    inFlight: peer.inFlight,
    connections: peer.link.connections.length,
    streams: peer.link.streamCount,
    costMs: peer.costNowMs(nowMs),
    p50Ms: peer.pace.medianMs,
    rttMs: watcher instanceof ConnectionWatch ? watcher.rttMs : Number.NaN,
  };
}

/** A row for each method that was called, or for each peer. */
export function reliabilityRows(core: ChannelCore, by: "method" | "peer"): readonly ReliabilityRow[] {
  const nowMs = core.nowMs();
  if (by === "method") {
    return core.methodStates
      .filter(({ counters }) => counters.calls + counters.cancelled > 0)
      .map(({ info, counters }) => {
        const facts = { service: info.service, method: info.name, peer: undefined, sinceMs: core.sinceMs, nowMs };
        return reliabilityOf(counters, facts);
      });
  }
  const services = [...new Set(core.methodStates.map(({ info }) => info.service))].join(", ");
  return core.peers.map(({ counters, target, sinceMs }) => {
    return reliabilityOf(counters, { service: services, method: "*", peer: target.id, sinceMs, nowMs });
  });
}
