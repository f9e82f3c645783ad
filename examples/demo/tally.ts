/** What became of the demo's calls: counts and latencies, of the whole run and of the last second. */
import { Histogram } from "./histogram.ts";

/** One line's worth. */
export interface Interval {
  readonly calls: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Answered unary calls by server, in the order of the addresses. */
  readonly answers: readonly number[];
}

export class Tally {
  /** Calls that have ended, the failed ones included; a stream is one call, however often it was resumed. */
  calls: number;
  /** Calls that ended with an error, and calls with a wrong answer. */
  failed: number;
  /** Calls that ended well because there was another attempt. */
  recovered: number;
  /** Streams asked for again from the next number, which then went on. */
  streamsResumed: number;
  /** Numbers that came through streams, each the one that was due. */
  numbers: number;
  /** How many failed in which way. */
  readonly failures: Map<string, number>;
  /** Of unary calls that ended well. */
  readonly latency: Histogram;
  readonly #recent: Histogram;
  readonly #indexes: ReadonlyMap<string, number>;
  readonly #answers: number[];
  #lineCalls: number;
  #lineAnswers: readonly number[];

  constructor(addresses: readonly string[]) {
    this.calls = 0;
    this.failed = 0;
    this.recovered = 0;
    this.streamsResumed = 0;
    this.numbers = 0;
    this.failures = new Map();
    this.latency = new Histogram();
    this.#recent = new Histogram();
    this.#indexes = new Map(addresses.map((address, index) => [address, index]));
    this.#answers = addresses.map(() => 0);
    this.#lineCalls = 0;
    this.#lineAnswers = [...this.#answers];
  }

  /** A call ended well. */
  succeeded(attempts: number): void {
    this.calls += 1;
    if (attempts > 1) this.recovered += 1;
  }

  /** A unary call of `tookMs` was answered by the server at `address`. */
  answered(address: string, tookMs: number): void {
    this.latency.record(tookMs);
    this.#recent.record(tookMs);
    const index = this.#indexes.get(address);
    if (index !== undefined) this.#answers[index] = (this.#answers[index] ?? 0) + 1;
  }

  /** A call ended badly; `text` is the same for failures of the same kind. */
  missed(text: string): void {
    this.calls += 1;
    this.failed += 1;
    this.failures.set(text, (this.failures.get(text) ?? 0) + 1);
  }

  /** Unary calls that the server at `address` has answered so far. */
  answersOf(address: string): number {
    return this.#answers[this.#indexes.get(address) ?? -1] ?? 0;
  }

  /** What happened since it was last asked. */
  takeInterval(): Interval {
    const recent = this.#recent;
    const answers = this.#answers.map((count, index) => count - (this.#lineAnswers[index] ?? 0));
    const calls = this.calls - this.#lineCalls;
    const interval = { calls, p50Ms: recent.quantileMs(0.5), p99Ms: recent.quantileMs(0.99), answers };
    recent.reset();
    this.#lineCalls = this.calls;
    this.#lineAnswers = [...this.#answers];
    return interval;
  }
}
