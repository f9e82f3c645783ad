/**
 * Hot path: who a call is: its identity, what it inherits, and the headers that each of its attempts begins with.
 */
import {
  CALL_ID_BYTES,
  callIdText,
  type IdWords,
  TRACEPARENT_BYTES,
  writeCallId,
  writeTraceparent,
} from "../call/ids.ts";
import type { Priority } from "../call/method.ts";
import { type CallScope, scopes, type TraceWords } from "../call/scope.ts";
import type { MessageCodec } from "../schema/codec.ts";
import type { Encoding } from "../wire/grpc/compression.ts";
import { formatTimeout } from "../wire/grpc/timeout.ts";
import type { HpackEncoder } from "../wire/http2/hpack-encoder.ts";
import { INTEGRITY_OBSERVED, INTEGRITY_ON } from "../wire/transport/client-attempt.ts";
import {
  acceptEncodings,
  contentTypeGrpc,
  encodingTokens,
  methodPost,
  nameCallId,
  nameDedup,
  nameTimeout,
  nameTraceparent,
  nested,
  repeatNo,
  teTrailers,
  userAgent,
} from "../wire/transport/names.ts";
import { encodePairs, pairsBytesMax, pairsListBytes } from "../wire/transport/server-exchange.ts";
import { WheelEntry } from "../wire/transport/timer-wheel.ts";
import type { CallAttempt } from "./call-attempt.ts";
import type { ChannelCore } from "./channel-core.ts";
import type { ClientMethod } from "./client-method.ts";
import type { CallOptions } from "./options.ts";
import type { ResolvedPolicy } from "./policy/policy.ts";

/** Fixed fields, ids and trace of a request's headers, at most; path, authority, key, token and metadata come on top. */
const HEAD_BYTES = 640;
/** The same as a peer counts them, 32 more for each field (RFC 9113 6.5.2): the fields of every call, and those of some. */
const HEAD_LIST_BYTES = 720;
const CHECKSUM_LIST_BYTES = 52;
const ENCODING_LIST_BYTES = 53;
const PRIORITY_LIST_BYTES = 58;
const REPEAT_LIST_BYTES = 112;
const NESTED_LIST_BYTES = 48;
const TOKEN_LIST_BYTES = 52;
const STORE_LIST_BYTES = 46;
const scratch: Buffer = Buffer.alloc(64);
const NO_PAIRS: readonly (string | Uint8Array)[] = [];

export abstract class CallBase extends WheelEntry implements IdWords, TraceWords {
  readonly channel: ChannelCore;
  readonly method: ClientMethod;
  readonly policy: ResolvedPolicy;
  readonly options: CallOptions | undefined;
  readonly createdMs: number;
  readonly scope: CallScope | undefined;
  readonly pairs: readonly (string | Uint8Array)[];
  readonly ownTimeoutMs: number;
  readonly priority: Priority;
  deadlineMs: number;
  id0: number = 0;
  id1: number = 0;
  id2: number = 0;
  id3: number = 0;
  trace0: number = 0;
  trace1: number = 0;
  trace2: number = 0;
  trace3: number = 0;
  span0: number = 0;
  span1: number = 0;
  traceFlags: number = 0;
  /** Attempts started. */
  attempts: number = 0;
  /** Of those that have ended: the ones that may have reached a handler. */
  counted: number = 0;
  /** The first attempt did not start in the turn of the call. */
  protected isDelayed: boolean = false;

  constructor(channel: ChannelCore, method: ClientMethod, options: CallOptions | undefined, nowMs: number) {
    super();
    const policy = options?.policy === undefined ? method.policy : method.policyOf(options.policy);
    const scope = scopes.getStore();
    this.channel = channel;
    this.method = method;
    this.policy = policy;
    this.options = options;
    this.createdMs = nowMs;
    this.scope = scope;
    this.pairs = options?.metadata === undefined ? NO_PAIRS : method.pairsOf(options.metadata);
    this.ownTimeoutMs =
      options?.timeoutMs === undefined ? method.timeoutOf(policy) : method.checkTimeout(options.timeoutMs);
    this.priority = priorityOf(options?.priority, policy.priority, scope);
    this.deadlineMs = nowMs + this.ownTimeoutMs;
  }

  get requestCodec(): MessageCodec {
    return this.method.plan.request;
  }
  get replyCodec(): MessageCodec {
    return this.method.plan.reply;
  }
  get isReplyStream(): boolean {
    return this.method.isReplyStream;
  }
  get messageBytesMax(): number {
    return this.channel.messageBytesMax;
  }
  get requestEncoding(): Encoding | undefined {
    return this.channel.requestEncoding;
  }
  get id(): string {
    return this.options?.idempotencyKey ?? callIdText(this);
  }
  /** Nobody above repeats the call that this one is made for. */
  get mayRepeat(): boolean {
    return this.scope === undefined || this.scope.mayRepeat;
  }

  // ------------------------------------------------------------------------------------------------ headers

  headBytesMax(given: unknown): number {
    const attempt = given as CallAttempt;
    const own = this.pairs.length === 0 ? 0 : pairsBytesMax(this.pairs);
    const names = (attempt.token === undefined ? 0 : 32) + (attempt.storeId === undefined ? 0 : 32);
    return HEAD_BYTES + this.#ownTextBytes(attempt) + own + names;
  }

  /** The texts of the headers that have no bound of their own. */
  #ownTextBytes(attempt: CallAttempt): number {
    const key = this.options?.idempotencyKey;
    return (
      this.method.pathBytes +
      attempt.peer.authority.value.length +
      (key === undefined ? 0 : key.length) +
      (attempt.storeId === undefined ? 0 : attempt.storeId.length) +
      (attempt.token === undefined ? 0 : attempt.token.length)
    );
  }

  /** What the header section counts against the peer's MAX_HEADER_LIST_SIZE, or a little more. */
  protected headListBytes(attempt: CallAttempt): number {
    const own = this.pairs.length === 0 ? 0 : pairsListBytes(this.pairs);
    let bytes = HEAD_LIST_BYTES + this.#ownTextBytes(attempt) + own;
    if (this.policy.integrity) bytes += CHECKSUM_LIST_BYTES;
    if (this.channel.requestEncoding !== undefined) bytes += ENCODING_LIST_BYTES;
    if (this.priority !== "normal") bytes += PRIORITY_LIST_BYTES;
    if (attempt.number > 1 || !this.mayRepeat) bytes += REPEAT_LIST_BYTES;
    if (this.#isNested) bytes += NESTED_LIST_BYTES;
    if (attempt.storeId !== undefined) bytes += STORE_LIST_BYTES;
    return attempt.token === undefined ? bytes : bytes + TOKEN_LIST_BYTES;
  }

  encodeHead(encoder: HpackEncoder, out: Buffer, start: number, given: unknown): number {
    const attempt = given as CallAttempt;
    const channel = this.channel;
    let at = encoder.token(methodPost, out, start);
    at = encoder.token(channel.scheme, out, at);
    at = encoder.token(this.method.path, out, at);
    at = encoder.token(attempt.peer.authority, out, at);
    at = encoder.token(contentTypeGrpc, out, at);
    at = encoder.token(teTrailers, out, at);
    at = encoder.token(userAgent, out, at);
    at = encoder.token(acceptEncodings, out, at);
    if (channel.requestEncoding !== undefined) {
      const token = encodingTokens[channel.requestEncoding];
      if (token !== undefined) at = encoder.token(token, out, at);
    }
    if (this.policy.integrity) at = this.#encodeIntegrity(encoder, out, at, attempt);
    at = this.#encodeTimeout(encoder, out, at, attempt.number);
    const random = channel.runtime.world.random;
    this.span0 = random.uint32() | 0;
    this.span1 = random.uint32() | 1;
    writeTraceparent(scratch, 0, this);
    at = encoder.literalBytes(nameTraceparent, scratch, 0, TRACEPARENT_BYTES, out, at);
    const key = this.options?.idempotencyKey;
    if (key === undefined) {
      writeCallId(scratch, 0, this);
      at = encoder.literalBytes(nameCallId, scratch, 0, CALL_ID_BYTES, out, at);
    } else {
      at = encoder.literalText(nameCallId, key, out, at);
    }
    if (this.priority !== "normal") at = encoder.field("holdfast-priority", this.priority, out, at);
    if (attempt.number > 1) {
      if (this.counted > 0) at = encoder.field("grpc-previous-rpc-attempts", String(this.counted), out, at);
      at = encoder.token(repeatNo, out, at);
    } else if (!this.mayRepeat) {
      at = encoder.token(repeatNo, out, at);
    }
    if (this.#isNested) at = encoder.token(nested, out, at);
    if (attempt.storeId !== undefined) at = encoder.literalText(nameDedup, attempt.storeId, out, at);
    if (attempt.token !== undefined) at = encoder.sensitive("authorization", `Bearer ${attempt.token}`, out, at);
    if (this.pairs.length > 0) at = encodePairs(encoder, this.pairs, out, at);
    return at;
  }

  /** A handler of this process makes it, to a server of this process. */
  get #isNested(): boolean {
    return this.channel.isInProcess && this.scope?.call?.side === "server";
  }

  #encodeIntegrity(encoder: HpackEncoder, out: Buffer, at: number, attempt: CallAttempt): number {
    const state = this.channel.switches.get("integrity");
    if (state === "off") return at;
    const integrity = state === "on" ? INTEGRITY_ON : INTEGRITY_OBSERVED;
    return attempt.encodeIntegrity(encoder, out, at, integrity, !this.method.isRequestStream);
  }

  #encodeTimeout(encoder: HpackEncoder, out: Buffer, at: number, number: number): number {
    if (this.deadlineMs === Infinity) return at;
    const isWhole = number === 1 && !this.isDelayed && this.deadlineMs === this.createdMs + this.ownTimeoutMs;
    if (isWhole && this.ownTimeoutMs === this.method.timeoutMs && this.method.timeout !== undefined) {
      return encoder.token(this.method.timeout, out, at);
    }
    const leftMs = this.deadlineMs - (isWhole ? this.createdMs : this.channel.runtime.world.clock.monotonicMs());
    return encoder.literalText(nameTimeout, formatTimeout(Math.max(leftMs, 0.001)), out, at);
  }
}

/** A call's own priority, else that of what it belongs to, else its policy's. A scope that says nothing of its own says "normal". */
export function priorityOf(
  own: Priority | undefined,
  ofPolicy: Priority | undefined,
  scope: CallScope | undefined,
): Priority {
  const inherited = scope === undefined || scope.priority === "normal" ? undefined : scope.priority;
  return own ?? inherited ?? ofPolicy ?? "normal";
}
