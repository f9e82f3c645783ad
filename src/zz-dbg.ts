import { startPair } from "../test/calls/bench-service.ts";
import { gate, turns } from "../test/calls/gate.ts";
import { manualWorld } from "../test/calls/manual-world.ts";
const world = manualWorld();
let began = 0;
const n = Number(process.argv[2]);
const pair = await startPair({ async add({ a }) { began++; if (a >= 1) await new Promise(() => {}); return { result: a }; } },
 { isInProcess: true, server: { world, limits: { streamsPerConnectionMax: 5_000 } }, client: { world } });
const calls = Array.from({ length: n }, (_, i) => pair.client.add({ a: i + 1 }, { timeoutMs: 100 }).catch((e) => e.code));
for (let i = 0; i < 100 && began < n; i++) await turns(1);
world.advance(101);
await Promise.all(calls);
console.log(pair.client.$channel.peers());
console.log(await Promise.race([pair.client.add({}).catch(String), turns(50)]));
console.log(pair.client.$channel.peers());
world.advance(5_200);
console.log(await Promise.race([pair.client.add({}).catch(String), turns(50)]));
console.log(pair.client.$channel.peers());
