/** What became of the demo's calls: counts and latencies, of the whole run and of the last second. */
import type { FailedCall } from "./failed-call.ts";
import { Histogram } from "./histogram.ts";
import { Timeline } from "./timeline.ts";

/** So many failed calls are kept whole; of the others their number is known. */
const FAILED_CALLS_MAX = 10_000;

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
  /** Attempts beyond the calls; a stream that was asked for again is one. */
  extraAttempts: number;
  /** Streams asked for again from the next number, which then went on. */
  streamsResumed: number;
  /** Those of them that their server had ended by itself, with a token, for it was to end. */
  streamsHandedOver: number;
  /** Numbers that came through streams, each the one that was due. */
  numbers: number;
  /** Numbers of streams that came damaged, and streams that ended so: the program saw it and asked again. */
  garbled: number;
  /** How many failed in which way. */
  readonly failures: Map<string, number>;
  /** The first failed calls. */
  readonly failedCalls: FailedCall[];
  /** Of unary calls that ended well. */
  readonly latency: Histogram;
  /** Answered unary calls: when, by whom. */
  readonly timeline: Timeline;
  readonly #recent: Histogram;
  readonly #indexes: ReadonlyMap<string, number>;
  readonly #answers: number[];
  #lineCalls: number;
  #lineAnswers: readonly number[];

  /** `addresses`: of the servers, as the client knows them. The run begins at `startedMs` and takes about `lastsMs`. */
  constructor(addresses: readonly string[], startedMs: number, lastsMs: number) {
    this.calls = 0;
    this.failed = 0;
    this.extraAttempts = 0;
    this.streamsResumed = 0;
    this.streamsHandedOver = 0;
    this.numbers = 0;
    this.garbled = 0;
    this.failures = new Map();
    this.failedCalls = [];
    this.latency = new Histogram();
    this.timeline = new Timeline(addresses.length, startedMs, lastsMs);
    this.#recent = new Histogram();
    this.#indexes = new Map(addresses.map((address, index) => [address, index]));
    this.#answers = addresses.map(() => 0);
    this.#lineCalls = 0;
    this.#lineAnswers = [...this.#answers];
  }

  /** A call ended well. */
  succeeded(): void {
    this.calls += 1;
  }

  /** A call, or a part of a stream, ended after so many attempts. */
  tried(attempts: number): void {
    if (attempts > 1) this.extraAttempts += attempts - 1;
  }

  /** A unary call that took `tookMs` was answered at `atMs` by the server at `address`. */
  answered(address: string, tookMs: number, atMs: number): void {
    this.latency.record(tookMs);
    this.#recent.record(tookMs);
    const index = this.#indexes.get(address);
    if (index === undefined) return;
    this.#answers[index] = (this.#answers[index] ?? 0) + 1;
    this.timeline.note(index, atMs);
  }

  /** A call ended badly; `failed.kind` is the same for failures of the same kind. */
  missed(failed: FailedCall): void {
    const { kind: text } = failed;
    this.calls += 1;
    this.failed += 1;
    if (this.failedCalls.length < FAILED_CALLS_MAX) this.failedCalls.push(failed);
    this.failures.set(text, (this.failures.get(text) ?? 0) + 1);
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
