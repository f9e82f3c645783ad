/**
 * A process that makes calls without end, 32 at a time, against a journal with its thread. Arguments: directory, and which life it is: each
 * asks for what the lives before it left undecided, and then for new ids. It says a character for each answer.
 */
import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { bytesOf, keyOf } from "../../testing/dedup-suite.ts";
import { sqliteStore, startedAlive } from "./dedup-rigs.ts";

const [, , directory = "", life = "0"] = process.argv;
startedAlive();
const store = sqliteStore(join(directory, "journal.db"));
await store.open();

let next = 0;
await Promise.all(
  Array.from({ length: 32 }, async () => {
    for (;;) {
      next += 1;
      // Of the lives before, the latest ids are the ones that may be undecided.
      for (let before = 0; before < Number(life); before += 1) await call(`${before}-${next}`);
      await call(`${life}-${next}`);
    }
  }),
);

async function call(id: string): Promise<void> {
  const claim = await store.claim(keyOf({ id }));
  if (claim.kind === "run") {
    appendFileSync(join(directory, "effects"), `${id}\n`);
    await store.finish(claim.entry, bytesOf(`answer ${id}`));
    appendFileSync(join(directory, "acks"), `${id}\n`);
  }
  process.stdout.write(".");
}
