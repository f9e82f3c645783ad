/**
 * A client process that may be killed at any time: it makes the calls of a plan, and writes down what came of each. Started again it makes
 * those anew that have no end yet, with the keys that they had.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { createClient, RpcError } from "holdfast";
import { type ClientPlan, type Method, Once } from "./contract.ts";
import { appendLine, linesOf } from "./lines.ts";

const { targets, plan, results, inFlight, triesMax } = JSON.parse(process.argv[2] ?? "{}") as ClientPlan;
/** Servers are away for a moment. */
const UNREACHED_TRIES_MAX = 200;
process.on("disconnect", () => process.exit(0));
const ended = new Set(linesOf(results).map((line) => line.split(" ")[0]));
const left = linesOf(plan)
  .map((line) => line.split(" ") as [key: string, method: Method])
  .filter(([key]) => !ended.has(key));
const client = createClient(Once, [...targets], {
  policy: { attemptTimeoutMs: 2_000, retry: { attemptsMax: 5 } },
  budget: { share: 1 },
});

await Promise.all(
  Array.from({ length: inFlight }, async () => {
    for (let next = left.shift(); next !== undefined; next = left.shift()) await call(...next);
  }),
);
await client.$close({ timeoutMs: 0 });
process.exit(0);

async function call(key: string, method: Method): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    try {
      const { body } = await client[method]({ body: Buffer.from(key) }, { idempotencyKey: key, timeoutMs: 15_000 });
      appendLine(results, `${key} OK yes ${Buffer.from(body).toString()}`);
      return;
    } catch (error) {
      const { code, reason, reached, text } = RpcError.from(error);
      // What never reached a handler may be tried anew: if that is not true, its effect happens twice, and the judge sees it.
      if (reason !== "OUTCOME_UNKNOWN" && tries < (reached === "no" ? UNREACHED_TRIES_MAX : triesMax)) {
        await sleep(100);
        continue;
      }
      const isSaid = reason === "OUTCOME_UNKNOWN" || reason === "POISON_SUSPECT";
      appendLine(results, `${key} ${isSaid ? reason : code} ${reached} ${JSON.stringify(text).replaceAll(" ", "_")}`);
      return;
    }
  }
}
