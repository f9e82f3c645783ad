/**
 * What another list of peers changes of the one that a channel has. Nothing is touched here: a list with what is no peer throws, and
 * the channel stays as it was.
 */
import { checkTier, checkWeight } from "../policy/balance/candidate.ts";
import type { ClientPeer } from "./client-peer.ts";
import type { PeerTarget } from "./target.ts";

export interface PeerChanges {
  /** The whole list, in the order of the targets. */
  readonly list: readonly ClientPeer[];
  readonly added: readonly ClientPeer[];
  readonly removed: readonly ClientPeer[];
  /** Those that stay and of which something else is said now. */
  readonly revised: readonly (readonly [ClientPeer, PeerTarget])[];
}

/** Of two targets with one id the first counts: a second would be dialled, and nobody would ever end it. */
export function peerChanges(
  peers: readonly ClientPeer[],
  targets: readonly PeerTarget[],
  make: (target: PeerTarget) => ClientPeer,
): PeerChanges {
  const known = new Map(peers.map((peer) => [peer.target.id, peer]));
  const list = new Map<string, ClientPeer>();
  const added: ClientPeer[] = [];
  const revised: (readonly [ClientPeer, PeerTarget])[] = [];
  for (const target of targets) {
    if (list.has(target.id)) continue;
    const before = known.get(target.id);
    if (before === undefined || !isSamePlace(before.target, target)) {
      const peer = make(target);
      added.push(peer);
      list.set(target.id, peer);
      continue;
    }
    checkWeight(target.weight ?? 1);
    checkTier(target.tier ?? 0);
    if (!isSaidAlready(before.target, target)) revised.push([before, target]);
    list.set(target.id, before);
  }
  const removed = peers.filter((peer) => list.get(peer.target.id) !== peer);
  return { list: [...list.values()], added, removed, revised };
}

/** How a peer is dialled follows from these two, and from options that hold for the whole channel. */
function isSamePlace(one: PeerTarget, other: PeerTarget): boolean {
  return one.address === other.address && one.authority === other.authority;
}

function isSaidAlready(one: PeerTarget, other: PeerTarget): boolean {
  return (
    one.weight === other.weight && one.tier === other.tier && one.zone === other.zone && one.version === other.version
  );
}
