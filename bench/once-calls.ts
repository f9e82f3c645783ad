/**
 * What remembering costs a server, end to end: two processes, one connection, 64 calls in flight. Kept and not kept in turns, round by round.
 */
import { join } from "node:path";
import { createClient } from "holdfast";
import { startChild } from "./commands.ts";
import { Kept, type Keeping, type OnceServerCommands, Plain } from "./once-commands.ts";

/** One round of one server. */
export interface OnceRound {
  readonly keeping: Keeping;
  readonly callsPerSecond: number;
  /** Of all threads of the server's process. */
  readonly serverCpuUs: number;
}

const inFlight = 64;
const body = Buffer.alloc(64, 7);

export async function onceCallRounds(directory: string, rounds: number, calls: number): Promise<readonly OnceRound[]> {
  const kinds: readonly Keeping[] = ["nothing", "memory", "sqlite"];
  const servers = kinds.map((keeping) => ({ keeping, child: startChild<OnceServerCommands>("./once-server.ts", 1) }));
  try {
    const targets = await Promise.all(
      servers.map(async ({ keeping, child }) => {
        const port = await child.ask.serve({ keeping, file: join(directory, "calls.db") });
        const contract = keeping === "nothing" ? Plain : (Kept as unknown as typeof Plain);
        return { keeping, child, client: createClient(contract, `127.0.0.1:${port}`) };
      }),
    );
    const figures: OnceRound[] = [];
    for (let round = 0; round <= rounds; round += 1) {
      for (const { keeping, child, client } of targets) {
        const startCpuMs = await child.ask.cpuMs();
        const startMs = performance.now();
        await callAll((options) => client.unary({ body }, options), calls);
        const tookMs = performance.now() - startMs;
        const cpuMs = (await child.ask.cpuMs()) - startCpuMs;
        // The first warms up.
        if (round === 0) continue;
        figures.push({ keeping, callsPerSecond: (calls * 1_000) / tookMs, serverCpuUs: (cpuMs * 1_000) / calls });
      }
    }
    await Promise.all(targets.map(({ client }) => client.$close({ timeoutMs: 0 })));
    return figures;
  } finally {
    for (const { child } of servers) child.stop();
  }
}

/** So many calls, so many in flight; one that fails is an error. */
async function callAll(call: (options: { timeoutMs: number }) => Promise<unknown>, calls: number): Promise<void> {
  let left = calls;
  await Promise.all(
    Array.from({ length: inFlight }, async () => {
      while (left-- > 0) await call({ timeoutMs: 60_000 });
    }),
  );
}
