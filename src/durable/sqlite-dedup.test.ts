import { dedupSuite } from "../testing/dedup-suite.ts";
import { startThread } from "./sqlite-runner.ts";
import { inlineRunner, sqliteRig } from "./testdata/dedup-rigs.ts";

dedupSuite("sqlite() with its thread", sqliteRig(startThread));
dedupSuite("sqlite() without one", sqliteRig(inlineRunner()));
