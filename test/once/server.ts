/**
 * A server process that may be killed at any time. Its effects: a line in a file, on the disk before the answer is given; or a row in the
 * journal's own file, in the transaction that keeps the answer.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { createServer, type Handlers } from "holdfast";
import { memory, sqlite } from "holdfast/durable";
import { onceHandlers } from "../calls/kept-calls.ts";
import { Once, type ServerPlan } from "./contract.ts";
import { durableLines } from "./lines.ts";

const { port, journal, effects, life, waitMs } = JSON.parse(process.argv[2] ?? "{}") as ServerPlan;
process.on("disconnect", () => process.exit(0));
const effect = durableLines(effects);
let runs = 0;

/** The key, and which run of which process has answered: a second run would answer something else. */
function answerOf(body: Uint8Array): Buffer {
  runs += 1;
  return Buffer.from(`${Buffer.from(body).toString()}/${life}.${runs}`);
}
const wait = (): Promise<void> => sleep(Math.random() * waitMs);

const unary: Handlers<typeof Once>["unary"] = async ({ body }) => {
  await wait();
  const answer = answerOf(body);
  effect(answer.toString());
  await wait();
  return { body: answer };
};

if (journal === undefined) {
  const server = createServer({ dedup: memory() });
  server.service(Once, { ...onceHandlers, unary, missing: unary });
  process.send?.((await server.listen(port)).port);
} else {
  const server = createServer({ dedup: sqlite(journal) });
  server.service(
    Once,
    {
      ...onceHandlers,
      unary,
      async missing({ body }, call) {
        await wait();
        return call.transact((tx) => {
          const answer = answerOf(body);
          tx.exec("CREATE TABLE IF NOT EXISTS orders (answer TEXT) STRICT");
          tx.prepare("INSERT INTO orders VALUES (?)").run(answer.toString());
          return { body: answer };
        });
      },
    },
    // Its only effect is its transaction: left running, it was not.
    { onUnknown: { missing: "rerun" } },
  );
  process.send?.((await server.listen(port)).port);
}
