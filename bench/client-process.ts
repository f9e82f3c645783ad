/** The client's process of a measurement: one contender's clients, the load on them, and what they saw. */
import { answerCommands, type ClientCommands } from "./commands.ts";
import { contenders, type BenchClient } from "./contender.ts";
import { startLoad, type Load } from "./load.ts";
import { rssBytesAfterCollection } from "./process-figures.ts";

/** Connections opened at once when many are asked for. */
const openingMax = 20;

const clients: BenchClient[] = [];
let load: Load | undefined;

const commands: ClientCommands = {
  async connect({ contender, tls, port, connections }) {
    const { connect } = await contenders[contender].load();
    for (let opened = 0; opened < connections; opened += openingMax) {
      const batch = Math.min(openingMax, connections - opened);
      const opening = Array.from({ length: batch }, async () => {
        const client = await connect({ port, tls });
        await client.add({ a: 1, b: 2 });
        return client;
      });
      clients.push(...(await Promise.all(opening)));
    }
  },
  start(spec) {
    load = startLoad(clients, spec);
    return Promise.resolve();
  },
  begin: () => Promise.resolve(running().begin()),
  end: () => Promise.resolve(running().end()),
  stop: () => running().stop(),
  memory: async () => ({ rssBytes: await rssBytesAfterCollection() }),
};
answerCommands({ ...commands });

function running(): Load {
  if (load === undefined) throw new Error("no load was started");
  return load;
}
