/** The smallest client: `node --conditions=holdfast-source examples/hello/client.ts [HOST:PORT]`. */
import { createClient } from "holdfast";
import { Calculator } from "../gen/calc/v1/calc_pb.ts";

await using calculator = createClient(Calculator, process.argv[2] ?? "localhost:50051");

const { result } = await calculator.add({ a: 1, b: 2 });
console.log(`1 + 2 = ${result}`);
for await (const { value } of calculator.count({ from: 1, to: result })) console.log(value);
