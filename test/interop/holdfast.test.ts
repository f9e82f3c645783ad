/** Holdfast and Holdfast: what the peers are asked for, asked of ourselves. */
import { holdfast } from "../peers/holdfast.ts";
import { probeSuite } from "./suite.ts";

probeSuite(holdfast, holdfast);
