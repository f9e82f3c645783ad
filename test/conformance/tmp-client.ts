import { grpcJs } from "../peers/grpc-js.ts";
import { connectNode } from "../peers/connect-node.ts";
import { runCompatClient } from "./compat-client.ts";
await runCompatClient(process.env["P"]==="connect"?connectNode:grpcJs);
