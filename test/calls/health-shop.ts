/**
 * Replicas in a cluster that say how they are, and who serves the calls of a client that watches that.
 */
import assert from "node:assert/strict";
import type { ServerOptions } from "holdfast";
import type { Cluster } from "holdfast/testing";
import { type Channel, HoldfastChannel } from "../../src/client/channel.ts";
import type { ClientPeer } from "../../src/client/client-peer.ts";
import { forever, pause, probe } from "../simulation/probe-cluster.ts";
import { HealthBoard } from "./health-service.ts";

/** There and back in a cluster, and a little. */
export const ROUND_TRIP_MS = 3;

export interface Shop {
  readonly boards: readonly HealthBoard[];
  /** Which replica served each call. */
  readonly servedBy: number[];
}

/** Replicas with a health service each. */
export function serveShop(cluster: Cluster, replicas: number, options?: Omit<ServerOptions, "world">): Shop {
  const boards = Array.from({ length: replicas }, () => new HealthBoard());
  const servedBy: number[] = [];
  cluster.serve(
    "shop",
    replicas,
    (server, index) => {
      const unary = async ({ body }: { body: Uint8Array }, call: { signal: AbortSignal }) => {
        servedBy.push(index);
        if (body.length > 0) await pause(cluster.simulation.host(`shop/${index}`), 500, call.signal);
        return {};
      };
      probe(server, {
        unary,
        async *download(request, call) {
          yield {};
          await forever(request, call);
        },
      });
      return (boards[index] as HealthBoard).add(server);
    },
    options,
  );
  return { boards, servedBy };
}

export function peersOf(channel: Channel): readonly ClientPeer[] {
  assert.ok(channel instanceof HoldfastChannel);
  return channel.core.peers;
}

/** Peers that serve calls made one after the other. */
export async function servers(
  cluster: Cluster,
  call: () => Promise<unknown>,
  { servedBy }: Shop,
): Promise<readonly number[]> {
  servedBy.length = 0;
  for (let i = 0; i < 30; i++) await cluster.settle(call());
  return [...new Set(servedBy)].sort((a, b) => a - b);
}
