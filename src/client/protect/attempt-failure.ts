/**
 * How an attempt at a function's work failed: what was thrown, or what `classify` made of it, in the words of the attempts machine.
 */
import type { Code } from "../../call/code.ts";
import { type ErrorDetail, RpcError } from "../../call/error.ts";
import type { Blame, Fault, FaultKind, Phase } from "../../call/fault.ts";
import type { Metadata } from "../../call/metadata.ts";
import { describeValue } from "../../call/options.ts";
import type { Peer } from "../../call/peer.ts";
import { ANSWER_CODES, codeBits } from "../../policy/recover/attempts.ts";

export interface AttemptFailure {
  readonly code: Code;
  readonly text: string;
  /** "no": provably nothing was begun. */
  readonly reached: "no" | "maybe";
  readonly kind: FaultKind;
  readonly phase: Phase;
  /** When it may be tried again, in milliseconds; negative: never. */
  readonly retryAfterMs: number | undefined;
  /** Not to be repeated, whatever the code: it is no use, or was repeated below. */
  readonly isFinal: boolean;
  /** It says nothing about the peer: the fault is in this process. */
  readonly isOurs: boolean;
  /** What was thrown. */
  readonly cause: unknown;
  readonly details: readonly ErrorDetail[] | undefined;
  readonly metadata: Metadata | undefined;
  /** What was returned, if it was judged a failure. */
  readonly given: { readonly value: unknown } | undefined;
}

/** What `classify` is asked about. */
export type AttemptResult = { readonly error: unknown } | { readonly value: unknown };
/** What it may say: a failure, that nothing was begun, or (undefined) that it is as it seems. */
export type AttemptVerdict = RpcError | "unreached" | undefined;

const common = {
  reached: "maybe",
  kind: "status",
  phase: "server",
  retryAfterMs: undefined,
  isFinal: false,
  isOurs: false,
  cause: undefined,
  details: undefined,
  metadata: undefined,
  given: undefined,
} as const;

/** A failure from its code and words; the rest as usual unless `more` says otherwise. */
export function attemptFailure(code: Code, text: string, more?: Partial<AttemptFailure>): AttemptFailure {
  return { ...common, code, text, ...more };
}

/** What was thrown, taken as it is. */
export function failureOfError(error: unknown): AttemptFailure {
  const known = RpcError.from(error);
  return ofRpcError(known, { cause: error, isFinal: wasRepeatedBelow(known) });
}

/** What `classify` says about a result; undefined: a success. */
export function failureOfVerdict(verdict: unknown, result: AttemptResult): AttemptFailure | undefined {
  const given = "value" in result ? { value: result.value } : undefined;
  const cause = "error" in result ? result.error : undefined;
  if (verdict === undefined) return "error" in result ? failureOfError(result.error) : undefined;
  if (verdict === "unreached") {
    const text = "error" in result ? RpcError.from(result.error).text : "the work says that it was not begun";
    return attemptFailure("UNAVAILABLE", text, { reached: "no", phase: "connect", cause, given });
  }
  if (verdict instanceof RpcError) return ofRpcError(verdict, { cause: cause ?? verdict, given });
  throw new TypeError(`classify must return an RpcError, "unreached" or undefined, got ${describeValue(verdict)}`);
}

/** `classify` itself failed: whatever the work did, nobody can say how it went. */
export function failureOfClassify(error: unknown): AttemptFailure {
  const text = `classify failed: ${RpcError.from(error).text}`;
  return attemptFailure("INTERNAL", text, { isFinal: true, isOurs: true, cause: error });
}

function ofRpcError(error: RpcError, more: Partial<AttemptFailure>): AttemptFailure {
  const { code, text, retryAfterMs, details, metadata } = error;
  return attemptFailure(code, text, { retryAfterMs, details, metadata, ...more });
}

/** A call made inside the work has had its own repeats: to repeat it here as well would multiply them (DESIGN section 4, amplification). */
function wasRepeatedBelow({ faults }: RpcError): boolean {
  return faults.some(({ attempt }) => attempt > 1);
}

/** The fault of an attempt; `atMs` counts from the call's begin. */
export function faultOf(
  { kind, phase, code, text }: AttemptFailure,
  blame: Blame,
  peer: Peer,
  attempt: number,
  atMs: number,
): Fault {
  return { kind, phase, blame, peer, attempt, code, atMs, text };
}

const WELL = ANSWER_CODES | codeBits(["UNIMPLEMENTED"]);

/** The peer looked at what was asked and said no: it is well. */
export function showsHealth({ code, kind, reached, isOurs }: AttemptFailure): boolean {
  return kind === "status" && reached !== "no" && !isOurs && (WELL & codeBits([code])) !== 0;
}
