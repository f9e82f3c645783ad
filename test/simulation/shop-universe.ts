/**
 * A universe with real clients and servers in it, of all call kinds and under every kind of fault. Given a seed it gives back the
 * log's hash and how the calls went. Run as a program, it prints the hash.
 */
import { createCluster } from "holdfast/testing";
import { collect, pause, probe, SafeProbe } from "./probe-cluster.ts";

/** Plays eight virtual seconds. */
export async function playShop(
  seed: number,
): Promise<{ readonly hash: string; readonly outcomes: Readonly<Record<string, number>>; readonly events: number }> {
  await using cluster = createCluster({ seed, link: { lossShare: 0.002, jitterMs: 1 } });
  const outcomes: Record<string, number> = {};
  cluster.serve("shop", 3, (server, index) => {
    const world = cluster.simulation.host(`shop/${index}`);
    return probe(server, {
      unary: async ({ body }, call) => {
        await pause(world, world.random.float() * 20, call.signal);
        return { body };
      },
    });
  });
  cluster.inject(
    { kind: "restart", peer: "shop/1", atMs: 1500 },
    { kind: "freeze", peer: "shop/2", atMs: 3000, forMs: 800 },
    { kind: "partition", between: ["client", "shop/0"], atMs: 4500, forMs: 1000 },
    { kind: "fail", peer: "shop/0", path: "/holdfast.interop.v1.Probe/Unary", code: "ABORTED", share: 0.1 },
    { kind: "delay", path: "/", delayMs: 30, share: 0.1, atMs: 1000, forMs: 2000 },
  );
  const client = cluster.client(SafeProbe, "shop");
  const { random } = cluster.world;
  const worker = async (): Promise<void> => {
    while (cluster.simulation.nowMs < 8000) {
      const body = Buffer.alloc(random.uint32() % 5000);
      const calls: (() => Promise<unknown>)[] = [
        () => client.unary({ body }, { timeoutMs: 1000 }),
        () => collect(client.download({ replyCount: random.uint32() % 20 }, { timeoutMs: 1000 })),
        () => client.upload([{ body }, { body }], { timeoutMs: 1000 }),
        () => collect(client.chat([{ body }, { body }, { body }], { timeoutMs: 1000 })),
      ];
      const outcome = await calls[random.uint32() % calls.length]?.().then(
        () => "OK",
        (error: unknown) => String((error as { readonly code?: unknown }).code),
      );
      outcomes[outcome ?? ""] = (outcomes[outcome ?? ""] ?? 0) + 1;
      await pause(cluster.world, random.float() * 20);
    }
  };
  await cluster.settle(Promise.all(Array.from({ length: 6 }, worker)));
  return { hash: cluster.simulation.logHash(), outcomes, events: cluster.simulation.eventsFired };
}

if (import.meta.main) {
  const { hash } = await playShop(Number(process.argv[2] ?? "1"));
  process.stdout.write(`${hash}\n`);
}
