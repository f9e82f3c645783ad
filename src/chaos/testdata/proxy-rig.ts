/** A fault proxy on real loopback sockets between a client and a target, for tests. */
import assert from "node:assert/strict";
import {
  connectRecorded,
  listenRecorded,
  type RecordedListener,
  type RecordedSocket,
} from "../../testing/recorded-sockets.ts";
import type { SocketAddress } from "../../world/network.ts";
import { nodeWorld } from "../../world/node.ts";
import { createFaultProxy, type FaultProxy, type FaultProxyOptions } from "../proxy.ts";

/** So long that a test which waited for it would not end. */
export const FOREVER_MS = 3_600_000;
/** Where everything listens. */
export const HOST = "127.0.0.1";
/** The real one. */
export const { network } = nodeWorld;

/** A target on a real socket, and a proxy before it; both end with the test. */
export interface Rig extends AsyncDisposable {
  readonly proxy: FaultProxy;
  readonly target: RecordedListener;
  readonly address: SocketAddress;
  /** A new connection through the proxy: the client's socket. */
  client(): RecordedSocket;
  /** A new connection through the proxy, and both its ends. */
  pair(): Promise<{ readonly client: RecordedSocket; readonly server: RecordedSocket }>;
}

/** A rig whose proxy has seed 1 and no faults, unless told otherwise. */
export async function rig(options: Partial<FaultProxyOptions> = {}): Promise<Rig> {
  const target = await listenRecorded(network);
  const made: RecordedSocket[] = [];
  const proxy = createFaultProxy({
    listen: { host: HOST, port: 0 },
    target: { host: HOST, port: portOf(target.address) },
    seed: 1,
    ...options,
  });
  const at = await proxy.listen();
  const address: SocketAddress = { kind: "tcp", ...at };
  const client = (): RecordedSocket => {
    const connected = connectRecorded(network, address);
    made.push(connected);
    return connected;
  };
  return {
    proxy,
    target,
    address,
    client,
    async pair() {
      const connected = client();
      await connected.seen.has("opened");
      return { client: connected, server: await target.accepted() };
    },
    async [Symbol.asyncDispose]() {
      await proxy.close();
      for (const { socket } of [...made, ...target.sockets]) socket.destroy();
      await target.listener.close();
    },
  };
}

/** The port of an address that must have one. */
export function portOf(address: SocketAddress): number {
  return address.kind === "tcp" ? address.port : assert.fail();
}

/** Turns of the event loop until it holds. So many turns without it are a failure, not a wait. */
export async function when(condition: () => boolean): Promise<void> {
  for (let turn = 0; !condition(); turn++) {
    if (turn === 1_000_000) assert.fail(`it never held: ${String(condition)}`);
    await new Promise<void>((resolve) => nodeWorld.timers.afterTurn(resolve));
  }
}

/** A text as bytes. */
export function bytes(text: string): Buffer {
  return Buffer.from(text);
}

/** The one connection that a proxy has. */
export function only(proxy: FaultProxy): ReturnType<FaultProxy["connections"]>[number] {
  const [connection, ...others] = proxy.connections();
  assert.equal(others.length, 0);
  return connection ?? assert.fail("there is no connection");
}

/** Whether a client or server hears of a reset, and not of an orderly end. */
export async function heardReset({ seen }: RecordedSocket): Promise<boolean> {
  await seen.has("closed");
  return seen.error?.code === "ECONNRESET";
}
