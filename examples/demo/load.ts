/**
 * The demo's calls: so many `Add` in flight at any time, and a few `Count` streams, each resumed from the next number when
 * its server dies. Every answer is checked.
 */
import { type CallOptions, type Client, RpcError } from "holdfast";
import type { Calculator } from "../gen/calc/v1/calc_pb.ts";
import { pause } from "./pause.ts";
import type { Tally } from "./tally.ts";

export const CALLS_IN_FLIGHT = 64;
export const STREAMS = 8;

const TIMEOUT_MS = 1_000;
/** A stream counts to this, with this pause before each number: one second, longer when it is cut. */
const COUNT_TO = 100;
const COUNT_DELAY_MS = 10;
const STREAM_TIMEOUT_MS = 10_000;
/** A stream cut so often without one number in between has failed. */
const FRUITLESS_CUTS_MAX = 5;
/** After a failure, so that an outage of all servers does not become a spin. */
const FAILURE_PAUSE_MS = 20;

/** Runs until `stop` aborts; resolves when the last call has ended. */
export async function runLoad(client: Client<typeof Calculator>, tally: Tally, stop: AbortSignal): Promise<void> {
  await Promise.all([
    ...Array.from({ length: CALLS_IN_FLIGHT }, (_, lane) => keepAdding(client, tally, stop, lane)),
    ...Array.from({ length: STREAMS }, () => keepCounting(client, tally, stop)),
  ]);
}

async function keepAdding(
  client: Client<typeof Calculator>,
  tally: Tally,
  stop: AbortSignal,
  lane: number,
): Promise<void> {
  let attempts = 0;
  let address = "";
  const options: CallOptions = {
    timeoutMs: TIMEOUT_MS,
    onReply: (info) => {
      attempts = info.attempts;
      address = info.peer?.address ?? "";
    },
  };
  for (let round = 0; !stop.aborted; round += 1) {
    // Sums that no other lane or round has, so that an answer which went astray would be seen.
    const a = round * CALLS_IN_FLIGHT + lane;
    const b = 0.25;
    const startedMs = performance.now();
    try {
      const { result } = await client.add({ a, b }, options);
      tally.answered(address, performance.now() - startedMs);
      if (result === a + b) tally.succeeded(attempts);
      else tally.missed("Add: wrong sum");
    } catch (error) {
      tally.missed(`Add: ${describe(error)}`);
      await pause(FAILURE_PAUSE_MS, stop);
    }
  }
}

async function keepCounting(client: Client<typeof Calculator>, tally: Tally, stop: AbortSignal): Promise<void> {
  while (!stop.aborted) {
    try {
      const attempts = await countOnce(client, tally, stop);
      if (attempts !== undefined) tally.succeeded(attempts);
    } catch (error) {
      tally.missed(`Count: ${describe(error)}`);
      await pause(FAILURE_PAUSE_MS, stop);
    }
  }
}

/** Counts to the end, through cuts. Gives the attempts of the call that ended it; undefined if the run ended first. */
async function countOnce(
  client: Client<typeof Calculator>,
  tally: Tally,
  stop: AbortSignal,
): Promise<number | undefined> {
  let next = 1;
  let cuts = 0;
  let attempts = 0;
  const options: CallOptions = {
    timeoutMs: STREAM_TIMEOUT_MS,
    onReply: (info) => {
      attempts = info.attempts;
    },
  };
  while (next <= COUNT_TO) {
    try {
      for await (const { value } of client.count({ from: next, to: COUNT_TO, delayMs: COUNT_DELAY_MS }, options)) {
        if (value !== next) throw new Error(`${value} came instead of ${next}`);
        next += 1;
        tally.numbers += 1;
        if (cuts > 0) tally.streamsResumed += 1;
        cuts = 0;
        if (stop.aborted) return undefined;
      }
      if (next <= COUNT_TO) throw new Error("the stream ended early");
    } catch (error) {
      cuts += 1;
      if (!isCut(error) || cuts > FRUITLESS_CUTS_MAX) throw error;
      if (stop.aborted) return undefined;
    }
  }
  return attempts;
}

/** The stream's server died under it: what came before holds, and another server can go on. */
function isCut(error: unknown): boolean {
  return error instanceof RpcError && error.code === "UNAVAILABLE" && error.isRepeatable;
}

/** Without addresses and times, so that equal failures count together. */
function describe(error: unknown): string {
  if (!(error instanceof RpcError)) return error instanceof Error ? error.message : String(error);
  return error.reason === undefined ? error.code : `${error.code} (${error.reason})`;
}
