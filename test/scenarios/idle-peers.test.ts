import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createCluster, type Injection } from "holdfast/testing";
import { Probe, probe } from "../simulation/probe-cluster.ts";

const SIZES = [1, 2, 3, 5, 50] as const;

for (const size of SIZES) for (const seed of [1, 2, 3]) for (const gapMs of [6_000, 30_000])
  for (const victims of size === 1 ? [1] : size === 2 ? [1] : [1, 2]) for (const isMachine of [true, false])
  it(`${size} ${seed} ${gapMs}`, async () => {
    await using cluster = createCluster({ seed });
    cluster.serve("shop", size, (server) => probe(server));
    const client = cluster.client(Probe, "shop");
    await cluster.settle(client.$channel.ready());
    const run: string[] = [];
    let slowest = 0;
    const call = async () => {
      const t = cluster.simulation.nowMs;
      try { await cluster.settle(client.unary({})); slowest = Math.max(slowest, cluster.simulation.nowMs - t); } catch (e) { run.push(String(e)); }
    };
    for (let i = 0; i < 5 * size; i++) await call();
    for (let i = 0; i < 8; i++) { await cluster.advance(gapMs); await call(); }
    slowest = 0;
    for (let v = 0; v < victims; v++) {
      cluster.inject(isMachine ? { kind: "crash", peer: `shop/${v}`, isMachine: true, forMs: size === 1 ? 3000 : undefined } : { kind: "partition", between: ["client", `shop/${v}`], forMs: size === 1 ? 8000: undefined });
    }
    for (let i = 0; i < 20; i++) { await cluster.advance(gapMs); await call(); }
    console.log("{", size, seed, gapMs, victims, isMachine, run.length, slowest.toFixed(1), run[0]);
  });
