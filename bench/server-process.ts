/** The server's process of a measurement: one contender's server, and its figures when asked. */
import { answerCommands, type ServerCommands } from "./commands.ts";
import { contenders, type Tally } from "./contender.ts";
import { cpuMs, rssBytesAfterCollection } from "./process-figures.ts";

const received: Tally = { items: 0 };

const commands: ServerCommands = {
  async serve({ contender, tls }) {
    return { port: await (await contenders[contender].load()).serve({ tls, received }) };
  },
  sample: () => Promise.resolve({ atMs: performance.now(), cpuMs: cpuMs(), receivedItems: received.items }),
  memory: async () => ({ rssBytes: await rssBytesAfterCollection() }),
};
answerCommands({ ...commands });
