/** Holdfast and @grpc/grpc-js, both ways. */
import { grpcJs } from "../peers/grpc-js.ts";
import { holdfast } from "../peers/holdfast.ts";
import { probeSuite } from "./suite.ts";

probeSuite(holdfast, grpcJs);
probeSuite(grpcJs, holdfast);
