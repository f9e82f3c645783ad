/**
 * An overload: of a method of which the servers can do only so much, a batch job asks for several times as much with calls that may be shed, while critical
 * calls of the same method go on. The batch job is an open loop, as the world is: it does not wait for answers.
 */
import { type Client, createClient, RpcError } from "holdfast";
import { type Calculator, Roots } from "../gen/calc/v1/calc_pb.ts";
import { ROOTS_PER_SECOND } from "./capacity.ts";
import { OVERLOAD_FACTOR } from "./chapters.ts";
import { failedCall } from "./failed-call.ts";
import { Histogram } from "./histogram.ts";
import { FAILURE_PAUSE_MS, TIMEOUT_MS } from "./load.ts";
import { isShed, noted, observed } from "./noted-call.ts";
import { pause } from "./pause.ts";
import type { Tally } from "./tally.ts";

/** Critical calls in flight: less than a fifth of what the servers can do. */
const CRITICAL_LANES = 10;
/** Before the batch job begins each server has answered so many of them, so that it knows how long a root takes; or so long has passed. */
const KNOWN_CALLS = 40;
const KNOWN_MS_MAX = 5_000;
/** The batch job gets up to its speed in so long, as its workers begin one after the other. */
const RISE_MS = 1_000;
const TICK_MS = 10;
/** What this process could not send while it stood still it sends afterwards, up to so much of it. */
const CATCH_UP_MS = 100;

/** What came of it. */
export interface OverloadFacts {
  /** What the servers can do. */
  readonly capacityPerSecond: number;
  /** Calls that may be shed. */
  readonly offered: number;
  /** Refused before they began, for the servers were over their capacity. */
  readonly shed: number;
  /** Of them, those that the client refused in the servers' stead: they never left. */
  readonly shedByClient: number;
  readonly answered: number;
  /** The time was over before they were answered or shed. */
  readonly unanswered: number;
  /** Share of what the servers can do that was answered while the job was at its speed, critical calls included. */
  readonly goodputShare: number;
  /** Critical calls that began while the batch job ran. */
  readonly criticalCalls: number;
  readonly criticalFailed: number;
  readonly criticalP50Ms: number;
  readonly criticalP99Ms: number;
}

export class Overload {
  readonly #addresses: readonly string[];
  readonly #client: Client<typeof Roots>;
  readonly #tally: Tally;
  readonly #critical: Histogram;
  /** Critical calls answered, by the server's address. */
  readonly #answersOf: Map<string, number>;
  #offered: number;
  #shed: number;
  #shedByClient: number;
  #answered: number;
  #unanswered: number;
  #criticalCalls: number;
  #criticalFailed: number;
  /** Roots found while the job was at its speed, and how long that was. */
  #good: number;
  #lastedMs: number;
  #isOffering: boolean;
  #isAtSpeed: boolean;

  /** The critical calls go over the channel of `client`; the batch job has one of its own, to the same `addresses`. */
  constructor(addresses: readonly string[], client: Client<typeof Calculator>, tally: Tally) {
    this.#addresses = addresses;
    this.#client = client.$channel.client(Roots, { policy: { priority: "critical" } });
    this.#tally = tally;
    this.#critical = new Histogram();
    this.#answersOf = new Map();
    this.#offered = 0;
    this.#shed = 0;
    this.#shedByClient = 0;
    this.#answered = 0;
    this.#unanswered = 0;
    this.#criticalCalls = 0;
    this.#criticalFailed = 0;
    this.#good = 0;
    this.#lastedMs = 0;
    this.#isOffering = false;
    this.#isAtSpeed = false;
  }

  facts(): OverloadFacts {
    const able = (ROOTS_PER_SECOND * this.#lastedMs) / 1_000;
    return {
      capacityPerSecond: ROOTS_PER_SECOND,
      offered: this.#offered,
      shed: this.#shed,
      shedByClient: this.#shedByClient,
      answered: this.#answered,
      unanswered: this.#unanswered,
      goodputShare: able === 0 ? 0 : Math.round((1_000 * this.#good) / able) / 1_000,
      criticalCalls: this.#criticalCalls,
      criticalFailed: this.#criticalFailed,
      criticalP50Ms: rounded(this.#critical.quantileMs(0.5)),
      criticalP99Ms: rounded(this.#critical.quantileMs(0.99)),
    };
  }

  /**
   * Calls `begun` as soon as each server has answered some critical calls, and runs at its speed for so long; or until `stop` aborts. Resolves when its last
   * call has ended.
   */
  async run(forMs: number, begun: () => void, stop: AbortSignal): Promise<void> {
    await using batch = createClient(Roots, this.#addresses, { policy: { priority: "sheddable" } });
    const over = new AbortController();
    const end = AbortSignal.any([stop, over.signal]);
    const lanes = Array.from({ length: CRITICAL_LANES }, (_, lane) => this.#keepAsking(lane, end));
    await this.#known(stop);
    this.#isOffering = true;
    begun();
    const answers = await this.#offer(batch, forMs, stop);
    over.abort();
    await Promise.all([...lanes, ...answers]);
  }

  async #known(stop: AbortSignal): Promise<void> {
    const giveUpMs = performance.now() + KNOWN_MS_MAX;
    const isKnown = (address: string): boolean => (this.#answersOf.get(address) ?? 0) >= KNOWN_CALLS;
    while (!stop.aborted && performance.now() < giveUpMs && !this.#addresses.every(isKnown)) await pause(TICK_MS, stop);
  }

  /** The batch job; its calls go on. */
  async #offer(batch: Client<typeof Roots>, forMs: number, stop: AbortSignal): Promise<readonly Promise<void>[]> {
    const perMs = (OVERLOAD_FACTOR * ROOTS_PER_SECOND) / 1_000;
    const calls: Promise<void>[] = [];
    const beganMs = performance.now();
    for (let seenMs = beganMs; !stop.aborted && this.#lastedMs < forMs; ) {
      await pause(TICK_MS, stop);
      const nowMs = performance.now();
      const share = Math.min(1, (nowMs - beganMs) / RISE_MS);
      const due = Math.round(Math.min(nowMs - seenMs, CATCH_UP_MS) * perMs * share);
      for (let i = 0; i < due; i += 1) calls.push(this.#ask(batch));
      seenMs = nowMs;
      this.#isAtSpeed = share === 1;
      this.#lastedMs = Math.max(0, nowMs - beganMs - RISE_MS);
    }
    this.#isOffering = false;
    this.#isAtSpeed = false;
    return calls;
  }

  async #ask(batch: Client<typeof Roots>): Promise<void> {
    const root = this.#offered;
    this.#offered += 1;
    const startedMs = performance.now();
    try {
      const reply = await batch.squareRoot({ value: root * root }, { timeoutMs: TIMEOUT_MS });
      if (reply.root !== root) throw new Error("wrong answer");
      this.#answered += 1;
      if (this.#isAtSpeed) this.#good += 1;
    } catch (error) {
      if (isShed(error)) {
        this.#shed += 1;
        if (error.faults.every(({ peer }) => peer === undefined)) this.#shedByClient += 1;
      } else if (error instanceof RpcError) this.#unanswered += 1;
      else this.#tally.missed(failedCall("SquareRoot", error, { startedMs, nowMs: performance.now() }));
    }
  }

  async #keepAsking(lane: number, end: AbortSignal): Promise<void> {
    const notes = observed(TIMEOUT_MS);
    for (let round = 0; !end.aborted; round += 1) {
      const root = round * CRITICAL_LANES + lane;
      const isCounted = this.#isOffering;
      const tookMs = await noted("SquareRoot", this.#tally, notes, async (options) => {
        const reply = await this.#client.squareRoot({ value: root * root }, options);
        return reply.root === root;
      });
      if (isCounted) this.#noteCritical(tookMs);
      const { address } = notes.last;
      if (tookMs === undefined) await pause(FAILURE_PAUSE_MS, end);
      else this.#answersOf.set(address, (this.#answersOf.get(address) ?? 0) + 1);
    }
  }

  #noteCritical(tookMs: number | undefined): void {
    this.#criticalCalls += 1;
    if (tookMs === undefined) this.#criticalFailed += 1;
    else {
      this.#critical.record(tookMs);
      if (this.#isAtSpeed) this.#good += 1;
    }
  }
}

/** A tenth of a millisecond is enough. */
function rounded(ms: number): number {
  return Math.round(ms * 10) / 10;
}
