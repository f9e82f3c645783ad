/**
 * What a client did, on the clock of the simulation: each attempt, to whom and when, and when it began to think ill of whom.
 */
import type { Client } from "holdfast";
import type { Event, Fault } from "holdfast/call";
import type { Simulation } from "holdfast/testing";
import type { World } from "../../src/world/world.ts";
import type { SafeProbe } from "../simulation/probe-cluster.ts";

export interface LoggedAttempt {
  readonly address: string;
  readonly startedMs: number;
  readonly fault: Fault | undefined;
}

/** One opinion or fact that the client came to. */
export interface LoggedOpinion {
  readonly name: "suspected" | "condemned" | "ejection" | "stall" | "peer.changed";
  readonly address: string | undefined;
  readonly atMs: number;
  readonly why: string;
}

export class AttemptLog {
  /** Those of calls that have ended. */
  readonly attempts: LoggedAttempt[] = [];
  readonly opinions: LoggedOpinion[] = [];
  readonly #shiftMs: number;

  /** `world`: the client's. */
  constructor(client: Pick<Client<typeof SafeProbe>, "$on">, simulation: Simulation, world: World) {
    this.#shiftMs = world.clock.monotonicMs() - simulation.nowMs;
    client.$on("call.ended", (event) => this.#ended(event));
    client.$on("*", (event) => this.#heard(event));
  }

  /** When the first attempt to a peer began that is not before `fromMs`; Infinity if there was none. */
  firstTo(address: string, fromMs: number): number {
    return Math.min(...this.#startsTo(address, fromMs), Number.POSITIVE_INFINITY);
  }

  /** When the last attempt to a peer began; -Infinity if there was none since `fromMs`. */
  lastTo(address: string, fromMs: number): number {
    return Math.max(...this.#startsTo(address, fromMs), Number.NEGATIVE_INFINITY);
  }

  /** When the client first came to that opinion of a peer, not before `fromMs`; NaN if it did not. */
  when(name: LoggedOpinion["name"], address: string, fromMs = 0): number {
    const found = this.opinions.find((each) => each.name === name && each.address === address && each.atMs >= fromMs);
    return found?.atMs ?? Number.NaN;
  }

  named(name: LoggedOpinion["name"]): readonly LoggedOpinion[] {
    return this.opinions.filter((each) => each.name === name);
  }

  /** What went wrong with attempts. */
  faults(): readonly Fault[] {
    return this.attempts.flatMap(({ fault }) => (fault === undefined ? [] : [fault]));
  }

  #startsTo(address: string, fromMs: number): readonly number[] {
    return this.attempts
      .filter((attempt) => attempt.address === address && attempt.startedMs >= fromMs)
      .map(({ startedMs }) => startedMs);
  }

  #ended({ atMs, record }: Event<"call.ended">): void {
    const beganMs = atMs - this.#shiftMs - record.tookMs;
    for (const { peer, startMs, fault } of record.attempts) {
      if (peer !== undefined) this.attempts.push({ address: peer.address, startedMs: beganMs + startMs, fault });
    }
  }

  #heard(event: Event): void {
    const atMs = event.atMs - this.#shiftMs;
    switch (event.name) {
      case "suspected":
      case "condemned":
        this.opinions.push({ name: event.name, address: event.peer.address, atMs, why: `${event.silentMs} ms` });
        return;
      case "ejection":
        if (event.kind === "ejected")
          this.opinions.push({ name: "ejection", address: event.peer.address, atMs, why: event.why });
        return;
      case "peer.changed":
        this.opinions.push({ name: "peer.changed", address: event.peer.address, atMs, why: event.health });
        return;
      case "stall":
        this.opinions.push({ name: "stall", address: undefined, atMs, why: `${event.stallMs} ms` });
        return;
      default:
    }
  }
}
