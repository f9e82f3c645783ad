/**
 * The way from one host to another: its latency, loss and bandwidth, whether it is cut, and what faults were put on
 * it. Each direction is a link of its own, with its own stream of chance.
 */
import type { Random } from "../world/random.ts";
import type { Host } from "./host.ts";

/** How a link behaves. */
export interface LinkConditions {
  /** One way, milliseconds; 0.001 to 60,000. Default 0.5: two machines of one data centre. Within a host: 0.03. */
  readonly latencyMs: number;
  /** Up to so much more, drawn for each segment; a stream's bytes keep their order. Default 0.1, within a host 0.01. */
  readonly jitterMs: number;
  /** Share of segments that are lost, 0 to 1. TCP sends them again after a timeout, and what is behind them waits. Default 0. */
  readonly lossShare: number;
  /** Bytes per second for each stream, more than 0. Default `Infinity`: bandwidth is not modelled. */
  readonly bytesPerSecond: number;
  /** Longest segment, bytes; 1 to 65,536. Default 16,384. */
  readonly segmentBytesMax: number;
  /** Share of segments that are cut short at a place drawn from the seed, 0 to 1. Default 0.05: parsers see odd chunks. */
  readonly splitShare: number;
}

/** Something done to the segments of a link, beyond its conditions. Gives back what happens to this one. */
export interface SegmentFault {
  /** Shares add up fault by fault: each has its own dice. */
  readonly share: number;
  readonly random: Random;
  readonly effect: "delay" | "drop" | "corrupt" | "reset" | "truncate";
  readonly delayMs: number;
}

export const conditionsBetweenHosts: LinkConditions = {
  latencyMs: 0.5,
  jitterMs: 0.1,
  lossShare: 0,
  bytesPerSecond: Number.POSITIVE_INFINITY,
  segmentBytesMax: 16_384,
  splitShare: 0.05,
};

export const conditionsWithinHost: LinkConditions = { ...conditionsBetweenHosts, latencyMs: 0.03, jitterMs: 0.01 };

export class Link {
  readonly from: Host;
  readonly to: Host;
  readonly random: Random;
  conditions: LinkConditions;
  /** Partitions add up: each needs its own heal. */
  cuts = 0;
  readonly faults: SegmentFault[] = [];

  constructor(from: Host, to: Host, random: Random, conditions: LinkConditions) {
    this.from = from;
    this.to = to;
    this.random = random;
    this.conditions = conditions;
  }

  /** The time a segment needs that leaves now. */
  travelMs(): number {
    const { latencyMs, jitterMs } = this.conditions;
    return jitterMs === 0 ? latencyMs : latencyMs + jitterMs * this.random.float();
  }

  /** Whether a segment that leaves now is lost on the way: the link is cut, or chance has it. */
  loses(): boolean {
    if (this.cuts > 0) return true;
    return this.conditions.lossShare > 0 && this.random.float() < this.conditions.lossShare;
  }
}

/** Throws RangeError for what no link can be. */
export function checkedConditions(conditions: LinkConditions): LinkConditions {
  checkRange("latencyMs", conditions.latencyMs, 0.001, 60_000);
  checkRange("jitterMs", conditions.jitterMs, 0, 60_000);
  checkRange("lossShare", conditions.lossShare, 0, 1);
  checkRange("bytesPerSecond", conditions.bytesPerSecond, 1, Number.POSITIVE_INFINITY);
  checkRange("segmentBytesMax", conditions.segmentBytesMax, 1, 65_536);
  checkRange("splitShare", conditions.splitShare, 0, 1);
  return conditions;
}

/** Throws RangeError unless `value` is a number in `low..high`. */
export function checkRange(name: string, value: number, low: number, high: number): void {
  if (!(value >= low && value <= high)) throw new RangeError(`${name} must be ${low}..${high}, got ${value}`);
}
