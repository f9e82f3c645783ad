/**
 * What a failed attempt of a `once` call means (DESIGN section 7). Its server keeps the first answer, a failure too, and gives it to
 * every repeat: an answer is therefore final, and only what had none is repeated, where the same store is asked. Pure.
 */
import type { CodeOrOk } from "../../call/code.ts";
import { type AnnouncedStore, NO_STORE } from "../../call/dedup.ts";
import type { Reason } from "../../call/reason.ts";

/** One attempt of a `once` call that failed. */
export interface OnceFailure {
  readonly code: CodeOrOk;
  readonly reason: Reason | undefined;
  /** "no": provably no handler saw it. */
  readonly reached: "no" | "maybe" | "yes";
  /** The peer gave it a status, a proxy on the way perhaps. */
  readonly isAnswered: boolean;
  /** The store that this attempt's own answer announced. */
  readonly announced: AnnouncedStore | undefined;
  /** What all answers on its connection say; undefined: there were none. */
  readonly heard: AnnouncedStore | undefined;
  /** It asked for a store, and was to be refused by a server that has another. */
  readonly isBound: boolean;
  /** An earlier attempt may have reached a handler. */
  readonly isRepeat: boolean;
  /** The server's pushback in milliseconds; negative: never repeat; undefined: none given. */
  readonly retryAfterMs: number | undefined;
}

/** `answer`: the call's own, not repeated. `unreached`: as if it had not been made. `ambiguous`: a handler may have run, and what it said is not known. */
export type OnceMeaning = "answer" | "unreached" | "ambiguous";

/** What a failed attempt of a `once` call means. */
export function meaningOfOnce(failed: OnceFailure): OnceMeaning {
  const { code, reason, reached, announced, heard, retryAfterMs } = failed;
  // Not run for its key's sake: another store would not know the key, and would run it.
  if (reason === "KEY_CONFLICT") return "answer";
  if (reason === "OUTCOME_UNKNOWN" && !(failed.isBound && reached === "no")) return "answer";
  if (reached === "no") return "unreached";
  if (!failed.isAnswered) return "ambiguous";
  if (announced !== undefined && announced !== NO_STORE) {
    return code === "RESOURCE_EXHAUSTED" && (retryAfterMs ?? -1) >= 0 ? "ambiguous" : "answer";
  }
  // Behind a connection on which a store was heard, a status without it is a proxy's: no handler's word.
  const isKept = heard !== undefined && heard !== NO_STORE;
  return failed.isRepeat || isKept ? "ambiguous" : "answer";
}
