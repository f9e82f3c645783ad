/** What the demo does to its servers: each in turn is killed while calls run, and started again. */
import { pause } from "./pause.ts";
import type { ServerProcess } from "./server-process.ts";
import type { Tally } from "./tally.ts";

/** All servers serve so long before the next one is killed. */
const CALM_MS = 1_000;
const DOWN_MS = 400;
/** No kill in the last stretch, so that its outcome is seen. */
const LAST_STRETCH_MS = 1_500;

/** Runs until `stop` aborts. Rejects if a server cannot be started again, or ends by itself. */
export async function runOutages(
  servers: readonly ServerProcess[],
  tally: Tally,
  endMs: number,
  stop: AbortSignal,
): Promise<void> {
  for (let turn = 0; ; turn += 1) {
    const server = servers[turn % servers.length] as ServerProcess;
    await pause(CALM_MS, stop);
    checkAlive(servers);
    if (stop.aborted || (turn > 0 && performance.now() > endMs - LAST_STRETCH_MS)) return;
    await server.kill();
    await pause(DOWN_MS, stop);
    if (stop.aborted) return;
    await server.start();
    await untilItServes(server, tally, stop);
  }
}

/** The client finds it again by itself; until then one server less would be there for the next outage. */
async function untilItServes(server: ServerProcess, tally: Tally, stop: AbortSignal): Promise<void> {
  const before = tally.answersOf(server.address);
  while (!stop.aborted && tally.answersOf(server.address) === before) await pause(20, stop);
}

function checkAlive(servers: readonly ServerProcess[]): void {
  const lost = servers.find(({ state }) => state === "lost");
  if (lost !== undefined) throw new Error(`server ${lost.name} ended, and not by the demo: ${lost.lostBy}`);
}
