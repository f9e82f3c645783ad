/** Holdfast's client as connectrpc/conformance drives it. */
import { holdfast } from "../peers/holdfast.ts";
import { runCompatClient } from "./compat-client.ts";

await runCompatClient(holdfast);
