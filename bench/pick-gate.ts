/**
 * The gates of `pick`: one that admits everybody, and one that asks of a peer what a channel asks (channel-core.ts, client-connection.ts).
 */
import type { PickGate } from "../src/policy/balance/balancer.ts";
import { Candidate } from "../src/policy/balance/candidate.ts";

/** In flight at one peer at once, and idle for so long that a connection is stale: as in client-peer.ts and channel.ts. */
const IN_FLIGHT_MAX = 1_024;
const REUSE_CHECK_MS = 5_000;

/** What a channel asks of a connection. */
class BenchConnection {
  isReady = true;
  isDraining = false;
  isFailed = false;
  refusedUntilMs = -Infinity;
  streams: number;
  streamsMax = 100;
  /** Far in the future: it is compared, and nobody is stale. */
  receivedAtMs = 1e12;

  constructor(streams: number) {
    this.streams = streams;
  }

  get canStart(): boolean {
    return this.isReady && !this.isDraining && !this.isFailed && this.streams < this.streamsMax;
  }

  mayTake(nowMs: number): boolean {
    if (!this.canStart || nowMs < this.refusedUntilMs) return false;
    return !(this.streams === 0 && nowMs - this.receivedAtMs >= REUSE_CHECK_MS);
  }
}

/** A peer with one connection, on which so many streams are open. */
export class BenchPeer extends Candidate {
  pushbackUntilMs = -Infinity;
  readonly connections: readonly BenchConnection[];

  constructor(weight: number, streams: number) {
    super({ weight });
    this.connections = [new BenchConnection(streams)];
  }

  mayTake(nowMs: number): boolean {
    const { connections } = this;
    if (connections.length === 1) return (connections[0] as BenchConnection).mayTake(nowMs);
    return connections.some((connection) => connection.mayTake(nowMs));
  }
}

/** Admits every peer: what the choice alone costs. */
export class OpenGate implements PickGate<BenchPeer> {
  admits(): boolean {
    return true;
  }
}

/** ChannelCore's, as far as it is asked for each pick. */
export class ChannelGate implements PickGate<BenchPeer> {
  admits(peer: BenchPeer, nowMs: number): boolean {
    return peer.inFlight < IN_FLIGHT_MAX && nowMs >= peer.pushbackUntilMs && peer.mayTake(nowMs);
  }
}
