/**
 * Peers that behave as a test says, a client that calls those which are not ejected, and the detector between them, swept as a client would.
 */
import type { Random } from "../../../world/random.ts";
import { seededRandom } from "../../../world/seeded-random.ts";
import { OutlierDetector, type OutlierChange, OUTCOME_OK, PeerRecord } from "../outlier.ts";

/** What a peer makes of one call. */
export interface Answer {
  readonly outcome?: number | undefined;
  readonly latencyMs?: number | undefined;
}

/** Default: success after 2 ms. */
export type Behaviour = (peer: number, method: number, atMs: number, random: Random) => Answer;

export interface FleetFacts {
  readonly peers: number;
  readonly seed?: number | undefined;
  readonly methods?: number | undefined;
  readonly versionOf?: ((peer: number) => string | undefined) | undefined;
  readonly zoneOf?: ((peer: number) => string | undefined) | undefined;
  readonly consecutiveFailures?: number | undefined;
  readonly ejectedShareMax?: number | undefined;
}

export class ScriptedFleet {
  readonly detector: OutlierDetector;
  readonly records: readonly PeerRecord[];
  readonly random: Random;
  readonly changes: (OutlierChange & { readonly atMs: number })[] = [];
  nowMs = 0;
  stallScore = 0;
  hasGroups = false;
  /** Calls that each peer was given. */
  readonly calls: number[];
  private readonly methods: number;

  constructor(facts: FleetFacts) {
    const { peers, seed = 1, methods = 1, consecutiveFailures = 5, ejectedShareMax = 0.5 } = facts;
    this.random = seededRandom(seed);
    this.methods = methods;
    this.detector = new OutlierDetector(
      { consecutiveFailures, successShareMin: 0.8, ejectedShareMax },
      seededRandom(seed + 0.5),
    );
    this.calls = new Array<number>(peers).fill(0);
    this.records = this.calls.map(
      (_zero, peer) =>
        new PeerRecord({ name: `p${peer}`, zone: facts.zoneOf?.(peer), version: facts.versionOf?.(peer) }),
    );
    for (const record of this.records) this.detector.add(record, 0);
  }

  /** Names of who is ejected now. */
  get ejected(): readonly string[] {
    return this.records.filter(({ isEjected }) => isEjected).map(({ name }) => name);
  }

  /** Names of who was ever ejected. */
  get everEjected(): readonly string[] {
    return [...new Set(this.changes.filter(({ kind }) => kind === "ejected").map(({ record }) => record.name))].sort();
  }

  /** Calls evenly over time, each to a random peer that is not ejected, with a random method. */
  run(forMs: number, callsPerSecond: number, behave: Behaviour): void {
    const untilMs = this.nowMs + forMs;
    const gapMs = 1_000 / callsPerSecond;
    let nextSweepMs = this.nowMs + 1_000;
    for (let atMs = this.nowMs + gapMs; atMs <= untilMs; atMs += gapMs) {
      while (Math.min(nextSweepMs, this.detector.nextSweepMs) <= atMs) {
        this.nowMs = Math.max(this.nowMs, Math.min(nextSweepMs, this.detector.nextSweepMs));
        if (this.nowMs >= nextSweepMs) nextSweepMs += 1_000;
        this.sweep();
      }
      this.nowMs = atMs;
      this.call(behave);
    }
    this.nowMs = untilMs;
  }

  /** One call to a given peer; sweeps if the detector asks. True if it did. */
  tell(peer: number, outcome: number, latencyMs = 2, method = 0): boolean {
    const record = this.records[peer];
    if (record === undefined) throw new RangeError(`no peer ${peer}`);
    this.calls[peer] = (this.calls[peer] ?? 0) + 1;
    const asks = this.detector.observe(record, method, outcome, latencyMs, this.nowMs);
    if (asks) this.sweep();
    return asks;
  }

  sweep(): void {
    this.note(this.detector.sweep(this.nowMs, this.stallScore));
    if (this.hasGroups) this.note(this.detector.sweepGroups(this.nowMs, this.stallScore));
  }

  private call(behave: Behaviour): void {
    const open = this.records.flatMap(({ isEjected }, peer) => (isEjected ? [] : [peer]));
    const peer = open[Math.floor(this.random.float() * open.length)] ?? 0;
    const method = Math.floor(this.random.float() * this.methods);
    const { outcome = OUTCOME_OK, latencyMs = 2 } = behave(peer, method, this.nowMs, this.random);
    this.tell(peer, outcome, latencyMs, method);
  }

  private note(changes: readonly OutlierChange[]): void {
    for (const change of changes) this.changes.push({ ...change, atMs: this.nowMs });
  }
}
