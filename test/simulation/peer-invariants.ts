/** What must hold for peers, connections and servers, and for what is left of all of them after the end. */
import type { Invariant, LastLook, SeenClient } from "./look.ts";

/**
 * A server without calls drains in one PING round trip, as soon as lost segments allow it; one that waits for a call waits for the whole
 * of its drain time (20 s).
 */
const idleCloseMsMax = 15_000;

export const ejectedAtMostHalf: Invariant = {
  name: "ejected-at-most-half",
  claim: "a client ejects at most half of its peers",
  bearsCorruption: true,
  always: ({ clients }) => {
    for (const { host, peers } of clients) {
      const ejected = peers.filter(({ health }) => health === "ejected").length;
      if (ejected * 2 > peers.length) return `${host} has ejected ${ejected} of ${peers.length} peers`;
    }
    return undefined;
  },
};

export const inFlightAddsUp: Invariant = {
  name: "in-flight-adds-up",
  claim: "a peer's calls in flight are its open attempts",
  bearsCorruption: false,
  always: ({ clients }) => {
    for (const client of clients) {
      for (const { address, inFlight } of client.peers) {
        const { least, most } = openStreams(client, address);
        if (inFlight < least || inFlight > most)
          return `${client.host} reports ${inFlight} calls in flight to ${address}, the wire has ${least}..${most}`;
      }
    }
    return undefined;
  },
};

export const nothingInFlightAtLast: Invariant = {
  name: "nothing-in-flight-at-last",
  claim: "no call is in flight when all calls have ended",
  bearsCorruption: true,
  atLast: ({ clients }) => {
    for (const { host, peers } of clients) {
      const busy = peers.find(({ inFlight }) => inFlight !== 0);
      if (busy !== undefined) return `${host} reports ${busy.inFlight} calls in flight to ${busy.address}`;
    }
    return undefined;
  },
};

export const nothingLeftOpen: Invariant = {
  name: "nothing-left-open",
  claim: "after close no timer, waiting call, stream or window is left of clients and servers",
  bearsCorruption: true,
  atLast: ({ leftovers }) => {
    for (const { host, counts } of leftovers) {
      const left = Object.entries(counts).filter(([, count]) => count !== 0);
      if (left.length > 0) return `${host}: ${left.map(([what, count]) => `${count} ${what}`).join(", ")}`;
    }
    return undefined;
  },
};

export const slotsComeBack: Invariant = {
  name: "slots-come-back",
  claim: "a server's slots are free when their handlers have ended: one without calls closes at once",
  bearsCorruption: true,
  atLast: slotsKept,
};

export const peerInvariants: readonly Invariant[] = [
  ejectedAtMostHalf,
  inFlightAddsUp,
  nothingInFlightAtLast,
  nothingLeftOpen,
  slotsComeBack,
];

function slotsKept({ closedInMs, runningHandlers }: LastLook): string | undefined {
  for (const [host, count] of runningHandlers) if (count !== 0) return `${count} handlers of ${host} never ended`;
  for (const [host, ms] of closedInMs) {
    if (ms > idleCloseMsMax) return `${host} took ${ms.toFixed(0)} ms to close, though no call was open`;
  }
  return undefined;
}

/**
 * What may be counted as in flight: at least the attempts of calls that go on, on connections that take calls; at most every open
 * stream, and what is written but has not left.
 */
function openStreams({ tap }: SeenClient, address: string): { readonly least: number; readonly most: number } {
  let least = 0;
  let most = 0;
  for (const { peer, isClosed, isLeaving, isBlind, streams, queuedBytes } of tap.connections) {
    if (peer !== address || isClosed) continue;
    most += streams.size;
    if (isBlind || queuedBytes() > 0) most = Number.POSITIVE_INFINITY;
    if (isLeaving || isBlind) continue;
    for (const { attempt } of streams.values()) if (attempt !== undefined && attempt.call.outcome === "") least += 1;
  }
  return { least, most };
}
