/** Holdfast and @connectrpc/connect-node (in gRPC), both ways. */
import { connectNode } from "../peers/connect-node.ts";
import { holdfast } from "../peers/holdfast.ts";
import { probeSuite } from "./suite.ts";

probeSuite(holdfast, connectNode);
probeSuite(connectNode, holdfast);
