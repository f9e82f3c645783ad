/** The command line of `npm run bench -- metastable`, checked at once. */
import { parseArgs } from "node:util";
import { numberOf, typed, UsageError } from "./options.ts";

/** What happens to the service; the same five as in test/scenarios/metastable.ts. */
export const metastableTriggers = ["slow", "spike", "partition", "restart", "half"] as const;
export type MetastableTrigger = (typeof metastableTriggers)[number];

export interface MetastableOptions {
  readonly isJson: boolean;
  readonly triggers: readonly MetastableTrigger[];
  readonly perSecond: number;
  readonly clients: number;
  readonly troubleSeconds: number;
  readonly afterSeconds: number;
}

export const metastableUsage = `usage: npm run bench -- metastable [flags]
  --json               one JSON object on stdout instead of lines
  --triggers a,b       ${metastableTriggers.join(", ")} (all)
  --per-second N       calls that arrive, 10..900 (650: 0.7 of what ten workers can do on Node's timers)
  --clients N          each with a channel of its own, 1..100 (10)
  --trouble-seconds N  2..600 (10)
  --after-seconds N    looked at afterwards, 3..600 (10)`;

/** Throws UsageError on anything it does not know. */
export function parseMetastableOptions(args: readonly string[]): MetastableOptions {
  const { values, positionals } = typed(() => parseKnown(args));
  if (positionals.length > 0) throw new UsageError(`metastable takes flags only, got ${positionals.join(" ")}`);
  return {
    isJson: values.json ?? false,
    triggers: (values.triggers ?? metastableTriggers.join()).split(",").map(triggerOf),
    perSecond: numberOf("per-second", values["per-second"] ?? "650", 10, 900, true),
    clients: numberOf("clients", values.clients ?? "10", 1, 100, true),
    troubleSeconds: numberOf("trouble-seconds", values["trouble-seconds"] ?? "10", 2, 600, true),
    afterSeconds: numberOf("after-seconds", values["after-seconds"] ?? "10", 3, 600, true),
  };
}

function parseKnown(args: readonly string[]) {
  return parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      json: { type: "boolean" },
      triggers: { type: "string" },
      "per-second": { type: "string" },
      clients: { type: "string" },
      "trouble-seconds": { type: "string" },
      "after-seconds": { type: "string" },
    },
  });
}

function triggerOf(name: string): MetastableTrigger {
  const trigger = metastableTriggers.find((each) => each === name);
  if (trigger === undefined) throw new UsageError(`no trigger "${name}"; there are ${metastableTriggers.join(", ")}`);
  return trigger;
}
