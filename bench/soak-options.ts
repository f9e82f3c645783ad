/** The command line of `npm run soak`, checked at once. */
import { parseArgs } from "node:util";
import { numberOf, typed, UsageError } from "./options.ts";

export interface SoakOptions {
  readonly isJson: boolean;
  /** From the end of the warm-up to the last sample. */
  readonly minutes: number;
  readonly warmUpSeconds: number;
  /** Deeds begun a second, by all clients. */
  readonly perSecond: number;
  /** The gate of the heap: bytes a call. The others follow from it. */
  readonly bytesPerCallMax: number;
  /** For the soak's own test: each call of the server leaves at least so many bytes behind. */
  readonly plantedBytes: number;
}

export const soakUsage = `usage: npm run soak -- [flags]
  --minutes N             measured, after the warm-up, 0.05..1440 (5)
  --warm-up-seconds N     before the first sample that counts, 1..3600 (90)
  --per-second N          calls started a second, 10..5000 (300)
  --bytes-per-call-max N  the heap may grow by so much, 1..1000000 (40); the other gates are scaled with it
  --json                  one JSON object on stdout instead of a table`;

/** Throws UsageError on anything it does not know. */
export function parseSoakOptions(args: readonly string[]): SoakOptions {
  const { values, positionals } = typed(() => parseKnown(args));
  if (positionals.length > 0) throw new UsageError(`soak takes flags only, got ${positionals.join(" ")}`);
  return {
    isJson: values.json ?? false,
    minutes: numberOf("minutes", values.minutes ?? "5", 0.05, 1_440, false),
    warmUpSeconds: numberOf("warm-up-seconds", values["warm-up-seconds"] ?? "90", 1, 3_600, false),
    perSecond: numberOf("per-second", values["per-second"] ?? "300", 10, 5_000, true),
    bytesPerCallMax: numberOf("bytes-per-call-max", values["bytes-per-call-max"] ?? "40", 1, 1_000_000, false),
    plantedBytes: numberOf("planted-bytes", values["planted-bytes"] ?? "0", 0, 1_000_000, true),
  };
}

function parseKnown(args: readonly string[]) {
  return parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      json: { type: "boolean" },
      minutes: { type: "string" },
      "warm-up-seconds": { type: "string" },
      "per-second": { type: "string" },
      "bytes-per-call-max": { type: "string" },
      "planted-bytes": { type: "string" },
    },
  });
}
