import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nodeWorld } from "../world/node.ts";
import { type NetworkUnderTest, networkSuite } from "./network-suite.ts";
import { createSimulation } from "./simulation.ts";
import type { SocketAddress } from "../world/network.ts";

function simulated(
  serverName: string,
  listenAddress: SocketAddress,
  emptyAddress: SocketAddress,
): Promise<NetworkUnderTest> {
  const simulation = createSimulation({ seed: 11 });
  return Promise.resolve({
    client: simulation.host("client").network,
    server: simulation.host(serverName).network,
    listenAddress,
    connectAddress: (at) => (at.kind === "tcp" ? { ...at, host: serverName } : at),
    emptyAddress,
    settle: (promise) => simulation.settle(promise),
    quiet: () => simulation.advance(5000),
    close: () => Promise.resolve(),
  });
}

networkSuite("the simulation between hosts", () =>
  simulated("server", { kind: "tcp", host: "0.0.0.0", port: 0 }, { kind: "tcp", host: "server", port: 9 }),
);
networkSuite("the simulation within a host", () =>
  simulated("client", { kind: "tcp", host: "127.0.0.1", port: 0 }, { kind: "tcp", host: "localhost", port: 9 }),
);
networkSuite("the simulation on a Unix path", () =>
  simulated("client", { kind: "unix", path: "/run/echo.sock" }, { kind: "unix", path: "/run/nobody.sock" }),
);

/** So many turns of the real loop let loopback traffic come to rest. */
async function turns(): Promise<void> {
  for (let count = 0; count < 200; count++) await new Promise((resolve) => setImmediate(resolve));
}

function real(listenAddress: SocketAddress, emptyAddress: SocketAddress, close: () => void): Promise<NetworkUnderTest> {
  return Promise.resolve({
    client: nodeWorld.network,
    server: nodeWorld.network,
    listenAddress,
    connectAddress: (at) => at,
    emptyAddress,
    settle: (promise) => promise,
    quiet: turns,
    close: async () => {
      await turns();
      close();
    },
  });
}

networkSuite("Node on TCP", () =>
  real({ kind: "tcp", host: "127.0.0.1", port: 0 }, { kind: "tcp", host: "127.0.0.1", port: 9 }, () => undefined),
);
networkSuite("Node on a Unix path", () => {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-"));
  return real({ kind: "unix", path: join(folder, "a.sock") }, { kind: "unix", path: join(folder, "b.sock") }, () =>
    rmSync(folder, { recursive: true, force: true }),
  );
});
