/**
 * The demo while it runs: a heading, each second a line of at most 80 columns, and between them what befalls whom. What stands under a
 * server is how many calls it answered in that second, or that it does not run.
 */
import { styleText } from "node:util";
import { SERVER_NAMES } from "./chapters.ts";
import { CALLS_IN_FLIGHT, STREAMS } from "./load.ts";
import type { Tally } from "./tally.ts";

const WIDTHS = { time: 6, rate: 9, failed: 8, saved: 7, ms: 7, server: 8 } as const;

/** How a server stands in its column: under a fault, not running, or well. */
export interface Look {
  readonly isDown: boolean;
  readonly isIll: boolean;
}

export class LiveTable {
  readonly #tally: Tally;
  readonly #lookOf: (server: number) => Look;
  #atMs: number;

  constructor(tally: Tally, lookOf: (server: number) => Look, nowMs: number) {
    this.#tally = tally;
    this.#lookOf = lookOf;
    this.#atMs = nowMs;
  }

  heading(seconds: number, ports: readonly number[]): string {
    const columns =
      "time".padStart(WIDTHS.time) +
      "calls/s".padStart(WIDTHS.rate) +
      "failed".padStart(WIDTHS.failed) +
      "saved".padStart(WIDTHS.saved) +
      "p99 ms".padStart(WIDTHS.ms) +
      SERVER_NAMES.map((name) => name.padStart(WIDTHS.server)).join("");
    return [
      `Five calculator servers: ${SERVER_NAMES.map((name, index) => `${name} on port ${ports[index]}`).join(", ")},`,
      `each behind a proxy. ${CALLS_IN_FLIGHT} calls and ${STREAMS} streams in flight for ${seconds} s, a second for each call.`,
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
    const { failed, recovered } = this.#tally;
    const tookMs = Math.max(1, nowMs - this.#atMs);
    this.#atMs = nowMs;
    const failedText = whole(failed).padStart(WIDTHS.failed);
    return (
      styleText("dim", `${second} s`.padStart(WIDTHS.time)) +
      whole((calls * 1_000) / tookMs).padStart(WIDTHS.rate) +
      (failed === 0 ? failedText : styleText("red", failedText)) +
      whole(recovered).padStart(WIDTHS.saved) +
      ms(p99Ms).padStart(WIDTHS.ms) +
      SERVER_NAMES.map((_name, server) => this.#cell(server, answers[server] ?? 0)).join("")
    );
  }

  #cell(server: number, answers: number): string {
    const { isDown, isIll } = this.#lookOf(server);
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
