import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { lookup } from "node:dns";
import type { SocketAddress } from "../world/network.ts";
import { createNodeNetwork } from "../world/node-network.ts";
import { type NetworkUnderTest, networkSuite } from "./network-suite.ts";
import { createSimulation } from "./simulation.ts";

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
    serverName,
    unknownName: "gone.test",
    settle: (promise) => simulation.settle(promise),
    quiet: () => simulation.advance(5000),
    close: () => Promise.resolve(),
  });
}

networkSuite(
  "the simulation between hosts",
  () => simulated("server", { kind: "tcp", host: "0.0.0.0", port: 0 }, { kind: "tcp", host: "server", port: 9 }),
  { isNamed: true },
);
networkSuite(
  "the simulation within a host",
  () => simulated("client", { kind: "tcp", host: "127.0.0.1", port: 0 }, { kind: "tcp", host: "localhost", port: 9 }),
  { isNamed: true },
);
networkSuite(
  "the simulation on a Unix path",
  () => simulated("client", { kind: "unix", path: "/run/echo.sock" }, { kind: "unix", path: "/run/nobody.sock" }),
  { isNamed: false },
);

/** So many turns of the real loop let loopback traffic come to rest. */
async function turns(): Promise<void> {
  for (let count = 0; count < 200; count++) await new Promise((resolve) => setImmediate(resolve));
}

/** Node's network, which does not go out to a name server for a name that nobody has. */
const node = createNodeNetwork({
  lookup: (host, options, answer) => {
    if (host !== "gone.test") {
      lookup(host, options, answer);
      return;
    }
    const error = Object.assign(new Error(`getaddrinfo ENOTFOUND ${host}`), {
      code: "ENOTFOUND",
      syscall: "getaddrinfo",
    });
    setImmediate(() => answer(error, []));
  },
});

function real(listenAddress: SocketAddress, emptyAddress: SocketAddress, close: () => void): Promise<NetworkUnderTest> {
  return Promise.resolve({
    client: node,
    server: node,
    listenAddress,
    connectAddress: (at) => at,
    emptyAddress,
    serverName: "localhost",
    unknownName: "gone.test",
    settle: (promise) => promise,
    quiet: turns,
    close: async () => {
      await turns();
      close();
    },
  });
}

networkSuite(
  "Node on TCP",
  () => real({ kind: "tcp", host: "127.0.0.1", port: 0 }, { kind: "tcp", host: "127.0.0.1", port: 9 }, () => undefined),
  { isNamed: true },
);
networkSuite(
  "Node on a Unix path",
  () => {
    const folder = mkdtempSync(join(tmpdir(), "holdfast-"));
    return real({ kind: "unix", path: join(folder, "a.sock") }, { kind: "unix", path: join(folder, "b.sock") }, () =>
      rmSync(folder, { recursive: true, force: true }),
    );
  },
  { isNamed: false },
);
