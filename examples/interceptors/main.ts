/**
 * What can be wrapped around calls, on both sides: `node --conditions=holdfast-source examples/interceptors/main.ts`.
 * An interceptor has one shape, `(next) => (call) => reply`, for unary calls and streams alike.
 */
import { createClient, createServer, currentCall, type Interceptor, RpcError } from "holdfast";
import type { AddRequest } from "../gen/calc/v1/calc_pb.ts";
import { Calculator } from "../gen/calc/v1/calc_pb.ts";

/** Server: lets in only who names a shop. It answers before any handler runs. */
const shopsOnly: Interceptor = (next) => async (call) => {
  if (call.metadata.get("x-shop") === undefined) throw new RpcError("UNAUTHENTICATED", "which shop is calling?");
  return next(call);
};

/** Client: names the shop on every call. A call is immutable; `with` makes a changed one. */
const namesShop =
  (shop: string): Interceptor =>
  (next) =>
  (call) =>
    next(call.with({ metadata: call.metadata.with("x-shop", shop) }));

/** Client: a line for each call, when it has ended, be it one reply or many. */
const logs: Interceptor = (next) => async (call) => {
  const reply = await next(call);
  void reply.done.then(({ code }) => console.log(`  client: ${call.method.path} ${code}`));
  return reply;
};

/** Client: every request message passes here. */
const doubles: Interceptor = (next) => (call) =>
  next(call.method.name === "add" ? call.map((message) => doubled(message as AddRequest)) : call);

await using server = createServer({ interceptors: [shopsOnly] }).service(Calculator, {
  add: ({ a, b }) => {
    console.log(`  server: add for shop ${currentCall()?.metadata.get("x-shop") ?? "nobody"}`);
    return { result: a + b };
  },
  async *count({ from, to }) {
    for (let value = from; value <= to; value += 1) yield { value };
  },
});
// A server of this process is a target too: the same stack without a socket.
await using calculator = createClient(Calculator, server, { interceptors: [logs, namesShop("7"), doubles] });

console.log("1 + 2, doubled on its way");
const { result } = await calculator.add({ a: 1, b: 2 });
console.log(`  ${result}`);

console.log("count to 3");
let numbers = 0;
for await (const { value } of calculator.count({ from: 1, to: 3 })) numbers += value > 0 ? 1 : 0;
console.log(`  ${numbers} numbers`);

console.log("without a shop");
await using stranger = createClient(Calculator, server);
try {
  await stranger.add({ a: 1, b: 2 });
} catch (error) {
  if (!(error instanceof RpcError)) throw error;
  console.log(`  ${error.message}`);
}

function doubled(request: AddRequest): AddRequest {
  return { ...request, a: request.a * 2, b: request.b * 2 };
}
