/**
 * Names to addresses, done by getaddrinfo (node:dns `lookup`): the hosts file, the search list and the order of RFC 6724 are
 * the system's. Askers of one name at one time share one look-up, for getaddrinfo holds one of the few threads of libuv's pool
 * until it ends, and with a name server that is silent that takes many seconds.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { ADDRCONFIG, type LookupAddress, lookup as systemLookup } from "node:dns";
import { isIP, type LookupFunction } from "node:net";
import type { Network, ResolveResult } from "./network.ts";
import { networkErrorOf } from "./node-network-error.ts";

/** Who waits for a name; `done` is taken away when it was told, or does not want to know any more. */
interface Asker {
  done: ((result: ResolveResult) => void) | undefined;
  /** Runs what it is given in the asker's own async context: the look-up may have been begun by somebody else. */
  readonly inContext: (call: () => void) => void;
}

/** {@link Network.resolve} by `lookup`, the system's unless given. */
export function createNodeResolve(lookup: LookupFunction = systemLookup): Network["resolve"] {
  const lookUps = new Map<string, Asker[]>();
  return (host, done) => {
    const asker: Asker = { done, inContext: AsyncLocalStorage.snapshot() };
    const underWay = lookUps.get(host);
    if (isIP(host) !== 0) {
      tellLater(asker, { addresses: [host] });
    } else if (underWay !== undefined) {
      underWay.push(asker);
    } else {
      const askers = [asker];
      lookUps.set(host, askers);
      begin(lookup, host, (result) => {
        if (lookUps.get(host) === askers) lookUps.delete(host);
        // Emptied, so that a look-up that answers twice tells nobody twice.
        for (const each of askers.splice(0)) tellLater(each, result);
      });
    }
    return () => {
      asker.done = undefined;
    };
  };
}

function begin(lookup: LookupFunction, host: string, answered: (result: ResolveResult) => void): void {
  const failed = (error: unknown): void => answered({ error: networkErrorOf(error, "resolve", host) });
  try {
    lookup(host, { all: true, hints: hintsFor(host) }, (error, found, family) => {
      if (error !== null && error !== undefined) failed(error);
      else answered(resultOf(host, found, family));
    });
  } catch (error) {
    failed(error);
  }
}

/**
 * Families of which this machine has no address are left out, as in node:net, for some name servers never answer what they are asked
 * about them. Loopback does not count as an address there, so the hint would hide `::1`.
 */
function hintsFor(host: string): number {
  return /(?:^|\.)localhost\.?$/i.test(host) ? 0 : ADDRCONFIG;
}

/** `family` stands beside `found` when a look-up of the user's gives one address instead of all. */
function resultOf(host: string, found: string | readonly LookupAddress[], family: number | undefined): ResolveResult {
  const all = typeof found === "string" ? [{ address: found, family: family ?? 0 }] : (found ?? []);
  const addresses = all.map(({ address }) => address).filter((address) => isIP(address) !== 0);
  if (addresses.length > 0) return { addresses };
  const text = `${host}: the name has no address`;
  return { error: { phase: "resolve", code: "ENOTFOUND", text } };
}

/** Each asker in a tick of its own: what one throws is nobody else's concern. */
function tellLater(asker: Asker, result: ResolveResult): void {
  process.nextTick(() => {
    const { done } = asker;
    asker.done = undefined;
    if (done !== undefined) asker.inContext(() => done(result));
  });
}
