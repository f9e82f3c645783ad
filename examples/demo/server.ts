/**
 * One calculator server of the demo, in a process of its own: forked with its port by server-process.ts, and told to the
 * parent as ready or failed. It never outlives its parent.
 */
import { setTimeout } from "node:timers/promises";
import { createServer } from "holdfast";
import { Calculator } from "../gen/calc/v1/calc_pb.ts";

/** What a server tells the process that forked it, once. */
export type ServerWord = { readonly kind: "ready" } | { readonly kind: "failed"; readonly text: string };

// A terminal sends Ctrl-C and hang-up to the whole group; when a server ends is for the demo alone to say.
process.on("SIGINT", () => {});
process.on("SIGHUP", () => {});
process.on("disconnect", () => process.exit(0));

const server = createServer({ drain: { signals: [] } }).service(Calculator, {
  add: ({ a, b }) => ({ result: a + b }),
  async *count({ from, to, delayMs }, call) {
    for (let value = from; value <= to; value += 1) {
      await setTimeout(delayMs, undefined, { signal: call.signal });
      yield { value };
    }
  },
});

try {
  await server.listen(Number(process.argv[2]));
  tell({ kind: "ready" });
} catch (error) {
  tell({ kind: "failed", text: error instanceof Error ? error.message : String(error) });
}

function tell(word: ServerWord): void {
  if (process.send === undefined || !process.connected) {
    console.error("this server is started by npm run demo");
    process.exit(1);
  }
  // It died while this server began: there is nobody to serve.
  process.send(word, undefined, {}, (error) => {
    if (error !== null) process.exit(1);
  });
}
