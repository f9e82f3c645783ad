/** The command line of `npm run bench -- overload`, checked at once. */
import { parseArgs } from "node:util";
import { numberOf, typed, UsageError } from "./options.ts";
import type { HandlerKind } from "./overload-commands.ts";

/** The server with and without admission under calls that are made once; and the first under clients with their whole default policy. */
export const overloadContenders = ["holdfast", "no-admission", "default-policy"] as const;
export type OverloadContender = (typeof overloadContenders)[number];

export interface OverloadOptions {
  readonly isJson: boolean;
  readonly seconds: number;
  readonly steps: number;
  readonly connections: number;
  readonly kinds: readonly HandlerKind[];
  readonly contenders: readonly OverloadContender[];
}

const kinds: readonly HandlerKind[] = ["timer", "cpu"];

export const overloadUsage = `usage: npm run bench -- overload [flags]
  --json            one JSON object on stdout instead of lines
  --seconds N       of ten times the capacity, and of sheddable calls twelvefold, 1..600 (5; a full run: 60)
  --steps N         from 0.7 to 1.4 times the capacity, 1..500 (10; a full run: 50)
  --connections N   that the calls come over, 1..64 (4)
  --handlers a,b    ${kinds.join(", ")} (both)
  --contenders a,b  ${overloadContenders.join(", ")} (holdfast)`;

/** Throws UsageError on anything it does not know. */
export function parseOverloadOptions(args: readonly string[]): OverloadOptions {
  const { values, positionals } = typed(() => parseKnown(args));
  if (positionals.length > 0) throw new UsageError(`overload takes flags only, got ${positionals.join(" ")}`);
  return {
    isJson: values.json ?? false,
    seconds: numberOf("seconds", values.seconds ?? "5", 1, 600, true),
    steps: numberOf("steps", values.steps ?? "10", 1, 500, true),
    connections: numberOf("connections", values.connections ?? "4", 1, 64, true),
    kinds: (values.handlers ?? kinds.join()).split(",").map((name) => wordOf("handler", name, kinds)),
    contenders: (values.contenders ?? "holdfast")
      .split(",")
      .map((name) => wordOf("contender", name, overloadContenders)),
  };
}

function parseKnown(args: readonly string[]) {
  return parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      json: { type: "boolean" },
      seconds: { type: "string" },
      steps: { type: "string" },
      connections: { type: "string" },
      handlers: { type: "string" },
      contenders: { type: "string" },
    },
  });
}

function wordOf<T extends string>(what: string, name: string, words: readonly T[]): T {
  const word = words.find((each) => each === name);
  if (word === undefined) throw new UsageError(`no ${what} "${name}"; there are ${words.join(", ")}`);
  return word;
}
