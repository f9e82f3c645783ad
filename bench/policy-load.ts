/** The load of `policy`, in the process that is measured: calls as fast as they go, with turns of the event loop between. */
import { machineBusyMs } from "./machine-load.ts";
import type { Work } from "./policy-contenders.ts";
import { cpuMs } from "./process-figures.ts";

/** One after the other, a turn of the event loop after each thousand; or 64 at once in each turn. */
export const policyLoads = ["sequential", "64 a turn"] as const;
export type PolicyLoad = (typeof policyLoads)[number];

export interface PolicyFigures {
  readonly calls: number;
  readonly elapsedMs: number;
  readonly cpuMs: number;
  /** CPUs that others on this machine used meanwhile: 1 is one whole CPU; NaN: unknown. */
  readonly otherCpus: number;
}

const callsPerTurn = 1_000;
const atOnce = 64;

/** Runs for so long; throws if a call gives anything but what the work gives. */
export async function runPolicyLoad(call: Work, load: PolicyLoad, seconds: number): Promise<PolicyFigures> {
  const startMs = performance.now();
  const startCpuMs = cpuMs();
  const startBusyMs = machineBusyMs() ?? Number.NaN;
  const endMs = startMs + seconds * 1_000;
  let calls = 0;
  let sum = 0;
  const batch: Promise<number>[] = [];
  do {
    if (load === "sequential") {
      for (let i = 0; i < callsPerTurn; i += 1) sum += await call();
      calls += callsPerTurn;
    } else {
      for (let i = 0; i < atOnce; i += 1) batch[i] = call();
      for (let i = 0; i < atOnce; i += 1) sum += (await batch[i]) ?? Number.NaN;
      calls += atOnce;
    }
    await new Promise<void>((resolve) => void setImmediate(resolve));
  } while (performance.now() < endMs);
  if (sum !== calls) throw new Error(`${calls} calls of work that gives 1 gave ${sum} in all`);
  const elapsedMs = performance.now() - startMs;
  const ownMs = cpuMs() - startCpuMs;
  const busyMs = (machineBusyMs() ?? Number.NaN) - startBusyMs;
  return { calls, elapsedMs, cpuMs: ownMs, otherCpus: Math.max(0, (busyMs - ownMs) / elapsedMs) };
}
