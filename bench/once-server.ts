/** The server process of `once`: a handler that answers at once, whose answers are kept or not. */
import { createServer } from "holdfast";
import { memory, sqlite } from "holdfast/durable";
import { answerCommands } from "./commands.ts";
import { Kept, type OnceServerCommands, Plain } from "./once-commands.ts";
import { cpuMs } from "./process-figures.ts";

const handlers = {
  unary: ({ body }: { readonly body: Uint8Array }) => ({ body }),
  download: () => [],
  upload: () => ({}),
  chat: () => [],
  seen: () => ({}),
  missing: () => ({}),
};

const commands: OnceServerCommands = {
  async serve({ keeping, file }) {
    // What admission refuses on a busy machine would be no figure of the journal's.
    const admission = false;
    const server =
      keeping === "nothing"
        ? createServer({ admission }).service(Plain, handlers)
        : keeping === "memory"
          ? createServer({ admission, dedup: memory({ entriesMax: 5_000_000, bytesMax: 4e9 }) }).service(Kept, handlers)
          : createServer({ admission, dedup: sqlite(file, { sync: "full" }) }).service(Kept, handlers);
    return (await server.listen(0)).port;
  },
  cpuMs: () => Promise.resolve(cpuMs()),
};
answerCommands({ ...commands });
