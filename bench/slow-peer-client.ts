/** The client's process of `slow-peer`. */
import { answerCommands } from "./commands.ts";
import type { SlowClientCommands } from "./slow-peer-commands.ts";
import { connectAll, type SlowPeerClient } from "./slow-peer-contender.ts";
import { type LoadFigures, runSlowPeerLoad } from "./slow-peer-load.ts";

/** Calls before the load, so that the code is compiled and the latencies are known, as in a process that has run for a while. */
const warmUpCalls = 400;

let client: SlowPeerClient | undefined;
let running: Promise<LoadFigures> | undefined;

const commands: SlowClientCommands = {
  async connect({ contender, ports }) {
    client = connectAll(contender, ports);
    await client.ready();
    await runSlowPeerLoad(client, { perSecond: 200, calls: warmUpCalls, lateMs: Infinity });
  },
  start(load) {
    if (client === undefined) throw new Error("connect before start");
    running = runSlowPeerLoad(client, load);
    return Promise.resolve();
  },
  figures() {
    if (running === undefined) throw new Error("start before figures");
    return running;
  },
};
answerCommands({ ...commands });
