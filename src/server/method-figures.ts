/**
 * Hot path: what a server counts of one method. Numbers in typed arrays; reading them is the rare thing.
 */
import { type CodeOrOk, codeNumber, codeOf } from "../call/code.ts";
import type { MethodInfo } from "../call/method.ts";
import { LatencySketch } from "../policy/recover/latency-sketch.ts";

const CODES = 17;

export class MethodFigures {
  readonly info: MethodInfo;
  readonly #ended: Float64Array;
  /** Calls that came. */
  started: number;
  #sketch: LatencySketch | undefined;

  constructor(info: MethodInfo) {
    this.info = info;
    this.#ended = new Float64Array(CODES);
    this.started = 0;
    this.#sketch = undefined;
  }

  /** A call has its answer. Only what was answered well says how long the method takes. */
  ended(code: CodeOrOk, nowMs: number, tookMs: number): void {
    const number = code === "OK" ? 0 : codeNumber(code);
    this.#ended[number] = (this.#ended[number] as number) + 1;
    if (number !== 0) return;
    this.#sketch ??= new LatencySketch();
    this.#sketch.record(nowMs, tookMs);
  }

  /** A call was refused before anything of it was looked at. */
  refused(code: CodeOrOk): void {
    this.started += 1;
    this.ended(code, 0, 0);
  }

  /** Calls that have ended. */
  get finished(): number {
    return this.#ended.reduce((sum, count) => sum + count, 0);
  }

  /** By code, those that occurred. */
  get codes(): Readonly<Partial<Record<CodeOrOk, number>>> {
    const codes: Partial<Record<CodeOrOk, number>> = {};
    this.#ended.forEach((count, number) => {
      if (count > 0) codes[codeOf(number)] = count;
    });
    return codes;
  }

  /** The quantile of answers of the last half minute, in milliseconds; undefined without any. */
  quantileMs(nowMs: number, share: number): number | undefined {
    const ms = this.#sketch?.quantile(nowMs, share);
    return ms === undefined || Number.isNaN(ms) ? undefined : ms;
  }
}
