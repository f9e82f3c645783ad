/**
 * What names mean in a simulated network, and who is at addresses that are no host's own: names with several addresses, in the
 * resolver's order; names that fail or are never answered; addresses that are silent or refuse.
 *
 * Without a word from here a host's name resolves to its one address, `localhost` to `127.0.0.1`, and other names to nothing.
 */
import { isAddressLiteral } from "../world/address-literal.ts";
import type { Network } from "../world/network.ts";
import type { World } from "../world/world.ts";

/** What is at an address: one of a host's interfaces, nothing that ever answers, or a machine that refuses every port. */
export type AddressHolder = { readonly host: string } | "black-hole" | "refusing";

/** What a name server says of a name. */
export type NameAnswer =
  | { readonly kind: "addresses"; readonly addresses: readonly string[] }
  | { readonly kind: "failure"; readonly code: string }
  | { readonly kind: "silence" };

const byNetwork = new WeakMap<Network, SimulatedNames>();

/** The names of the simulation that this world is of. TypeError for a world that is of none. */
export function simulatedNames(world: World): SimulatedNames {
  const names = byNetwork.get(world.network);
  if (names === undefined) throw new TypeError("the world must be one that a simulation has made");
  return names;
}

export class SimulatedNames {
  private readonly answers = new Map<string, NameAnswer>();
  private readonly holders = new Map<string, AddressHolder>();

  /**
   * `name` has these addresses from now on, literals in the order in which the resolver gives them. A host's own name may be given:
   * then it has these instead. RangeError for none, or for what is no address.
   */
  set(name: string, addresses: readonly string[]): void {
    checkName(name);
    if (addresses.length === 0) throw new RangeError(`${name} must have at least one address, got none`);
    for (const address of addresses) checkAddress(address);
    this.answers.set(name, { kind: "addresses", addresses: [...addresses] });
  }

  /** Looking `name` up fails from now on, with the system's code: `ENOTFOUND`, `EAI_AGAIN` ... */
  fail(name: string, code: string): void {
    checkName(name);
    this.answers.set(name, { kind: "failure", code });
  }

  /** Looking `name` up is never answered from now on. */
  silence(name: string): void {
    checkName(name);
    this.answers.set(name, { kind: "silence" });
  }

  /** `name` means again what it means by itself. */
  forget(name: string): void {
    this.answers.delete(name);
  }

  /**
   * Who is at `address` from now on. A host may have any number of addresses, IPv4 and IPv6; it listens on all of them. A black hole
   * fails with ETIMEDOUT after 127 s, as Linux gives up.
   */
  place(address: string, holder: AddressHolder): void {
    checkAddress(address);
    this.holders.set(address, holder);
  }

  /** For the network: what a name server would say, if it was told here. */
  answerFor(name: string): NameAnswer | undefined {
    return this.answers.get(name);
  }

  /** For the network: who is at an address, if it was told here. */
  holderOf(address: string): AddressHolder | undefined {
    return this.holders.get(address);
  }

  /** For the network: {@link simulatedNames} finds this by any world that has `endpoint`. */
  serve(endpoint: Network): Network {
    byNetwork.set(endpoint, this);
    return endpoint;
  }
}

function checkName(name: string): void {
  if (name === "" || isAddressLiteral(name)) throw new RangeError(`a name must be no address, got "${name}"`);
}

function checkAddress(address: string): void {
  if (!isAddressLiteral(address)) throw new RangeError(`an address must be an IPv4 or IPv6 literal, got "${address}"`);
}
