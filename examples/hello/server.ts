/** The smallest server: `node --conditions=holdfast-source examples/hello/server.ts [PORT]`. Ctrl-C drains and ends it. */
import { createServer } from "holdfast";
import { Calculator } from "../gen/calc/v1/calc_pb.ts";

const server = createServer().service(Calculator, {
  add: ({ a, b }) => ({ result: a + b }),
  async *count({ from, to }) {
    for (let value = from; value <= to; value += 1) yield { value };
  },
});

// 127.0.0.1: a port alone never faces the network.
const { address } = await server.listen(Number(process.argv[2] ?? 50051));
console.log(`the calculator listens on ${address}`);
