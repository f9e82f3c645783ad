/**
 * Whether NOT_SERVING is believed: a peer's word about itself is a fact, until more than half of those that are connected say it
 * (DESIGN, "Pick"). Then one cause speaks through all of them, such as a database that each of them checks, and calls have better
 * chances than no calls.
 */

/** What one peer adds: nothing while it is not connected. */
export type HealthVote = "absent" | "present" | "denied";

export class HealthPoll {
  /** More than half of the connected peers deny to serve: their word is forgotten. */
  isForgetting: boolean;
  #mayForget: boolean;
  #connected: number;
  #denied: number;

  constructor() {
    this.isForgetting = false;
    this.#mayForget = true;
    this.#connected = 0;
    this.#denied = 0;
  }

  /** A peer's vote has changed. True: what is believed has changed with it, and every peer is to be looked at again. */
  changed(before: HealthVote, after: HealthVote): boolean {
    this.#connected += (after === "absent" ? 0 : 1) - (before === "absent" ? 0 : 1);
    this.#denied += (after === "denied" ? 1 : 0) - (before === "denied" ? 1 : 0);
    return this.#count();
  }

  /** Whether it may be forgotten at all (the switch `panic`). True as above. */
  allow(mayForget: boolean): boolean {
    this.#mayForget = mayForget;
    return this.#count();
  }

  #count(): boolean {
    const isForgetting = this.#mayForget && this.#denied * 2 > this.#connected;
    if (isForgetting === this.isForgetting) return false;
    this.isForgetting = isForgetting;
    return true;
  }
}
