/** Holdfast and grpc-go's own interop client and server. */
import { holdfast } from "../peers/holdfast.ts";
import { goClientSuite, goServerSuite } from "./go-suite.ts";

goServerSuite(holdfast);
goClientSuite(holdfast);
