/** A process that claims a call, says so, and never ends it. Argument: the file. */
import { keyOf } from "../../testing/dedup-suite.ts";
import { sqliteStore, startedAlive } from "./dedup-rigs.ts";

startedAlive();
const store = sqliteStore(process.argv[2] ?? "");
await store.open();
process.stdout.write((await store.claim(keyOf({}))).kind);
