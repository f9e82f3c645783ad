/**
 * The demo's calls: so many `Add` in flight at any time, and a few `Count` streams, each resumed from the next number when
 * its server dies, or says that it will end. Every answer is checked.
 */
import { type Client, RpcError } from "holdfast";
import type { Calculator } from "../gen/calc/v1/calc_pb.ts";
import { failedCall } from "./failed-call.ts";
import { observed } from "./noted-call.ts";
import { pause } from "./pause.ts";
import type { Tally } from "./tally.ts";

export const CALLS_IN_FLIGHT = 64;
export const STREAMS = 8;
export const TIMEOUT_MS = 1_000;

/** Calls begin one lane after the other, all of them within half a second: no server has done anything yet. */
const LANE_BEGINS_MS = 8;

/** A stream counts to this, with this pause before each number: one second, longer when it is cut. */
const COUNT_TO = 100;
const COUNT_DELAY_MS = 10;
const STREAM_TIMEOUT_MS = 10_000;
/** A stream cut so often without one number in between has failed. */
const FRUITLESS_CUTS_MAX = 5;
/** After a failure, so that an outage of all servers does not become a spin. */
export const FAILURE_PAUSE_MS = 20;

export interface Load {
  readonly client: Client<typeof Calculator>;
  readonly tally: Tally;
  readonly stop: AbortSignal;
  /** Streams have no checksums yet: what comes from this address now may be damaged, and then the stream is cut and not failed. */
  readonly mayBeGarbled: (address: string) => boolean;
}

/** Runs until `stop` aborts; resolves when the last call has ended. */
export async function runLoad(load: Load): Promise<void> {
  await Promise.all([
    ...Array.from({ length: CALLS_IN_FLIGHT }, (_, lane) => keepAdding(load, lane)),
    ...Array.from({ length: STREAMS }, () => keepCounting(load)),
  ]);
}

async function keepAdding({ client, tally, stop }: Load, lane: number): Promise<void> {
  const { options, last } = observed(TIMEOUT_MS);
  await pause(lane * LANE_BEGINS_MS, stop);
  for (let round = 0; !stop.aborted; round += 1) {
    // Sums that no other lane or round has, so that an answer which went astray would be seen.
    const a = round * CALLS_IN_FLIGHT + lane;
    const b = 0.25;
    const startedMs = performance.now();
    try {
      const { result } = await client.add({ a, b }, options);
      const nowMs = performance.now();
      tally.answered(last.address, nowMs - startedMs, nowMs);
      if (result === a + b) tally.succeeded();
      else throw new Error("wrong sum");
    } catch (error) {
      tally.missed(failedCall("Add", error, { startedMs, nowMs: performance.now(), attempts: last.attempts }));
      await pause(FAILURE_PAUSE_MS, stop);
    }
    tally.tried(last.attempts);
  }
}

async function keepCounting(load: Load): Promise<void> {
  const { tally, stop } = load;
  while (!stop.aborted) {
    const startedMs = performance.now();
    try {
      if (await countOnce(load)) tally.succeeded();
    } catch (error) {
      tally.missed(failedCall("Count", error, { startedMs, nowMs: performance.now() }));
      await pause(FAILURE_PAUSE_MS, stop);
    }
  }
}

/** Counts to the end, through cuts and hand-overs. False if the run ended first. */
async function countOnce(load: Load): Promise<boolean> {
  const { client, tally, stop } = load;
  const { options, last } = observed(STREAM_TIMEOUT_MS);
  let next = 1;
  let cuts = 0;
  let isHandedOver = false;
  while (next <= COUNT_TO) {
    try {
      const stream = client.count({ from: next, to: COUNT_TO, delayMs: COUNT_DELAY_MS }, options);
      for await (const { value } of stream) {
        if (value !== next) throw new Error(`${value} came instead of ${next}`);
        next += 1;
        tally.numbers += 1;
        if (cuts > 0) tally.streamsResumed += 1;
        if (isHandedOver) tally.streamsHandedOver += 1;
        cuts = 0;
        isHandedOver = false;
        if (stop.aborted) return false;
      }
      if (next > COUNT_TO) return true;
      if (!isToken(stream.resumeToken, next) || ++cuts > FRUITLESS_CUTS_MAX) throw new Error("the stream ended early");
      isHandedOver = true;
      tally.extraAttempts += 1;
    } catch (error) {
      cuts += 1;
      const isGarbled = !isCut(error) && load.mayBeGarbled(last.address);
      if (isGarbled) tally.garbled += 1;
      if (!(isCut(error) || isGarbled) || cuts > FRUITLESS_CUTS_MAX) throw error;
      if (stop.aborted) return false;
      tally.extraAttempts += 1;
    } finally {
      tally.tried(last.attempts);
    }
  }
  return true;
}

/** Its server will end, and says from where another one can go on. */
function isToken(token: Uint8Array | undefined, next: number): boolean {
  return token !== undefined && Buffer.from(token).toString() === String(next);
}

/** The stream's server died under it: what came before holds, and another server can go on. */
function isCut(error: unknown): boolean {
  return error instanceof RpcError && error.code === "UNAVAILABLE" && error.isRepeatable;
}
