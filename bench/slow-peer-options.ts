/** The command line of `npm run bench -- slow-peer`, checked at once. */
import { parseArgs } from "node:util";
import { numberOf, typed, UsageError } from "./options.ts";
import { slowPeerContenders, type SlowPeerContender } from "./slow-peer-contender.ts";

export interface SlowPeerOptions {
  readonly isJson: boolean;
  readonly seconds: number;
  readonly perSecond: number;
  readonly contenders: readonly SlowPeerContender[];
}

export const slowPeerUsage = `usage: npm run bench -- slow-peer [flags]
  --json            one JSON object on stdout instead of a table
  --seconds N       of load for each contender, 2..600 (60); one server is slow from a quarter to three quarters of it
  --per-second N    calls started a second, 10..5000 (1000)
  --contenders a,b  ${slowPeerContenders.join(", ")} (holdfast)`;

/** Throws UsageError on anything it does not know. */
export function parseSlowPeerOptions(args: readonly string[]): SlowPeerOptions {
  const { values, positionals } = typed(() => parseKnown(args));
  if (positionals.length > 0) throw new UsageError(`slow-peer takes flags only, got ${positionals.join(" ")}`);
  return {
    isJson: values.json ?? false,
    seconds: numberOf("seconds", values.seconds ?? "60", 2, 600, true),
    perSecond: numberOf("per-second", values["per-second"] ?? "1000", 10, 5_000, true),
    contenders: (values.contenders ?? "holdfast").split(",").map(contenderOf),
  };
}

function parseKnown(args: readonly string[]) {
  return parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      json: { type: "boolean" },
      seconds: { type: "string" },
      "per-second": { type: "string" },
      contenders: { type: "string" },
    },
  });
}

function contenderOf(name: string): SlowPeerContender {
  const contender = slowPeerContenders.find((each) => each === name);
  if (contender === undefined) {
    throw new UsageError(`no contender "${name}"; there are ${slowPeerContenders.join(", ")}`);
  }
  return contender;
}
