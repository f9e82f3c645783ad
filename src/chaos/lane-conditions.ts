/** What the faults that a connection met amount to for one of its directions: several of a kind become one. Pure. */
import type { Random } from "../world/random.ts";
import { type BitFlips, flipsEveryBytes, flipsInChunks } from "./bit-flips.ts";
import type { CheckedFault, ProxyDirection } from "./proxy-fault.ts";

/** How one direction of a connection behaves. */
export interface LaneConditions {
  /** They add up. */
  readonly delays: readonly LaneDelay[];
  /** What the end waits longer than the bytes. */
  readonly endDelayMs: number;
  readonly isStalled: boolean;
  readonly isSilent: boolean;
  readonly bytesPerSecond: number;
  readonly sliceBytes: number;
  readonly sliceDelayMs: number;
  readonly flips: readonly BitFlips[];
  /** Once so many bytes have passed the connection ends, and how. */
  readonly endAfterBytes: number;
  readonly endHow: "reset" | "limit";
}

export interface LaneDelay {
  readonly latencyMs: number;
  readonly jitterMs: number;
  readonly random: Random;
}

/** A direction without faults. */
export const SOUND: LaneConditions = Object.freeze({
  delays: [],
  endDelayMs: 0,
  isStalled: false,
  isSilent: false,
  bytesPerSecond: Infinity,
  sliceBytes: Infinity,
  sliceDelayMs: 0,
  flips: [],
  endAfterBytes: Infinity,
  endHow: "reset",
});

/** A fault that a connection met, and where its chance comes from: a stream of its own for each direction. */
export interface MetFault {
  readonly fault: CheckedFault;
  random(direction: "up" | "down"): Random;
}

/** The sum of faults for one direction. */
export function laneConditions(met: readonly MetFault[], direction: "up" | "down"): LaneConditions {
  let sum = SOUND;
  for (const one of met) {
    if (isMeant(one.fault.direction, direction))
      sum = { ...sum, ...added(sum, one.fault, () => one.random(direction)) };
  }
  return sum;
}

function isMeant(wanted: ProxyDirection, direction: "up" | "down"): boolean {
  return wanted === "both" || wanted === direction;
}

/** What changes by one fault more. */
function added(sum: LaneConditions, fault: CheckedFault, random: () => Random): Partial<LaneConditions> {
  switch (fault.kind) {
    case "latency":
      return { delays: [...sum.delays, { latencyMs: fault.latencyMs, jitterMs: fault.jitterMs, random: random() }] };
    case "bandwidth":
      return { bytesPerSecond: Math.min(sum.bytesPerSecond, fault.bytesPerSecond) };
    case "slice":
      return {
        sliceBytes: Math.min(sum.sliceBytes, fault.sliceBytes),
        sliceDelayMs: Math.max(sum.sliceDelayMs, fault.delayMs),
      };
    case "corrupt": {
      const flips =
        fault.everyBytes === undefined
          ? flipsInChunks(fault.chunkShare ?? 0, random())
          : flipsEveryBytes(fault.everyBytes, random());
      return { flips: [...sum.flips, flips] };
    }
    case "stall":
      return { isStalled: true };
    case "silence":
      return { isSilent: true };
    case "reset":
      return fault.afterBytes < sum.endAfterBytes ? { endAfterBytes: fault.afterBytes, endHow: "reset" } : {};
    case "limit":
      return fault.bytes < sum.endAfterBytes ? { endAfterBytes: fault.bytes, endHow: "limit" } : {};
    case "slow-close":
      return { endDelayMs: sum.endDelayMs + fault.delayMs };
    case "half-open":
    case "refuse":
      // These are the connection's.
      return {};
  }
}
