/**
 * `npm run --silent bench -- once-chaos [--store sqlite|memory] [--calls N] [--seed N] [--json]`: 10,000 calls of effect once under SIGKILL of
 * servers and clients and cut connections; with memory without those of clients. Exit 0: the promises held, 1: not, 2: usage.
 */
import { parseArgs } from "node:util";
import { type ChaosReport, runOnceChaos } from "./chaos.ts";

const usage = "usage: npm run bench -- once-chaos [--store sqlite|memory] [--calls 1..1000000] [--seed N] [--json]";

process.exitCode = await main();

async function main(): Promise<number> {
  const options = optionsOf();
  if (options === undefined) {
    console.error(usage);
    return 2;
  }
  const reports: ChaosReport[] = [];
  for (const store of options.stores) {
    const report = await runOnceChaos({ store, calls: options.calls, seed: options.seed }, (line) =>
      console.error(line),
    );
    reports.push(report);
    if (!options.isJson) console.log(textOf(report));
  }
  const passed = reports.every((report) => report.passed);
  if (options.isJson) console.log(JSON.stringify({ scenario: "once-chaos", passed, reports }, undefined, 2));
  return passed ? 0 : 1;
}

function optionsOf():
  | {
      readonly stores: readonly ("sqlite" | "memory")[];
      readonly calls: number;
      readonly seed: number;
      readonly isJson: boolean;
    }
  | undefined {
  try {
    const { values } = parseArgs({
      options: {
        store: { type: "string" },
        calls: { type: "string", default: "10000" },
        seed: { type: "string", default: "1" },
        json: { type: "boolean", default: false },
      },
    });
    const { store, json: isJson } = values;
    const [calls, seed] = [Number(values.calls), Number(values.seed)];
    const isCount = Number.isInteger(calls) && calls >= 1 && calls <= 1_000_000 && Number.isInteger(seed);
    if (!isCount || (store !== undefined && store !== "sqlite" && store !== "memory")) return undefined;
    return { stores: store === undefined ? (["sqlite", "memory"] as const) : [store], calls, seed, isJson };
  } catch {
    return undefined;
  }
}

function textOf({
  store,
  calls,
  serverKills,
  clientKills,
  connectionsCut,
  outcomes,
  effects,
  ...rest
}: ChaosReport): string {
  const ends = Object.entries(outcomes).map(([outcome, count]) => `${count} ${outcome}`);
  const { twice, lost, changed, dishonest, seconds, passed } = rest;
  return [
    `${store}: ${calls} calls, ${serverKills} servers and ${clientKills} clients killed, ${connectionsCut} connections cut, in ${seconds} s`,
    `  ended as ${ends.join(", ")}; ${effects} effects`,
    `  done twice ${twice.length}, lost ${lost.length}, changed ${changed.length}, dishonest ${dishonest.length}: ${passed ? "passed" : "FAILED"}`,
  ].join("\n");
}
