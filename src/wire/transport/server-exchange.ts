/**
 * Hot path: one call as a server's connection sees it, from the request's headers to the last trailer.
 */
import { type Code, type CodeOrOk, codeNumber } from "../../call/code.ts";
import { failure } from "../../call/error.ts";
import type { Reason } from "../../call/reason.ts";
import { CHECKSUM_CHARACTERS, type ChecksumSink, checksumOf, writeChecksum } from "../grpc/checksum.ts";
import type { Encoding } from "../grpc/compression.ts";
import { MessageDeframer, messagePrefixBytes } from "../grpc/deframer.ts";
import type { MessageCodec } from "../grpc/message-codec.ts";
import { binaryToText } from "../grpc/metadata-wire.ts";
import { encodeStatusMessage } from "../grpc/status.ts";
import type { FieldSection } from "../http2/field.ts";
import { type FieldToken, HpackEncoder } from "../http2/hpack-encoder.ts";
import type { HeaderSource, Http2Stream } from "../http2/stream.ts";
import type { StreamOwner } from "./connection.ts";
import { fittingStatus } from "./fitting-status.ts";
import type { Pairs } from "./header-reader.ts";
import {
  decompressMessage,
  type InboxOwner,
  type InboxProblem,
  isLengthDoubtful,
  MessageInbox,
  MessageProblem,
} from "./message-inbox.ts";
import {
  acceptEncodings,
  contentTypeGrpc,
  deduplicated,
  encodingTokens,
  integrityCrc32,
  nameChecksum,
  notRun,
  status200,
  statusOk,
} from "./names.ts";
import { sendMessage } from "./send-message.ts";
import type { ServerConnection } from "./server-connection.ts";

/** Who runs the call. */
export interface ExchangeOwner {
  readonly requestCodec: MessageCodec;
  readonly replyCodec: MessageCodec;
  readonly isRequestStream: boolean;
  readonly messageBytesMax: number;
  /** The one request of a call that has one is whole: `exchange.decodeRequest` gives it, now or later. */
  requestArrived(): void;
  /** The request cannot be read: end the call with this. `isNotRun`: it was altered on its way, and may be sent again. */
  requestBroken(code: CodeOrOk, text: string, isNotRun: boolean): void;
  /** The caller is gone: reset, or the connection was lost. */
  callerGone(text: string): void;
  /** Sent replies have left the queue. */
  exchangeWritable(): void;
}

/** What trailers say. */
export interface Status {
  readonly code: CodeOrOk;
  readonly text: string;
  readonly metadata: readonly (string | Uint8Array)[] | undefined;
  /** Encoded `google.rpc.Status`, if there are details. */
  readonly details: Uint8Array | undefined;
  readonly retryAfterMs: number | undefined;
  /** The call provably reached no handler. */
  readonly isNotRun: boolean;
  /** Why the server itself, not a handler, ended the call; for peers that know the word. */
  readonly reason?: Reason | undefined;
}

const HEAD = 0;
const TRAILERS = 1;
const TRAILERS_ONLY = 2;

const scratch: Buffer = Buffer.alloc(CHECKSUM_CHARACTERS);

export class ServerExchange implements StreamOwner, HeaderSource, InboxOwner, ChecksumSink {
  readonly connection: ServerConnection;
  readonly stream: Http2Stream;
  owner: ExchangeOwner | undefined;
  /** How the request's messages are compressed, and ours are to be. */
  requestEncoding: Encoding | undefined;
  replyEncoding: Encoding | undefined;
  /** Messages of a request stream. */
  inbox: MessageInbox | undefined;
  /** Say which encodings are known here. */
  offersEncodings: boolean;
  /** Say that checksums are compared here. */
  offersChecksums: boolean;
  /** The one reply gets its checksum in the trailers. */
  givesChecksum: boolean;
  /** What the headers say of the one request; undefined: nothing. */
  requestChecksum: number | undefined;
  /** What every answer says of the server's store of first answers. */
  announcement: FieldToken | undefined;
  /** The answer was kept from an earlier attempt: said in the trailers. */
  isDeduplicated: boolean;
  /** The reply's, once it was sent. */
  checksum: number;
  /** Metadata to be sent with the headers. */
  header: Pairs | undefined;
  hasSentHead: boolean;
  isEnded: boolean;
  /** The caller is gone. */
  isAbandoned: boolean;
  #hasReplied: boolean;
  #requests: number;
  /** Payload that did not come as one whole message. */
  #partBytes: number;
  /** The one request as it came, `#request[#requestStart, #requestEnd)`: decoded when its call may run, and not for one that is refused. */
  #request: Buffer | undefined;
  #requestStart: number;
  #requestEnd: number;
  #isRequestCompressed: boolean;
  /** The bytes are this request's own, not a received chunk's. */
  #isRequestOwned: boolean;
  #isRequestOpen: boolean;
  #deframer: MessageDeframer | undefined;
  #status: Status | undefined;
  #part: number;

  constructor(connection: ServerConnection, stream: Http2Stream) {
    this.connection = connection;
    this.stream = stream;
    this.owner = undefined;
    this.requestEncoding = undefined;
    this.replyEncoding = undefined;
    this.inbox = undefined;
    this.offersEncodings = false;
    this.offersChecksums = false;
    this.givesChecksum = false;
    this.requestChecksum = undefined;
    this.announcement = undefined;
    this.isDeduplicated = false;
    this.checksum = 0;
    this.header = undefined;
    this.hasSentHead = false;
    this.isEnded = false;
    this.isAbandoned = false;
    this.#hasReplied = false;
    this.#requests = 0;
    this.#partBytes = 0;
    this.#request = undefined;
    this.#requestStart = 0;
    this.#requestEnd = 0;
    this.#isRequestCompressed = false;
    this.#isRequestOwned = false;
    this.#isRequestOpen = false;
    this.#deframer = undefined;
    this.#status = undefined;
    this.#part = HEAD;
    stream.owner = this;
  }

  /** Takes the call on. `hasEnded`: the request had no body at all. */
  begin(owner: ExchangeOwner, hasEnded: boolean): void {
    this.owner = owner;
    if (owner.isRequestStream) {
      this.inbox = new MessageInbox(this, owner.requestCodec, owner.messageBytesMax);
      this.inbox.encoding = this.requestEncoding;
    }
    if (hasEnded) this.#requestEnded();
  }

  /** Sends the headers, unless they have been sent. */
  sendHead(): void {
    if (this.hasSentHead || this.isEnded || this.isAbandoned) return;
    this.hasSentHead = true;
    this.#part = HEAD;
    this.connection.engine.sendHeaders(this.stream, this, false);
    this.connection.scheduleFlush();
  }

  /** Sends a reply. Throws what the codec throws; then nothing of it was sent. */
  send(message: unknown): void {
    if (this.isEnded || this.isAbandoned) return;
    const owner = this.owner as ExchangeOwner;
    this.sendHead();
    const sink = this.givesChecksum ? this : undefined;
    sendMessage(this.connection.engine, this.stream, owner.replyCodec, message, this.replyEncoding, false, sink);
    this.#hasReplied = true;
    this.connection.scheduleFlush();
  }

  /** Sends the one reply, which was encoded before. */
  sendEncoded(bytes: Buffer): void {
    if (this.isEnded || this.isAbandoned) return;
    this.sendHead();
    const sink = this.givesChecksum ? this : undefined;
    sendMessage(this.connection.engine, this.stream, encodedCodec, bytes, this.replyEncoding, false, sink);
    this.#hasReplied = true;
    this.connection.scheduleFlush();
  }

  /** Sends the one reply and OK. */
  sendLast(message: unknown): void {
    this.send(message);
    this.end(undefined);
  }

  /** Whether the caller's window has room for another reply. */
  get canSend(): boolean {
    return this.stream.queuedBytes === 0;
  }

  /** Ends the call with a status; undefined is OK without metadata. Of an error goes as much as the peer can take. */
  end(status: Status | undefined): void {
    if (this.isEnded) return;
    // Metadata that a handler set goes in headers of its own, where its caller looks for it, even if there is no message.
    if (this.header !== undefined) this.sendHead();
    this.isEnded = true;
    if (this.isAbandoned) return;
    this.#status = status === undefined || status.code === "OK" ? status : this.#fitting(status);
    this.#part = this.hasSentHead ? TRAILERS : TRAILERS_ONLY;
    this.connection.engine.sendTrailers(this.stream, this);
    this.connection.scheduleFlush();
  }

  #fitting(status: Status): Status {
    const metadataBytes = status.metadata === undefined ? 0 : pairsListBytes(status.metadata);
    return fittingStatus(status, metadataBytes, this.connection.engine.peer.headerListBytesMax);
  }

  /** Answers what is no gRPC request with a bare HTTP status, and lets go of the stream. */
  answerHttp(httpStatus: number): void {
    this.isEnded = true;
    this.connection.engine.sendHeaders(this.stream, new HttpAnswer(httpStatus), true);
    this.connection.scheduleFlush();
    this.release();
  }

  /** The handler has ended: the slot is free. */
  release(): void {
    if (this.stream.owner !== this) return;
    this.inbox?.stop();
    this.connection.release(this.stream);
  }

  headerBytesMax(): number {
    let bytes = this.announcement === undefined ? 224 : 352;
    if (this.#part !== TRAILERS && this.header !== undefined) bytes += pairsBytesMax(this.header);
    const status = this.#status;
    if (this.#part !== HEAD && status !== undefined) {
      bytes += 192 + status.text.length * 9 + (status.details === undefined ? 0 : status.details.length * 2);
      if (status.metadata !== undefined) bytes += pairsBytesMax(status.metadata);
    }
    return bytes;
  }

  encodeHeaders(encoder: HpackEncoder, out: Buffer, start: number): number {
    let at = start;
    if (this.#part !== TRAILERS) {
      at = encoder.token(status200, out, at);
      at = encoder.token(contentTypeGrpc, out, at);
      if (this.replyEncoding !== undefined && this.replyEncoding !== "identity") {
        const token = encodingTokens[this.replyEncoding];
        if (token !== undefined) at = encoder.token(token, out, at);
        at = encoder.token(acceptEncodings, out, at);
      } else if (this.offersEncodings) {
        at = encoder.token(acceptEncodings, out, at);
      }
      if (this.offersChecksums) at = encoder.token(integrityCrc32, out, at);
      if (this.announcement !== undefined) at = encoder.token(this.announcement, out, at);
      const { healthField } = this.connection;
      if (healthField !== undefined) at = encoder.token(healthField, out, at);
      if (this.header !== undefined) at = encodePairs(encoder, this.header, out, at);
    }
    if (this.#part === HEAD) return at;
    const status = this.#status;
    if (this.givesChecksum && this.#hasReplied && (status === undefined || status.code === "OK")) {
      writeChecksum(scratch, 0, this.checksum);
      at = encoder.literalBytes(nameChecksum, scratch, 0, CHECKSUM_CHARACTERS, out, at);
    }
    if (this.isDeduplicated) at = encoder.token(deduplicated, out, at);
    if (status === undefined) return encoder.token(statusOk, out, at);
    if (status.code === "OK") at = encoder.token(statusOk, out, at);
    else at = encoder.field("grpc-status", String(codeNumber(status.code)), out, at);
    if (status.text !== "") at = encoder.field("grpc-message", encodeStatusMessage(status.text), out, at);
    if (status.details !== undefined) {
      at = encoder.field("grpc-status-details-bin", binaryToText(status.details), out, at);
    }
    if (status.retryAfterMs !== undefined) {
      at = encoder.field("grpc-retry-pushback-ms", String(Math.round(status.retryAfterMs)), out, at);
    }
    if (status.isNotRun) at = encoder.token(notRun, out, at);
    if (status.reason !== undefined) at = encoder.field("holdfast-reason", status.reason, out, at);
    if (status.metadata !== undefined) at = encodePairs(encoder, status.metadata, out, at);
    return at;
  }

  onHeaders(_section: FieldSection, ends: boolean): void {
    // Trailers of a request carry nothing that gRPC knows.
    if (ends) this.#requestEnded();
  }

  onData(bytes: Buffer, start: number, end: number, ends: boolean): void {
    const owner = this.owner;
    if (this.isEnded || owner === undefined) {
      this.inboxConsumed(end - start);
      return;
    }
    if (this.inbox !== undefined) {
      this.inbox.push(bytes, start, end);
      if (ends) this.#requestEnded();
      return;
    }
    this.#readRequest(owner, bytes, start, end);
    if (ends) this.#requestEnded();
    if (this.#request !== undefined) this.#keepRequest();
  }

  onReset(_code: number, _isUnprocessed: boolean, text: string): void {
    if (this.isAbandoned) return;
    this.isAbandoned = true;
    if (!this.isEnded) this.owner?.callerGone(text);
  }

  onWritable(): void {
    if (!this.isEnded) this.owner?.exchangeWritable();
  }

  inboxConsumed(bytes: number): void {
    this.connection.consumed(this.stream, bytes);
  }

  inboxExpects(bytes: number): boolean {
    return this.connection.expect(this.stream, bytes);
  }

  /** Before it is decoded: whether the request is the one that was sent. */
  isIntact(bytes: Buffer, start: number, end: number): boolean {
    return this.requestChecksum === undefined || checksumOf(bytes, start, end) === this.requestChecksum;
  }

  inboxBroken(problem: InboxProblem, cause: unknown): unknown {
    const [code, text] = problemStatus(problem, cause, this.owner?.messageBytesMax ?? 0);
    // A request with a checksum left its client whole: what its frame says against that happened on the way.
    if (this.requestChecksum !== undefined && problem !== "invalid" && problem !== "too-large") this.#altered(text);
    else this.owner?.requestBroken(code, text, false);
    // For the handler that reads: without it, it would take what it has for all there was.
    return failure({ code, text, reached: "yes", cause });
  }

  /** No handler has seen it, and none will. */
  #altered(text: string): void {
    this.owner?.requestBroken("DATA_LOSS", `the request was altered on its way: ${text}`, true);
  }

  /**
   * Unpacks the one request and compares its checksum. undefined: it cannot be read, and its call has been ended for it. The bytes stand
   * until it is decoded; the range is `requestStart`, `requestEnd`.
   */
  openRequest(): Buffer | undefined {
    const bytes = this.#request;
    if (bytes === undefined || this.#isRequestOpen) return bytes;
    const owner = this.owner as ExchangeOwner;
    try {
      if (this.#isRequestCompressed) {
        const range = bytes.subarray(this.#requestStart, this.#requestEnd);
        const whole = decompressMessage(range, this.requestEncoding, owner.messageBytesMax);
        this.#holdRequest(whole, 0, whole.length, true);
        this.#isRequestCompressed = false;
      }
      if (!this.isIntact(this.#request as Buffer, this.#requestStart, this.#requestEnd)) {
        throw new MessageProblem("altered", undefined);
      }
      this.#isRequestOpen = true;
      return this.#request;
    } catch (error) {
      this.#requestBroken(error as MessageProblem);
      return undefined;
    }
  }

  get requestStart(): number {
    return this.#requestStart;
  }
  get requestEnd(): number {
    return this.#requestEnd;
  }

  /** The one request, decoded; {@link unreadable} if it cannot be: then its call has been ended for it. May be asked for again. */
  decodeRequest(): unknown {
    const bytes = this.openRequest();
    if (bytes === undefined) return unreadable;
    const owner = this.owner as ExchangeOwner;
    try {
      return owner.requestCodec.decode(bytes, this.#requestStart, this.#requestEnd, this.#isRequestOwned);
    } catch (error) {
      this.#requestBroken(new MessageProblem("invalid", error));
      return unreadable;
    }
  }

  /** Nobody will ask for the request again. */
  dropRequest(): void {
    this.#request = undefined;
  }

  #requestBroken({ problem, cause }: MessageProblem): void {
    this.#request = undefined;
    this.inboxBroken(problem, cause);
  }

  #holdRequest(bytes: Buffer, start: number, end: number, isOwned: boolean): void {
    this.#request = bytes;
    this.#requestStart = start;
    this.#requestEnd = end;
    this.#isRequestOwned = isOwned;
  }

  /** What was received is read over by the next chunk: a request that is to wait needs bytes of its own. */
  #keepRequest(): void {
    const bytes = this.#request;
    if (bytes === undefined || this.#isRequestOwned) return;
    const own = Buffer.allocUnsafeSlow(this.#requestEnd - this.#requestStart);
    bytes.copy(own, 0, this.#requestStart, this.#requestEnd);
    this.#holdRequest(own, 0, own.length, true);
  }

  #readRequest(owner: ExchangeOwner, bytes: Buffer, start: number, end: number): void {
    const length = end - start;
    this.inboxConsumed(length);
    const isWhole =
      this.#requests === 0 &&
      this.#deframer === undefined &&
      length >= messagePrefixBytes &&
      bytes[start] === 0 &&
      bytes.readUInt32BE(start + 1) === length - messagePrefixBytes &&
      length <= owner.messageBytesMax;
    if (isWhole) {
      this.#requests = 1;
      this.#holdRequest(bytes, start + messagePrefixBytes, end, false);
      return;
    }
    this.#deframer ??= new MessageDeframer(owner.messageBytesMax);
    const deframer = this.#deframer;
    this.#partBytes += length;
    deframer.push(bytes, start, end);
    while (deframer.next()) {
      this.#requests += 1;
      this.#holdRequest(deframer.bytes, deframer.start, deframer.end, deframer.isGathered);
      this.#isRequestCompressed = deframer.isCompressed;
    }
    const isChecked = this.requestChecksum !== undefined;
    if (isChecked && isLengthDoubtful(deframer, this.#partBytes, owner.messageBytesMax, false)) return;
    if (deframer.error !== undefined) this.inboxBroken(deframer.error, undefined);
    else if (deframer.missingBytes > 0) deframer.isWholeGranted = this.inboxExpects(deframer.missingBytes);
  }

  #requestEnded(): void {
    const owner = this.owner;
    if (owner === undefined || this.isEnded) return;
    if (this.inbox !== undefined) {
      this.inbox.end();
    } else if (this.#deframer?.isMidMessage === true) {
      this.inboxBroken("truncated", undefined);
    } else if (this.#deframer?.error === "too-large") {
      const isAltered = isLengthDoubtful(this.#deframer, this.#partBytes, owner.messageBytesMax, true);
      this.inboxBroken(isAltered ? "truncated" : "too-large", undefined);
    } else if (this.#requests !== 1) {
      const text = this.#requests === 0 ? "the call has no request" : "the call has more than one request";
      if (this.requestChecksum === undefined) owner.requestBroken("UNIMPLEMENTED", text, false);
      else this.#altered(text);
    } else {
      owner.requestArrived();
    }
  }
}

/** The "codec" of what has been encoded already. */
const encodedCodec: MessageCodec = Object.freeze({
  typeName: "",
  encodeInto(message: unknown, bytes: Buffer, at: number): number {
    const encoded = message as Buffer;
    if (encoded.length > bytes.length - at) return -1;
    encoded.copy(bytes, at);
    return at + encoded.length;
  },
  // A copy of its own: what is sent may be given back when it has left.
  encode: (message: unknown) => Buffer.from(message as Buffer),
  decode: (bytes: Buffer, start: number, end: number) => bytes.subarray(start, end),
});

/** Stands for a request that could not be read. */
export const unreadable: unique symbol = Symbol("unreadable");

/** An answer of HTTP without a body. */
class HttpAnswer implements HeaderSource {
  readonly #status: number;

  constructor(httpStatus: number) {
    this.#status = httpStatus;
  }
  headerBytesMax(): number {
    return 128;
  }
  encodeHeaders(encoder: HpackEncoder, out: Buffer, at: number): number {
    return encoder.field("content-length", "0", out, encoder.field(":status", String(this.#status), out, at));
  }
}

function problemStatus(problem: InboxProblem, cause: unknown, max: number): [Code, string] {
  switch (problem) {
    case "altered":
      return ["DATA_LOSS", "its checksum is another"];
    case "too-large":
      return ["RESOURCE_EXHAUSTED", `a request is larger than ${max} bytes`];
    case "truncated":
      return ["INTERNAL", "the request stream ended inside a message"];
    case "compressed-without-encoding":
      return ["INTERNAL", "a compressed request without grpc-encoding"];
    case "bad-flag":
      return ["INTERNAL", "a request's flag is neither 0 nor 1"];
    case "corrupt":
      return ["INTERNAL", "a compressed request cannot be read"];
    case "invalid":
      return ["INTERNAL", `a request cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`];
  }
}

/** An upper bound of the bytes that {@link encodePairs} writes. */
export function pairsBytesMax(pairs: readonly (string | Uint8Array)[]): number {
  let bytes = 0;
  for (let i = 0; i < pairs.length; i += 2) {
    const value = pairs[i + 1] as string | Uint8Array;
    const length = typeof value === "string" ? value.length : Math.ceil(value.length / 3) * 4;
    bytes += HpackEncoder.sizeMax((pairs[i] as string).length, length);
  }
  return bytes;
}

/** What metadata counts against a peer's MAX_HEADER_LIST_SIZE (RFC 9113 6.5.2). */
export function pairsListBytes(pairs: readonly (string | Uint8Array)[]): number {
  let bytes = 0;
  for (let i = 0; i < pairs.length; i += 2) {
    const value = pairs[i + 1] as string | Uint8Array;
    const length = typeof value === "string" ? value.length : Math.ceil((value.length * 4) / 3);
    bytes += (pairs[i] as string).length + length + 32;
  }
  return bytes;
}

/** Writes metadata as fields; binary values as base64, credentials never indexed. */
export function encodePairs(
  encoder: HpackEncoder,
  pairs: readonly (string | Uint8Array)[],
  out: Buffer,
  start: number,
): number {
  let at = start;
  for (let i = 0; i < pairs.length; i += 2) {
    const name = pairs[i] as string;
    const value = pairs[i + 1] as string | Uint8Array;
    const text = typeof value === "string" ? value : binaryToText(value);
    at = isSensitive(name) ? encoder.sensitive(name, text, out, at) : encoder.field(name, text, out, at);
  }
  return at;
}

function isSensitive(name: string): boolean {
  return name === "authorization" || name === "cookie" || name === "set-cookie" || name === "proxy-authorization";
}
