/**
 * The four kinds of calls, and three ways to end one early: `node --conditions=holdfast-source examples/streams/main.ts`.
 * Client and server meet over a socket on loopback.
 */
import { setTimeout } from "node:timers/promises";
import { createClient, createServer, pipe, RpcError, within } from "holdfast";
import { Orders } from "./gen/shop/v1/orders_pb.ts";

await using server = createServer().service(Orders, {
  get: async ({ id }, call) => {
    // What a handler waits for takes the call's signal, so that it ends with the call.
    if (id === "slow") await setTimeout(10_000, undefined, { signal: call.signal });
    return { id, sku: "tea", quantity: 2 };
  },
  async *watch(_request, call) {
    try {
      for (let number = 1; !call.signal.aborted; number += 1) yield { number, what: `step ${number}` };
    } finally {
      console.log("  server: nobody watches any more");
    }
  },
  async import(orders) {
    let accepted = 0;
    for await (const { quantity } of orders) if (quantity > 0) accepted += 1;
    return { accepted };
  },
  async *chat(notes) {
    for await (const { text } of notes) yield { text: text.toUpperCase() };
  },
});
const { address } = await server.listen(0);
await using orders = createClient(Orders, address);

console.log("one request, one reply");
console.log(`  ${(await orders.get({ id: "1" })).sku}`);

console.log("one request, many replies; leaving the loop cancels the call");
for await (const { what } of orders.watch({ id: "1" })) {
  console.log(`  ${what}`);
  if (what === "step 3") break;
}

console.log("many requests, one reply; any iterable will do");
const { accepted } = await orders.import([{ quantity: 1 }, { quantity: 0 }, { quantity: 5 }]);
console.log(`  ${accepted} accepted`);

console.log("many of both; write resolves when the stream has taken the note");
const notes = pipe<{ text: string }>();
const replies = orders.chat(notes);
await notes.write({ text: "hello" });
for await (const { text } of replies) {
  console.log(`  ${text}`);
  if (text === "HELLO") await notes.write({ text: "goodbye" });
  else notes.end();
}

console.log("a deadline");
await failing(() => orders.get({ id: "slow" }, { timeoutMs: 50 }));

console.log("a signal");
const controller = new AbortController();
const slow = failing(() => orders.get({ id: "slow" }, { signal: controller.signal }));
controller.abort(new Error("the user has left"));
await slow;

console.log("a deadline for everything inside a scope");
await within({ timeoutMs: 50 }, async () => {
  await orders.get({ id: "1" });
  await failing(() => orders.get({ id: "slow" }));
});

async function failing(call: () => Promise<unknown>): Promise<void> {
  try {
    await call();
    console.log("  it was answered");
  } catch (error) {
    if (!(error instanceof RpcError)) throw error;
    console.log(`  ${error.message}`);
  }
}
