import { it } from "node:test";
import { createCluster } from "holdfast/testing";
import { pause, probe, SafeProbe } from "../simulation/probe-cluster.ts";
import { steadyLoad } from "./steady-load.ts";

for (const staggerMs of [5000, 200, 0]) for (const poisons of [1, 10]) for (const rate of [20, 200]) for (const seed of [1, 2, 3])
it(`x`, async () => {
  await using cluster = createCluster({ seed });
  let crashes = 0, down = 0, downMax = 0;
  const times: number[] = [];
  cluster.serve("shop", 5, (server, index) => {
    const world = cluster.simulation.host(`shop/${index}`);
    return probe(server, {
      unary: async ({ body }, call) => {
        if (Buffer.from(body).toString() === "poison") {
          crashes++; times.push(Math.round(cluster.simulation.nowMs));
          cluster.inject({ kind: "restart", peer: `shop/${index}`, forMs: 1000 });
          return await new Promise(() => {});
        }
        await pause(world, 10, call.signal);
        return { body };
      },
    });
  });
  const outcomes: string[] = [], again: string[] = [];
  const bad: Record<string, number> = {}; let ok = 0;
  for (let i = 0; i < 10; i++) {
    const host = `client${i}`;
    const client = cluster.client(SafeProbe, "shop", { host });
    const world = cluster.simulation.host(host);
    steadyLoad(world, rate, () => client.unary({ body: Buffer.from(process.env.UNIQ ? `fine ${i} ${Math.random()}` : "fine") }).then(() => { ok++; }, (e) => { const k = `${e.code} ${e.reason}`; bad[k] = (bad[k] ?? 0) + 1; }), i * 3);
    if (i < poisons) world.timers.schedule(2000 + i * staggerMs, async () => {
      await client.unary({ body: Buffer.from("poison") }).then(() => outcomes.push("OK"), (e) => outcomes.push(`${e.code} ${e.reason}`));
      await client.unary({ body: Buffer.from("poison") }).then(() => again.push("OK"), (e) => again.push(`${e.code} ${e.reason} ${e.reached}`));
    });
  }
  for (let t = 0; t < (2000 + 10 * staggerMs + 5000) / 10; t++) {
    await cluster.advance(10);
    down = 0; for (let i = 0; i < 5; i++) if (!cluster.simulation.isRunning(`shop/${i}`)) down++;
    downMax = Math.max(down, downMax);
  }
  const tally = (a: string[]) => JSON.stringify(Object.fromEntries([...new Set(a)].map((x) => [x, a.filter((y) => y === x).length])));
  console.log("{", staggerMs, poisons, rate, seed, "crashes", crashes, "downMax", downMax, tally(outcomes), tally(again), "innocent ok", ok, JSON.stringify(bad));
});
