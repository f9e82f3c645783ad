/**
 * The demo while it runs: a heading, each second a line of at most 80 columns, and between them what befalls whom. What stands under a
 * server is how many calls it answered in that second, or that it does not run.
 */
import { styleText } from "node:util";
import { SERVER_NAMES } from "./chapters.ts";
import { CALLS_IN_FLIGHT, STREAMS, TIMEOUT_MS } from "./load.ts";
import type { Tally } from "./tally.ts";

const WIDTHS = { time: 6, rate: 9, failed: 8, saved: 7, ms: 7, server: 8 } as const;

/** How a server stands in its column: under a fault, not running, or well. */
export interface Look {
  readonly isDown: boolean;
  readonly isIll: boolean;
}

/** What the table asks each second. */
export interface LiveFacts {
  readonly lookOf: (server: number) => Look;
  /** Calls that another attempt has saved so far. */
  readonly saved: () => number;
}

export class LiveTable {
  readonly #tally: Tally;
  readonly #facts: LiveFacts;
  #atMs: number;

  constructor(tally: Tally, facts: LiveFacts, nowMs: number) {
    this.#tally = tally;
    this.#facts = facts;
    this.#atMs = nowMs;
  }

  heading(seconds: number, ports: readonly number[], addresses: readonly string[]): string {
    const columns =
      "time".padStart(WIDTHS.time) +
      "calls/s".padStart(WIDTHS.rate) +
      "failed".padStart(WIDTHS.failed) +
      "saved".padStart(WIDTHS.saved) +
      "p99 ms".padStart(WIDTHS.ms) +
      SERVER_NAMES.map((name) => name.padStart(WIDTHS.server)).join("");
    return [
      `Five calculator servers, A to E, on ports ${ports.join(", ")};`,
      `the client reaches them through proxies on ${addresses.map((address) => address.split(":")[1]).join(", ")}.`,
      `${CALLS_IN_FLIGHT} calls and ${STREAMS} streams in flight for ${seconds} s; a call has ${TIMEOUT_MS / 1_000} s to be answered.`,
      "",
      styleText("bold", columns),
    ].join("\n");
  }

  /** A turn of the plot. */
  turn(text: string): string {
    return styleText("cyan", `${" ".repeat(WIDTHS.time)}  ${text}`);
  }

  /** What happened since the last line. `second` counts from 1. */
  line(second: number, nowMs: number): string {
    const { calls, p99Ms, answers } = this.#tally.takeInterval();
    const { failed } = this.#tally;
    const tookMs = Math.max(1, nowMs - this.#atMs);
    this.#atMs = nowMs;
    const failedText = whole(failed).padStart(WIDTHS.failed);
    return (
      styleText("dim", `${second} s`.padStart(WIDTHS.time)) +
      whole((calls * 1_000) / tookMs).padStart(WIDTHS.rate) +
      (failed === 0 ? failedText : styleText("red", failedText)) +
      whole(this.#facts.saved()).padStart(WIDTHS.saved) +
      ms(p99Ms).padStart(WIDTHS.ms) +
      SERVER_NAMES.map((_name, server) => this.#cell(server, answers[server] ?? 0)).join("")
    );
  }

  #cell(server: number, answers: number): string {
    const { isDown, isIll } = this.#facts.lookOf(server);
    if (isDown) return styleText("red", "down".padStart(WIDTHS.server));
    const text = whole(answers).padStart(WIDTHS.server);
    return isIll ? styleText("red", text) : text;
  }
}

/** 12,345 */
export function whole(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

/** 1.23 */
export function ms(value: number): string {
  return value.toFixed(2);
}
