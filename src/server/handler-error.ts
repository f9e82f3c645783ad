/**
 * What a caller is told of what a handler threw (API section 5): the handler's own RpcError as it is, a nested call's
 * failure without its details, and anything else as UNKNOWN with nothing but the call's id.
 */
import type { Code } from "../call/code.ts";
import { codeNumber } from "../call/code.ts";
import { RpcError } from "../call/error.ts";
import { metadataFrom, metadataPairs } from "../call/metadata.ts";
import { InvalidMessageError } from "../schema/invalid-message.ts";
import { encodeStatusDetails } from "../wire/grpc/status-details.ts";
import type { Status } from "../wire/transport/server-exchange.ts";

import { refusalIn } from "./refusal.ts";

/** Codes of a nested call that keep their meaning one level up. */
const KEPT: ReadonlySet<Code> = new Set<Code>(["DEADLINE_EXCEEDED", "CANCELLED", "UNAVAILABLE", "RESOURCE_EXHAUSTED"]);

export interface FailedCall {
  readonly id: string;
  readonly trailerPairs: readonly (string | Uint8Array)[] | undefined;
}

/** What was thrown, or an Error in its place if it cannot be looked at: a proxy whose traps throw must end its own call alone. */
export function readable(thrown: unknown): unknown {
  try {
    RpcError.from(thrown);
    return thrown;
  } catch {
    return new Error("what was thrown cannot be looked at");
  }
}

/** Whether a failure is of a call that was made here: what Holdfast made is told by its reason (a closed client, a scope's deadline), what a peer answered by its call. */
export function isNested(error: RpcError): boolean {
  return error.callId !== undefined || error.reason !== undefined;
}

/** The status for what was thrown. An error whose fields cannot be read, or hold what no status can, counts as one that says nothing. */
export function statusOf(thrown: unknown, call: FailedCall): Status {
  try {
    return readStatus(thrown, call);
  } catch {
    return plain("UNKNOWN", `the handler failed (call ${call.id})`, call);
  }
}

function readStatus(thrown: unknown, call: FailedCall): Status {
  const refusal = refusalIn(thrown);
  if (refusal !== undefined) return { ...refusal, metadata: call.trailerPairs, details: undefined };
  if (thrown instanceof RpcError) return isNested(thrown) ? nestedStatus(thrown, call) : ownStatus(thrown, call);
  const isInvalid = thrown instanceof InvalidMessageError;
  return isInvalid
    ? plain("INTERNAL", `the handler's reply cannot be sent (call ${call.id})`, call)
    : plain("UNKNOWN", `the handler failed (call ${call.id})`, call);
}

function plain(code: Code, text: string, call: FailedCall): Status {
  return { code, text, metadata: call.trailerPairs, details: undefined, retryAfterMs: undefined, isNotRun: false };
}

function ownStatus(error: RpcError, call: FailedCall): Status {
  // Each field is read once: what is checked here is what is sent.
  const { code, text, details, retryAfterMs } = error;
  const number = codeNumber(code);
  const isSendable =
    Number.isInteger(number) &&
    typeof text === "string" &&
    (retryAfterMs === undefined || typeof retryAfterMs === "number");
  if (!isSendable) throw new TypeError("the error's fields are not what RpcError has");
  // Checked again: an error of another copy of this package, or of a subclass, may hold anything.
  const pairs = metadataPairs(metadataFrom(error.metadata));
  const trailer = call.trailerPairs;
  return {
    code,
    text,
    metadata: trailer === undefined ? pairs : [...trailer, ...pairs],
    details: details.length === 0 ? undefined : encodeStatusDetails({ code: number, message: text, details }),
    retryAfterMs,
    isNotRun: false,
  };
}

function nestedStatus(error: RpcError, call: FailedCall): Status {
  return {
    code: KEPT.has(error.code) ? error.code : "UNKNOWN",
    text: `a call made by the handler failed (call ${call.id})`,
    metadata: call.trailerPairs,
    details: undefined,
    // What is below has retried already: do not do it again above.
    retryAfterMs: -1,
    isNotRun: false,
  };
}
