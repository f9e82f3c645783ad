/**
 * The suite over pairs of other implementations, so that what it claims is known to be gRPC and not Holdfast's habit:
 * `node --test test/interop/peers.ts`. Not part of `npm test`.
 */
import { connectNode } from "../peers/connect-node.ts";
import { grpcJs } from "../peers/grpc-js.ts";
import { holdfast } from "../peers/holdfast.ts";
import { python } from "../peers/python.ts";
import { goClientSuite, goServerSuite } from "./go-suite.ts";
import { probeSuite } from "./suite.ts";

const peers = { hf: holdfast, js: grpcJs, connect: connectNode, python } as const;
const wanted = process.env["PAIRS"]?.split(",") ?? [
  "js:js",
  "python:js",
  "js:python",
  "connect:js",
  "js:connect",
  "connect:python",
  "python:connect",
  "go:connect",
  "js:go",
  "connect:go",
  "python:go",
];
for (const pair of wanted) {
  const [client, server] = pair.split(":") as [keyof typeof peers | "go", keyof typeof peers | "go"];
  if (client === "go" && server !== "go") goClientSuite(peers[server]);
  else if (client !== "go" && server === "go") goServerSuite(peers[client]);
  else if (client !== "go" && server !== "go") probeSuite(peers[client], peers[server]);
}
