/** How the faults of the demo are made and ended, for real: signals, orders to a server, the proxy in front of it. */
import { type FaultChapter, type FaultFacts, SLOW_MS, UNAVAILABLE_SHARE } from "./chapters.ts";
import type { NetworkProcess } from "./network-process.ts";
import type { ServerProcess } from "./server-process.ts";

/** One bit in so many bytes: several a second, and a frame in a few hundred is hit. */
const FLIP_EVERY_BYTES = 20_000;

export interface Stage {
  readonly servers: readonly ServerProcess[];
  readonly network: NetworkProcess;
}

/** Resolves when it has begun. */
export async function beginFault({ kind, server: index }: FaultChapter, { servers, network }: Stage): Promise<void> {
  const server = servers[index] as ServerProcess;
  switch (kind) {
    case "kill":
      await server.kill();
      return;
    case "stop":
      await network.wakeAtTheEnd(server.pid);
      server.stop();
      return;
    case "slow":
      await server.behave({ delayMs: SLOW_MS, failShare: 0 });
      return;
    case "unavailable":
      await server.behave({ delayMs: 0, failShare: UNAVAILABLE_SHARE });
      return;
    case "corrupt":
      await network.set(index, [{ kind: "corrupt", direction: "down", everyBytes: FLIP_EVERY_BYTES }]);
      return;
    case "partition":
      await network.set(index, [{ kind: "silence" }]);
      return;
  }
}

/** Resolves when it is over; with what is to be told of it. Rejects if a server cannot be started again. */
export async function endFault(
  { kind, server: index }: FaultChapter,
  { servers, network }: Stage,
): Promise<FaultFacts> {
  const server = servers[index] as ServerProcess;
  switch (kind) {
    case "kill":
      await server.start();
      return {};
    case "stop":
      server.resume();
      await network.wakeAtTheEnd(undefined);
      return {};
    case "slow":
    case "unavailable":
      await server.behave({ delayMs: 0, failShare: 0 });
      return {};
    case "corrupt": {
      // A connection may have lost its place in what comes, and break only in the next chapter: what is on it would meet two faults.
      const flippedBits = (await network.set(index, [{ kind: "reset" }]))?.flippedBits;
      await network.set(index, []);
      return { flippedBits };
    }
    case "partition":
      await network.set(index, []);
      return {};
  }
}
