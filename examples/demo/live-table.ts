/**
 * The demo while it runs: a heading, and each second a line of at most 80 columns. What stands under a server is how many calls
 * it answered in that second, or what state it is in.
 */
import { styleText } from "node:util";
import { CALLS_IN_FLIGHT, STREAMS } from "./load.ts";
import type { ServerProcess } from "./server-process.ts";
import type { Tally } from "./tally.ts";

const WIDTHS = { time: 6, rate: 10, failed: 8, recovered: 11, ms: 8, server: 9 } as const;

export class LiveTable {
  readonly #servers: readonly ServerProcess[];
  readonly #tally: Tally;
  readonly #kills: number[];
  #atMs: number;

  constructor(servers: readonly ServerProcess[], tally: Tally, nowMs: number) {
    this.#servers = servers;
    this.#tally = tally;
    this.#kills = servers.map(({ kills }) => kills);
    this.#atMs = nowMs;
  }

  heading(seconds: number): string {
    const places = this.#servers.map(({ name, port }) => `${name} on port ${port}`).join(", ");
    const names = this.#servers.map(({ name }) => name.padStart(WIDTHS.server));
    const columns =
      "time".padStart(WIDTHS.time) +
      "calls/s".padStart(WIDTHS.rate) +
      "failed".padStart(WIDTHS.failed) +
      "recovered".padStart(WIDTHS.recovered) +
      "p50 ms".padStart(WIDTHS.ms) +
      "p99 ms".padStart(WIDTHS.ms) +
      names.join("");
    return [
      `Three calculator servers: ${places}.`,
      `${CALLS_IN_FLIGHT} calls and ${STREAMS} streams in flight for ${seconds} s, while one server after the other`,
      "is killed with SIGKILL and started again.",
      "",
      styleText("bold", columns),
    ].join("\n");
  }

  /** What happened since the last line. `second` counts from 1. */
  line(second: number, nowMs: number): string {
    const { calls, p50Ms, p99Ms, answers } = this.#tally.takeInterval();
    const { failed, recovered } = this.#tally;
    const tookMs = Math.max(1, nowMs - this.#atMs);
    this.#atMs = nowMs;
    const failedText = whole(failed).padStart(WIDTHS.failed);
    return (
      styleText("dim", `${second} s`.padStart(WIDTHS.time)) +
      whole((calls * 1_000) / tookMs).padStart(WIDTHS.rate) +
      (failed === 0 ? failedText : styleText("red", failedText)) +
      whole(recovered).padStart(WIDTHS.recovered) +
      ms(p50Ms).padStart(WIDTHS.ms) +
      ms(p99Ms).padStart(WIDTHS.ms) +
      this.#servers.map((server, index) => this.#cell(server, index, answers[index] ?? 0)).join("")
    );
  }

  #cell(server: ServerProcess, index: number, answers: number): string {
    const wasKilled = server.kills > (this.#kills[index] ?? 0);
    this.#kills[index] = server.kills;
    if (wasKilled) return styleText("red", "killed".padStart(WIDTHS.server));
    if (server.state !== "up") return styleText("yellow", "down".padStart(WIDTHS.server));
    if (answers === 0) return styleText("yellow", "back".padStart(WIDTHS.server));
    return whole(answers).padStart(WIDTHS.server);
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
