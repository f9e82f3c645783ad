/** The client's process of `overload`. */
import { createClient } from "holdfast";
import { createSwitches } from "holdfast/policy";
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
  const address = `${serverHost}:${port}`;
  if (!isPlain) return createClient(Bench, address, { policy: { timeoutMs } });
  // Also what reached no handler is not sent again: arrivals are what the schedule says.
  const switches = createSwitches({ states: { retry: "off" } });
  return createClient(Bench, address, { policy: { preset: "none", timeoutMs }, switches });
}

let turn = 0;
function call(...[number, priority]: Parameters<MakeCall>): Promise<unknown> {
  turn = (turn + 1) % clients.length;
  const client = clients[turn];
  if (client === undefined) throw new Error("connect first");
  return client.add({ a: number & 0xffff, b: 1 }, { priority });
}
