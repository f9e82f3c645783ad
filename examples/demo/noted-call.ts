/** One call that is to be answered, and what is noted of it. */
import { type CallOptions, RpcError } from "holdfast";
import { failedCall } from "./failed-call.ts";
import type { Tally } from "./tally.ts";

/** Why a call that may be shed was. */
const SHED: ReadonlySet<string> = new Set(["ADMISSION_REFUSED", "THROTTLED", "DOOMED"]);

/** Options, and what is known of the last call that was made with them. */
export interface Observed {
  readonly options: CallOptions;
  readonly last: { attempts: number; address: string };
}

export function observed(timeoutMs: number): Observed {
  const last = { attempts: 0, address: "" };
  const options: CallOptions = {
    timeoutMs,
    onReply: ({ attempts, peer }) => {
      last.attempts = attempts;
      last.address = peer?.address ?? "";
    },
  };
  return { options, last };
}

/** Makes a call, which gives whether the answer is right, and notes what came of it. Its milliseconds; undefined: it failed. */
export async function noted(
  method: string,
  tally: Tally,
  { options, last }: Observed,
  call: (options: CallOptions) => Promise<boolean>,
): Promise<number | undefined> {
  const startedMs = performance.now();
  try {
    if (!(await call(options))) throw new Error("wrong answer");
    tally.succeeded();
    return performance.now() - startedMs;
  } catch (error) {
    tally.missed(failedCall(method, error, { startedMs, nowMs: performance.now(), attempts: last.attempts }));
    return undefined;
  } finally {
    tally.tried(last.attempts);
  }
}

/** Its server was overloaded or would have been, and it did not begin: refused there, or here in its stead. */
export function isShed(error: unknown): error is RpcError {
  return error instanceof RpcError && error.reason !== undefined && SHED.has(error.reason);
}
