/** The client's process of `overload`. */
import { createClient } from "holdfast";
import { answerCommands } from "./commands.ts";
import { serverHost } from "./contender.ts";
import { Bench } from "./gen/bench/v1/bench_pb.ts";
import type { OverloadClientCommands } from "./overload-commands.ts";
import { type MakeCall, runClosed, runLanes } from "./overload-load.ts";

/** A call that takes longer has failed. */
const timeoutMs = 1_000;

type BenchClient = ReturnType<typeof open>;

let clients: readonly BenchClient[] = [];

const commands: OverloadClientCommands = {
  async connect({ port, connections, isPlain }) {
    for (const client of clients) await client.$close({ timeoutMs: 0 });
    clients = Array.from({ length: connections }, () => open(port, isPlain));
    for (const client of clients) await client.$channel.ready({ timeoutMs: 10_000 });
  },
  run: ({ lanes, goodMs }) => runLanes(call, lanes, goodMs),
  closed: ({ inFlight, ms }) => runClosed(call, inFlight, ms),
};
answerCommands({ ...commands });

function open(port: number, isPlain: boolean) {
  const policy = isPlain ? { preset: "none" as const, timeoutMs } : { timeoutMs };
  return createClient(Bench, `${serverHost}:${port}`, { policy });
}

let turn = 0;
function call(...[number, priority]: Parameters<MakeCall>): Promise<unknown> {
  turn = (turn + 1) % clients.length;
  const client = clients[turn];
  if (client === undefined) throw new Error("connect first");
  return client.add({ a: number & 0xffff, b: 1 }, { priority });
}
