/**
 * Methods of effect `once`: the server keeps the first answer (DESIGN section 7). Here a call becomes a key, and a store's words become
 * what its caller is told.
 */
import { failure, RpcError } from "../call/error.ts";
import type { DedupClaim, DedupEntry, DedupStore } from "../durable/dedup-store.ts";
import { payloadHashOf } from "../durable/payload-hash.ts";
import type { MessageCodec } from "../schema/codec.ts";
import { formatAnnouncedStore } from "../wire/grpc/dedup-wire.ts";
import { FieldToken } from "../wire/http2/hpack-encoder.ts";
import type { Status } from "../wire/transport/server-exchange.ts";
import type { ConnectionFacts } from "./connection-facts.ts";
import type { Refusal } from "./refusal.ts";
import { encodeKept } from "./kept-answer.ts";
import type { DedupStatus } from "./server-status.ts";
import type { ServerCall } from "./server-call.ts";

/** A store that is full says so to first attempts; they may come back after so long. */
const FULL_RETRY_MS = 1_000;

/** What the store says, of the claims that run nothing and have no answer. */
const REFUSALS: Readonly<Record<"conflict" | "expired" | "unknown" | "stranger", Omit<Refusal, "retryAfterMs">>> =
  Object.freeze({
    conflict: {
      code: "FAILED_PRECONDITION",
      text: "the idempotency key was used before with another request",
      reason: "KEY_CONFLICT",
      isNotRun: false,
    },
    expired: {
      code: "ABORTED",
      text: "the call is older than what its server remembers: whether it was done cannot be told here",
      reason: "OUTCOME_UNKNOWN",
      isNotRun: false,
    },
    stranger: {
      code: "ABORTED",
      text: "calls under a caller's own key are kept for known callers alone: whether it was done cannot be told here",
      reason: "OUTCOME_UNKNOWN",
      isNotRun: false,
    },
    unknown: {
      code: "ABORTED",
      text: "the call was left running by a process that died, or runs in another one: whether it was done is not known",
      reason: "OUTCOME_UNKNOWN",
      isNotRun: false,
    },
  });

export class Once {
  readonly store: DedupStore<unknown>;
  /** What every answer says of the store (docs/wire.md); undefined until it is open. */
  announcement: FieldToken | undefined;
  #opening: Promise<void> | undefined;
  readonly #failed: () => void;

  /** @param failed the store has failed for good. Told each time that is found out. */
  constructor(store: DedupStore<unknown>, failed: () => void) {
    this.store = store;
    this.#failed = failed;
    this.announcement = undefined;
    this.#opening = undefined;
  }

  /** Opens the store, once. Rejects with an RpcError that names the file, or a RangeError for an id that cannot be announced; then it is tried again. */
  open(): Promise<void> {
    this.#opening ??= this.store.open().then(
      () => {
        const { storeId: id, scope } = this.store;
        this.announcement = new FieldToken("holdfast-dedup", formatAnnouncedStore({ id, scope }));
      },
      (error: unknown) => {
        this.#opening = undefined;
        throw error;
      },
    );
    return this.#opening;
  }

  status(): DedupStatus {
    const { storeId, scope, running, entries, operations, commits, failure: why } = this.store.snapshot();
    if (why !== undefined) this.#failed();
    return { storeId, scope, counts: { running, entries, operations, commits }, failure: why };
  }

  /** The store has refused something: is that all that it will ever do? */
  refused(): void {
    if (this.store.snapshot().failure !== undefined) this.#failed();
  }

  /** Asks the store. undefined: the request cannot be read, and the call has been ended for it. */
  claim(call: ServerCall): DedupClaim | Promise<DedupClaim> | undefined {
    const bytes = call.exchange.openRequest();
    if (bytes === undefined) return undefined;
    const { requestStart, requestEnd } = call.exchange;
    const key = {
      path: call.route.plan.info.path,
      principal: call.principal?.id ?? "",
      id: call.id,
      mintedMs: call.mintedMs,
      payloadHash: payloadHashOf(bytes.subarray(requestStart, requestEnd)),
      rerunUnknown: call.route.rerunsUnknown,
    };
    if (this.announcement !== undefined) return this.store.claim(key);
    // A server without a door has opened nothing yet.
    return this.open().then(() => {
      call.exchange.announcement = this.announcement;
      return this.store.claim(key);
    });
  }

  /** Resolves when the answer is kept. Rejects if it cannot be, whatever the store throws and when. */
  finish(entry: DedupEntry, answer: Uint8Array): Promise<void> | undefined {
    try {
      return this.store.finish(entry, answer)?.catch((error: unknown) => {
        this.refused();
        throw error;
      });
    } catch (error) {
      this.refused();
      return Promise.reject(RpcError.from(error));
    }
  }

  /** The call is as if it had not been. A store that fails says so to the next claim: never rejects. */
  forget(entry: DedupEntry): Promise<void> | undefined {
    try {
      return this.store.forget(entry)?.catch(() => this.refused());
    } catch {
      this.refused();
      return undefined;
    }
  }
}

/**
 * Whether the call has a key of its caller's own, and nobody knows its caller. All such callers would share one space of keys that can be
 * guessed, where one could claim another's key first, or read its answer. An id of ours holds 64 random bits.
 */
export function isStrangersKey(call: ServerCall): boolean {
  if (call.principal !== undefined || call.mintedMs !== undefined) return false;
  return !(call.exchange.connection.facts as ConnectionFacts).isTrusted;
}

/** What a caller is told when nothing runs. */
export function refusalOf(kind: keyof typeof REFUSALS | "full"): Refusal {
  if (kind !== "full") return { ...REFUSALS[kind], retryAfterMs: undefined };
  return {
    code: "RESOURCE_EXHAUSTED",
    text: "the server keeps as many answers as it may",
    reason: "ADMISSION_REFUSED",
    retryAfterMs: FULL_RETRY_MS,
    isNotRun: true,
  };
}

/** The store failed before the handler ran. What it said may name files of this machine: that stands in the record alone. */
export function storeFailed(thrown: unknown, callId: string): Refusal {
  const code = "UNAVAILABLE";
  const text = `the server's record of calls cannot be used (call ${callId})`;
  const cause = failure({ code, text: RpcError.from(thrown).text, reached: "no", cause: thrown });
  return { code, text, reason: undefined, retryAfterMs: undefined, isNotRun: true, cause };
}

/** The handler ran, and its answer could not be kept: nobody can tell a repeat what came of it. */
export const NOT_KEPT: Status = Object.freeze({
  code: "ABORTED",
  text: "the call was run, but its answer could not be kept",
  metadata: undefined,
  details: undefined,
  retryAfterMs: -1,
  isNotRun: false,
  reason: "OUTCOME_UNKNOWN",
});

/** Why, for the call's record. */
export function notKeptCause(thrown: unknown): RpcError {
  return failure({ code: "ABORTED", text: `${NOT_KEPT.text}: ${RpcError.from(thrown).text}`, cause: thrown });
}

/** A reply as it is kept. Throws InvalidMessageError for one that cannot be encoded. */
export function keptReply(call: ServerCall, codec: MessageCodec, reply: unknown): Buffer {
  return encodeKept({
    failure: undefined,
    header: call.exchange.header,
    trailer: call.trailerPairs,
    reply: codec.encode(reply),
  });
}

export function keptFailure(call: ServerCall, failure: Status): Buffer {
  return encodeKept({ failure, header: call.exchange.header, trailer: undefined, reply: undefined });
}

/** Whether the handler's failure may be forgotten: the only effect that it had was taken back. */
export function isForgettable(entry: DedupEntry): boolean {
  return entry.answer === undefined && entry.isRolledBack;
}
