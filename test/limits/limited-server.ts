/** The process of a server that may have few descriptors: it answers questions about itself by messages. */
import { closeSync, openSync } from "node:fs";
import { createServer, type ServerOptions } from "holdfast";
import { Bench } from "../../bench/gen/bench/v1/bench_pb.ts";
import { answerCommands } from "../../bench/commands.ts";
import { cpuMs } from "../../bench/process-figures.ts";
import { benchHandlers } from "../calls/bench-service.ts";
import type { LimitedCommands } from "./limited-process.ts";

const server = createServer(JSON.parse(process.argv[2] ?? "{}") as ServerOptions).service(Bench, benchHandlers);
const warnings: string[] = [];
process.on("warning", ({ name, message }) => {
  if (name === "HoldfastWarning") warnings.push(message);
});
const files: number[] = [];

const commands: LimitedCommands = {
  listen: async () => (await server.listen(0)).port,
  facts: () => Promise.resolve({ connections: server.status().connections, cpuMs: cpuMs(), warnings }),
  takeFiles() {
    try {
      for (;;) files.push(openSync("/dev/null", "r"));
    } catch (error) {
      return Promise.resolve({ taken: files.length, code: (error as NodeJS.ErrnoException).code ?? "" });
    }
  },
  giveFiles() {
    for (const file of files.splice(0)) closeSync(file);
    return Promise.resolve();
  },
};
answerCommands({ ...commands });
