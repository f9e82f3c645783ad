/** The command line of `npm run bench -- rolling`, checked at once. */
import { parseArgs } from "node:util";
import { numberOf, typed, UsageError } from "./options.ts";

export interface RollingOptions {
  readonly isJson: boolean;
  /** How often all servers are restarted, one after the other. */
  readonly rounds: number;
  readonly perSecond: number;
  readonly servers: number;
  readonly streams: number;
  /** Between one server being ready and the next one being told to end. */
  readonly settleMs: number;
  readonly propagationMs: number;
  /** For each call. */
  readonly timeoutMs: number;
}

export const rollingUsage = `usage: npm run bench -- rolling [flags]
  --json              one JSON object on stdout instead of a line
  --rounds N          how often each server is restarted, 1..100 (10)
  --per-second N      calls started a second, 10..5000 (1000)
  --servers N         2..20 (5)
  --streams N         long streams beside the calls, 0..100 (8)
  --settle-ms N       between one server being ready and the next one's SIGTERM, 0..60000 (1500)
  --propagation-ms N  for how long a server that got SIGTERM still serves new calls, 0..60000 (0)
  --timeout-ms N      for each call, 10..600000 (1000)`;

/** Throws UsageError on anything it does not know. */
export function parseRollingOptions(args: readonly string[]): RollingOptions {
  const { values, positionals } = typed(() => parseKnown(args));
  if (positionals.length > 0) throw new UsageError(`rolling takes flags only, got ${positionals.join(" ")}`);
  return {
    isJson: values.json ?? false,
    rounds: numberOf("rounds", values.rounds ?? "10", 1, 100, true),
    perSecond: numberOf("per-second", values["per-second"] ?? "1000", 10, 5_000, true),
    servers: numberOf("servers", values.servers ?? "5", 2, 20, true),
    streams: numberOf("streams", values.streams ?? "8", 0, 100, true),
    settleMs: numberOf("settle-ms", values["settle-ms"] ?? "1500", 0, 60_000, true),
    propagationMs: numberOf("propagation-ms", values["propagation-ms"] ?? "0", 0, 60_000, true),
    timeoutMs: numberOf("timeout-ms", values["timeout-ms"] ?? "1000", 10, 600_000, true),
  };
}

function parseKnown(args: readonly string[]) {
  return parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      json: { type: "boolean" },
      rounds: { type: "string" },
      "per-second": { type: "string" },
      servers: { type: "string" },
      streams: { type: "string" },
      "settle-ms": { type: "string" },
      "propagation-ms": { type: "string" },
      "timeout-ms": { type: "string" },
    },
  });
}
