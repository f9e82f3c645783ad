/**
 * A universe small enough to run twice and rich enough to differ: clients that dial, echo, are cut off, frozen, crashed
 * and started again, on links that lose and delay. Given a seed it gives back the log's hash. Run as a program, it prints it.
 */
import type { Socket, SocketAddress, SocketEvents } from "../../src/world/network.ts";
import type { World } from "../../src/world/world.ts";
import { createSimulation } from "../../src/testing/simulation.ts";

/** Plays ten virtual seconds. */
export async function playEchoUniverse(
  seed: number,
): Promise<{ readonly hash: string; readonly echoedBytes: number; readonly events: number }> {
  const simulation = createSimulation({ seed, link: { lossShare: 0.01, jitterMs: 2, bytesPerSecond: 5_000_000 } });
  let echoedBytes = 0;
  for (let index = 0; index < 3; index++) simulation.boot(`shop/${index}`, serveEcho);
  for (let index = 0; index < 4; index++) {
    simulation.boot(`client/${index}`, (world) => {
      call(world, (bytes) => {
        echoedBytes += bytes;
      });
    });
  }
  simulation.inject(
    { kind: "restart", peer: "shop/1", atMs: 2000 },
    { kind: "freeze", peer: "shop/2", atMs: 3000, forMs: 1500 },
    { kind: "partition", between: ["client", "shop/0"], atMs: 4000, forMs: 2000 },
    { kind: "corrupt", peer: "client/1", share: 0.1, atMs: 5000, forMs: 1000 },
  );
  await simulation.advance(10_000);
  return { hash: simulation.logHash(), echoedBytes, events: simulation.eventsFired };
}

function serveEcho(world: World): Promise<unknown> {
  const accept = (socket: Socket): SocketEvents => ({
    opened: () => undefined,
    data: (bytes) => socket.write(bytes),
    drained: () => undefined,
    ended: () => socket.end(),
    closed: () => undefined,
  });
  const address: SocketAddress = { kind: "tcp", host: "0.0.0.0", port: 7 };
  return world.network.listen({
    address,
    tls: undefined,
    alpn: [],
    handshakeTimeoutMs: 1000,
    accept,
    failed: () => undefined,
  });
}

/** Keeps a stream to a server drawn by chance, writes now and then, and dials again 100 ms after it closed. */
function call(world: World, echoed: (bytes: number) => void): void {
  let isOpen = true;
  const address: SocketAddress = { kind: "tcp", host: `shop/${world.random.uint32() % 3}`, port: 7 };
  const socket = world.network.connect(
    address,
    { tls: undefined, alpn: [] },
    {
      opened: () => write(),
      data: (bytes) => echoed(bytes.length),
      drained: () => undefined,
      ended: () => socket.end(),
      closed: () => {
        isOpen = false;
        world.timers.schedule(100, () => call(world, echoed));
      },
    },
  );
  const write = (): void => {
    if (!isOpen) return;
    socket.write(Buffer.alloc(1 + (world.random.uint32() % 5000), world.random.uint32()));
    world.timers.schedule(world.random.float() * 20, write);
  };
}

if (import.meta.main) {
  const { hash } = await playEchoUniverse(Number(process.argv[2] ?? "1"));
  process.stdout.write(`${hash}\n`);
}
