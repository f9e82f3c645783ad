/** What is kept of a call that failed: enough to say afterwards what it met, when, and where. */
import { RpcError } from "holdfast";
import type { Blame } from "holdfast/call";

export interface FailedCall {
  /** The same for failures of the same kind: no addresses, no times. */
  readonly kind: string;
  /** When it ended, by the clock of `performance.now()`. */
  readonly endedMs: number;
  readonly tookMs: number;
  /** Undefined for a stream, which is many. */
  readonly attempts: number | undefined;
  /** One sentence: what happened, whose part it was. */
  readonly verdict: string;
  /** What each attempt met, in order. */
  readonly met: readonly MetFault[];
}

/** As `error.faults` has it, with the peer's address alone. */
export interface MetFault {
  readonly kind: string;
  readonly phase: string;
  readonly blame: Blame;
  readonly attempt: number;
  readonly address: string | undefined;
  /** Milliseconds since the call, or the last part of the stream, began. */
  readonly atMs: number;
  readonly text: string;
}

export function failedCall(
  method: string,
  error: unknown,
  run: { readonly startedMs: number; readonly nowMs: number; readonly attempts?: number },
): FailedCall {
  const { startedMs, nowMs, attempts } = run;
  const facts = { endedMs: nowMs, tookMs: nowMs - startedMs, attempts };
  if (!(error instanceof RpcError)) {
    const text = error instanceof Error ? error.message : String(error);
    return { kind: `${method}: ${text}`, ...facts, verdict: text, met: [] };
  }
  const { code, reason, verdict, faults } = error;
  return {
    kind: `${method}: ${reason === undefined ? code : `${code} (${reason})`}`,
    ...facts,
    verdict,
    met: faults.map(({ kind, phase, blame, attempt, peer, atMs, text }) => ({
      kind,
      phase,
      blame,
      attempt,
      address: peer?.address,
      atMs: Math.round(atMs),
      text,
    })),
  };
}
