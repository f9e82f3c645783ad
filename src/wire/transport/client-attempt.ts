/**
 * Hot path: one try of a call on one connection, from its HEADERS to its status. What it learns stands in its fields when
 * it tells its owner; whether to try again is not decided here.
 */
import { type Code, codeNumber } from "../../call/code.ts";
import { type AnnouncedStore, isSameStore, NO_STORE } from "../../call/dedup.ts";
import { type ErrorDetail, failure } from "../../call/error.ts";
import type { FaultKind } from "../../call/fault.ts";
import type { Reason } from "../../call/reason.ts";
import {
  CHECKSUM_CHARACTERS,
  CHECKSUM_UNREADABLE,
  type ChecksumSink,
  checksumOf,
  readChecksum,
  readChecksumText,
  writeChecksum,
} from "../grpc/checksum.ts";
import type { Encoding } from "../grpc/compression.ts";
import { parseServerReason } from "../grpc/dedup-wire.ts";
import { MessageDeframer, messagePrefixBytes } from "../grpc/deframer.ts";
import type { MessageCodec } from "../grpc/message-codec.ts";
import { textToBinary } from "../grpc/metadata-wire.ts";
import { codeFromHttp2Error, codeFromHttpStatus, decodeStatusMessage, parseStatusCode } from "../grpc/status.ts";
import { decodeStatusDetails } from "../grpc/status-details.ts";
import { type Field, type FieldSection, PSEUDO_STATUS } from "../http2/field.ts";
import { CANCEL, REFUSED_STREAM } from "../http2/frame.ts";
import type { HpackEncoder } from "../http2/hpack-encoder.ts";
import type { HeaderSource, Http2Stream } from "../http2/stream.ts";
import type { ClientConnection } from "./client-connection.ts";
import type { StreamOwner } from "./connection.ts";
import { appendField, contentTypeOf, encodingIn, type Pairs, storeIn } from "./header-reader.ts";
import {
  decodeMessage,
  type InboxOwner,
  type InboxProblem,
  isLengthDoubtful,
  type MessageCheck,
  MessageInbox,
  type MessageProblem,
} from "./message-inbox.ts";
import {
  integrityCrc32,
  NAME_CHECKSUM,
  NAME_CONTENT_TYPE,
  NAME_DEDUP,
  NAME_DEDUPLICATED,
  NAME_HEALTH,
  NAME_GRPC_ACCEPT_ENCODING,
  NAME_GRPC_ENCODING,
  NAME_GRPC_MESSAGE,
  NAME_GRPC_STATUS,
  NAME_GRPC_STATUS_DETAILS,
  NAME_INTEGRITY,
  NAME_NOT_RUN,
  NAME_PUSHBACK,
  NAME_RESUME_TOKEN,
  NAME_REASON,
  nameChecksum,
  RAW_CHECKSUM,
} from "./names.ts";
import { sendMessage } from "./send-message.ts";

/** The call that an attempt belongs to. */
export interface AttemptOwner {
  readonly requestCodec: MessageCodec;
  readonly replyCodec: MessageCodec;
  readonly isReplyStream: boolean;
  readonly messageBytesMax: number;
  readonly requestEncoding: Encoding | undefined;
  /** Bounds and writes the request's header section. */
  headBytesMax(attempt: ClientAttempt): number;
  encodeHead(encoder: HpackEncoder, out: Buffer, at: number, attempt: ClientAttempt): number;
  /** Response headers have come (not for trailers-only answers). */
  attemptAnswered(attempt: ClientAttempt): void;
  /** The reply is not the one that was sent, as `text` says; it is handed on all the same, for integrity is only observed. */
  attemptDiffers(attempt: ClientAttempt, text: string): void;
  /** The last word; `code` and what stands beside it are set. */
  attemptEnded(attempt: ClientAttempt): void;
  /** Sent messages have left the queue. */
  attemptWritable(attempt: ClientAttempt): void;
}

/** Who makes attempts suffer, and counts those that do. */
export interface AttemptInjector {
  ended(): void;
}

/** Stands for headers without metadata: that headers came at all is the commit point. */
const NO_PAIRS: Pairs = [];

/** What becomes of checksums: nobody asked for any; compared, and a difference noted; compared, and a difference ends the attempt. */
export const INTEGRITY_OFF = 0;
export const INTEGRITY_OBSERVED = 1;
export const INTEGRITY_ON = 2;

const DATA_LOSS: number = codeNumber("DATA_LOSS");
const NOT_YET = "00000000";

export class ClientAttempt implements StreamOwner, HeaderSource, InboxOwner, MessageCheck, ChecksumSink {
  readonly owner: AttemptOwner;
  readonly connection: ClientConnection;
  readonly number: number;
  stream: Http2Stream | undefined;
  /** Metadata of the response headers; undefined until they have come, and for an answer that is trailers only. */
  header: Pairs | undefined;
  trailer: Pairs | undefined;
  /** What its trailers say of where another call can go on. */
  resumeToken: Uint8Array | undefined;
  hasAnswered: boolean;
  isEnded: boolean;
  /** The one reply of a call that has one, and how many came. */
  reply: unknown;
  replies: number;
  /** Messages of a reply stream. */
  inbox: MessageInbox | undefined;
  /** The outcome, when `isEnded`: a gRPC status number. */
  code: number;
  text: string;
  reason: Reason | undefined;
  fault: FaultKind | undefined;
  /** "no": provably no handler saw it. */
  reached: "no" | "maybe" | "yes";
  retryAfterMs: number | undefined;
  details: readonly ErrorDetail[] | undefined;
  cause: unknown;
  /** The store of first answers that its answer announced; NO_STORE: more than one. */
  announced: AnnouncedStore | undefined;
  /** Its answer is that of an earlier attempt, from the store. */
  isDeduplicated: boolean;
  /** For tests: what becomes of the first payload of the reply. */
  damage: ((payload: Buffer) => Buffer) | undefined;
  /** For tests: who made it suffer is told once, when it ends. */
  injector: AttemptInjector | undefined;
  /** Of the request that was sent, then of the reply that came. */
  checksum: number;
  #encoding: Encoding | undefined;
  /** For a single reply that came in parts, and what came so. */
  #deframer: MessageDeframer | undefined;
  #partBytes: number;
  /** INTEGRITY_*: what the peer was asked for, and what the reply's headers say that its trailers will allow. */
  #asked: number;
  #integrity: number;
  /** Where the request's checksum is to be written; the place stays known when it was, the buffer does not. */
  #checksumOut: Buffer | undefined;
  #checksumAt: number;
  /** What the trailers say of the reply; undefined: nothing. */
  #said: number | undefined;
  /** The reply could not be decoded, and why: its checksum will tell whose fault that is. */
  #isUnreadable: boolean;
  #unreadable: unknown;
  /** Why the server itself ended the call, as its trailers say. */
  #serverReason: Reason | undefined;

  constructor(owner: AttemptOwner, connection: ClientConnection, number: number) {
    this.owner = owner;
    this.connection = connection;
    this.number = number;
    this.stream = undefined;
    this.header = undefined;
    this.trailer = undefined;
    this.resumeToken = undefined;
    this.hasAnswered = false;
    this.isEnded = false;
    this.reply = undefined;
    this.replies = 0;
    this.inbox = undefined;
    this.code = -1;
    this.text = "";
    this.reason = undefined;
    this.fault = undefined;
    this.reached = "maybe";
    this.retryAfterMs = undefined;
    this.details = undefined;
    this.cause = undefined;
    this.announced = undefined;
    this.isDeduplicated = false;
    this.damage = undefined;
    this.injector = undefined;
    this.checksum = 0;
    this.#encoding = undefined;
    this.#deframer = undefined;
    this.#partBytes = 0;
    this.#asked = INTEGRITY_OFF;
    this.#integrity = INTEGRITY_OFF;
    this.#checksumOut = undefined;
    this.#checksumAt = -1;
    this.#said = undefined;
    this.#isUnreadable = false;
    this.#unreadable = undefined;
    this.#serverReason = undefined;
  }

  /** Opens the stream and sends the headers. */
  start(nowMs: number): void {
    const engine = this.connection.engine;
    this.stream = engine.openStream(this, nowMs);
    if (this.owner.isReplyStream) {
      this.connection.longStreams += 1;
      this.#openInbox();
    }
    engine.sendHeaders(this.stream, this, false);
    this.connection.scheduleFlush();
  }

  /** Sends a request message and returns its bytes. Throws what the codec throws; then nothing was sent. */
  send(message: unknown, ends: boolean): number {
    const stream = this.stream as Http2Stream;
    const { requestCodec, requestEncoding } = this.owner;
    const out = this.#checksumOut;
    const sink = out === undefined ? undefined : this;
    const bytes = sendMessage(this.connection.engine, stream, requestCodec, message, requestEncoding, ends, sink);
    if (out !== undefined) {
      // The headers leave at the end of this turn, with the message: until then their bytes are ours.
      writeChecksum(out, this.#checksumAt, this.checksum);
      this.#checksumOut = undefined;
    }
    this.connection.scheduleFlush();
    return bytes;
  }

  /** Ends the request stream. */
  endRequests(): void {
    if (this.stream === undefined || this.isEnded) return;
    this.connection.engine.endStream(this.stream);
    this.connection.scheduleFlush();
  }

  /** Whether the peer's window, and ours to the kernel, have room for another message. */
  get canSend(): boolean {
    return this.stream !== undefined && this.stream.queuedBytes === 0;
  }

  /** Ends it from our side: the owner is not told. The peer is, by RST_STREAM, as far as the connection's pace of resets allows. */
  cancel(): void {
    if (this.isEnded) return;
    this.isEnded = true;
    this.#leave(CANCEL);
  }

  /** For tests: ends it as a server that answers with this code would. */
  failInjected(code: Code): void {
    this.#fail(code, "injected by a chaos plan", undefined, "status", "yes");
  }

  /** Ends it from our side, as failed: its own time is over. */
  timeOut(timeoutMs: number): void {
    const text = `the attempt had no answer within ${timeoutMs} ms`;
    this.#fail("DEADLINE_EXCEEDED", text, undefined, "attempt-timeout", this.hasAnswered ? "yes" : "maybe");
  }

  headerBytesMax(): number {
    return this.owner.headBytesMax(this);
  }
  encodeHeaders(encoder: HpackEncoder, out: Buffer, at: number): number {
    return this.owner.encodeHead(encoder, out, at, this);
  }

  /**
   * Asks for the reply's checksum and, if the peer compares them, makes room for that of the only request, which is sent in this turn.
   * Headers that are no part of the connection's output, because they take more than a frame, go without.
   */
  encodeIntegrity(encoder: HpackEncoder, out: Buffer, at: number, integrity: number, hasOneRequest: boolean): number {
    this.#asked = integrity;
    const end = encoder.token(integrityCrc32, out, at);
    const { connection } = this;
    // Where integrity is only observed, the peer must not refuse for it.
    const isGiven = hasOneRequest && integrity === INTEGRITY_ON && connection.isPeerChecking;
    if (!isGiven || out !== connection.engine.output.bytes) return end;
    const next = encoder.literalText(nameChecksum, NOT_YET, out, end);
    this.#checksumOut = out;
    this.#checksumAt = next - CHECKSUM_CHARACTERS;
    return next;
  }

  onHeaders(section: FieldSection, ends: boolean): void {
    if (section.isTruncated) {
      this.#fail(
        "RESOURCE_EXHAUSTED",
        "the response's metadata is over the limit",
        "METADATA_TOO_LARGE",
        "unreadable",
        "yes",
      );
      return;
    }
    const isAnswer = !this.hasAnswered;
    let status = -1;
    let httpStatus = isAnswer ? 0 : 200;
    let codec: string | undefined = isAnswer ? undefined : "proto";
    let contentType: string | undefined;
    let pairs: Pairs | undefined;
    let isDegraded = false;
    for (let i = 0; i < section.count; i++) {
      const field = section.fields[i] as Field;
      switch (field.nameId) {
        case PSEUDO_STATUS:
          httpStatus = field.value === "200" ? 200 : Number(field.value);
          break;
        case NAME_CONTENT_TYPE:
          codec = contentTypeOf(field);
          contentType = field.value;
          break;
        case NAME_GRPC_STATUS:
          status = field.value === "0" ? 0 : (parseStatusCode(field.value) ?? 2);
          break;
        case NAME_GRPC_MESSAGE:
          this.text = decodeStatusMessage(field.value);
          break;
        case NAME_GRPC_STATUS_DETAILS:
          this.#readDetails(field.value);
          break;
        case NAME_GRPC_ENCODING:
          this.#encoding = encodingIn(field);
          if (this.#encoding === undefined) {
            this.#fail(
              "INTERNAL",
              `the peer sent the unknown encoding "${field.value}"`,
              "COMPRESSION_UNKNOWN",
              "protocol",
              "yes",
            );
            return;
          }
          break;
        case NAME_PUSHBACK:
          this.retryAfterMs = /^-?\d{1,9}$/.test(field.value) ? Number(field.value) : -1;
          break;
        case NAME_NOT_RUN:
          if (this.reached !== "yes") this.reached = "no";
          break;
        case NAME_INTEGRITY:
          if (isAnswer && this.#asked !== INTEGRITY_OFF && field.value === integrityCrc32.value) {
            this.connection.isPeerChecking = true;
            this.#integrity = this.#asked;
          }
          break;
        case NAME_CHECKSUM:
          this.#said = this.#said === undefined ? readChecksumText(field.value) : CHECKSUM_UNREADABLE;
          break;
        case NAME_RESUME_TOKEN:
          if (ends) this.resumeToken = textToBinary(field.value);
          break;
        case NAME_DEDUP:
          this.#readStore(storeIn(field));
          break;
        case NAME_DEDUPLICATED:
          this.isDeduplicated = field.value === "1";
          break;
        case NAME_REASON:
          this.#serverReason = parseServerReason(field.value);
          break;
        case NAME_HEALTH:
          isDegraded = field.value === "degraded";
          break;
        case NAME_GRPC_ACCEPT_ENCODING:
          break;
        default:
          pairs ??= [];
          if (!appendField(pairs, field.name, field.value)) {
            this.#fail("INTERNAL", `metadata "${field.name}" is no base64`, "PROTOCOL_ERROR", "protocol", "yes");
            return;
          }
      }
    }
    this.hasAnswered = true;
    if (ends) {
      const saidEnd = section.rawEnd[RAW_CHECKSUM] as number;
      if (saidEnd !== 0) {
        const start = section.rawStart[RAW_CHECKSUM] as number;
        this.#said = this.#said === undefined ? readChecksum(section.rawBytes, start, saidEnd) : CHECKSUM_UNREADABLE;
      }
      if (isAnswer && status < 0 && (httpStatus !== 200 || codec === undefined)) {
        return this.#notGrpc(httpStatus, contentType);
      }
      this.trailer = pairs;
      // A refusal before the headers may be a proxy's, and says nothing of the server behind it.
      if (this.announced !== undefined) this.connection.heardStore(this.announced);
      if (isAnswer && isDegraded) this.connection.heardHealth(true);
      this.#status(status);
      return;
    }
    if (httpStatus !== 200 || codec === undefined) return this.#notGrpc(httpStatus, contentType);
    if (codec !== "proto") {
      this.#fail(
        "INTERNAL",
        `the peer answered with "${contentType}", expected application/grpc+proto`,
        "NOT_GRPC",
        "protocol",
        "yes",
      );
      return;
    }
    this.connection.heardStore(this.announced);
    this.connection.heardHealth(isDegraded);
    this.header = pairs ?? NO_PAIRS;
    this.reached = "yes";
    if (this.inbox !== undefined) this.inbox.encoding = this.#encoding;
    this.owner.attemptAnswered(this);
  }

  onData(given: Buffer, from: number, to: number, ends: boolean): void {
    let bytes = given;
    let start = from;
    let end = to;
    if (this.damage !== undefined && to > from) {
      bytes = this.damage(given.subarray(from, to));
      this.damage = undefined;
      start = 0;
      end = bytes.length;
      // What is cut off was received all the same: its window returns.
      if (end < to - from) this.connection.consumed(this.stream as Http2Stream, to - from - end);
    }
    if (this.inbox !== undefined) {
      this.inbox.push(bytes, start, end);
    } else {
      const length = end - start;
      const isWhole =
        this.replies === 0 &&
        // In the middle of a message anything may look like a prefix.
        this.#deframer === undefined &&
        length >= messagePrefixBytes &&
        bytes[start] === 0 &&
        bytes.readUInt32BE(start + 1) === length - messagePrefixBytes &&
        length <= this.owner.messageBytesMax;
      if (isWhole) this.#readWhole(bytes, start, end);
      else this.#readParts(bytes, start, end);
    }
    if (ends && !this.isEnded) this.#status(-1);
  }

  onReset(code: number, isUnprocessed: boolean, text: string): void {
    if (this.isEnded) return;
    if (code === REFUSED_STREAM) this.connection.streamRefused();
    if (isUnprocessed || code === REFUSED_STREAM) {
      this.#fail("UNAVAILABLE", text, undefined, code === REFUSED_STREAM ? "stream-refused" : "goaway", "no");
    } else if (code < 0) {
      const reached = this.hasAnswered ? "yes" : "maybe";
      this.#fail("UNAVAILABLE", text, "CONNECTION_LOST", "reset", reached);
    } else {
      const status = codeFromHttp2Error(code);
      this.#fail(status, text, "STREAM_RESET", "reset", this.hasAnswered ? "yes" : "maybe");
    }
  }

  onWritable(): void {
    if (!this.isEnded) this.owner.attemptWritable(this);
  }

  inboxConsumed(bytes: number): void {
    this.connection.consumed(this.stream as Http2Stream, bytes);
  }

  inboxExpects(bytes: number): boolean {
    return this.connection.expect(this.stream as Http2Stream, bytes);
  }

  inboxBroken(problem: InboxProblem, cause: unknown): unknown {
    const code = problem === "too-large" ? "RESOURCE_EXHAUSTED" : "INTERNAL";
    const text = this.#problemText(problem, cause);
    const reason =
      problem === "too-large" ? "MESSAGE_TOO_LARGE" : isBadContent(problem) ? "INVALID_MESSAGE" : "PROTOCOL_ERROR";
    // The status may have come before the reader came to this message: then the call is over, and only the reader is told.
    const isLate = this.isEnded;
    this.cause = cause;
    // Over our limit, or not of our type: the peer's other replies are not worse for it. What cannot be decompressed was never well.
    const fault = problem === "too-large" || problem === "invalid" ? "unreadable" : "protocol";
    this.#fail(code, text, reason, fault, "yes");
    return isLate ? failure({ code, text, reason, reached: "yes", cause }) : undefined;
  }

  /** Notes the checksum of the reply: what it should be, its trailers will say. */
  isIntact(bytes: Buffer, start: number, end: number): boolean {
    if (this.#integrity !== INTEGRITY_OFF) this.checksum = checksumOf(bytes, start, end);
    return true;
  }

  #problemText(problem: InboxProblem, cause: unknown): string {
    switch (problem) {
      case "altered":
        return "a reply's checksum is another";
      case "too-large":
        return `a reply is larger than ${this.owner.messageBytesMax} bytes`;
      case "truncated":
        return "the reply stream ended inside a message";
      case "compressed-without-encoding":
        return "a compressed reply without grpc-encoding";
      case "bad-flag":
        return "a reply's flag is neither 0 nor 1";
      case "corrupt":
      case "invalid":
        return `a reply cannot be read: ${textOf(cause)}`;
    }
  }

  /** The whole of the only message, in place. */
  #readWhole(bytes: Buffer, start: number, end: number): void {
    this.connection.consumed(this.stream as Http2Stream, end - start);
    this.replies = 1;
    this.isIntact(bytes, start + messagePrefixBytes, end);
    try {
      this.reply = this.owner.replyCodec.decode(bytes, start + messagePrefixBytes, end);
    } catch (error) {
      this.#replyBroken("invalid", error);
    }
  }

  /** A message in parts, a compressed one, or one too many. */
  #readParts(bytes: Buffer, start: number, end: number): void {
    this.connection.consumed(this.stream as Http2Stream, end - start);
    this.#deframer ??= new MessageDeframer(this.owner.messageBytesMax);
    const deframer = this.#deframer;
    this.#partBytes += end - start;
    deframer.push(bytes, start, end);
    while (deframer.next()) {
      this.replies += 1;
      try {
        this.reply = decodeMessage(deframer, this.owner.replyCodec, this.#encoding, this.owner.messageBytesMax, this);
      } catch (error) {
        this.#replyBroken((error as MessageProblem).problem, (error as MessageProblem).cause);
        if (this.isEnded) return;
      }
    }
    const isChecked = this.#integrity === INTEGRITY_ON;
    if (isChecked && isLengthDoubtful(deframer, this.#partBytes, this.owner.messageBytesMax, false)) return;
    if (deframer.error !== undefined) this.#replyBroken(deframer.error, undefined);
    else if (deframer.missingBytes > 0) deframer.isWholeGranted = this.inboxExpects(deframer.missingBytes);
  }

  #openInbox(): void {
    this.inbox = new MessageInbox(this, this.owner.replyCodec, this.owner.messageBytesMax);
  }

  /** The stream has ended with this grpc-status; -1 if it had none. */
  #status(status: number): void {
    if (status < 0) {
      this.#fail("INTERNAL", "the peer ended the call without a status", "PROTOCOL_ERROR", "protocol", "yes");
      return;
    }
    if (this.#deframer?.isMidMessage === true) {
      this.#replyBroken("truncated", undefined);
      return;
    }
    if (status === 0 && this.#integrity !== INTEGRITY_OFF && this.inbox === undefined) this.#compare();
    this.#finish(status);
  }

  /** The one reply cannot be read. With a checksum to come, that may be seen to be the network's fault. */
  #replyBroken(problem: InboxProblem, cause: unknown): void {
    if (this.#integrity !== INTEGRITY_ON || problem === "too-large") {
      this.inboxBroken(problem, cause);
    } else if (problem === "invalid") {
      this.#isUnreadable = true;
      this.#unreadable = cause;
    } else {
      // Its peer has sent it whole: what its frame says against that happened on the way.
      this.#altered(this.#problemText(problem, cause));
    }
  }

  /** The trailers of a reply whose headers promised a checksum: nothing of it is handed on before. */
  #compare(): void {
    const text = this.#difference();
    if (text === undefined) {
      if (this.#isUnreadable) this.inboxBroken("invalid", this.#unreadable);
    } else if (this.#integrity === INTEGRITY_ON) {
      this.#altered(text);
    } else {
      this.owner.attemptDiffers(this, text);
    }
  }

  /** What shows that the reply is not the one that was sent; undefined: it is. */
  #difference(): string | undefined {
    const deframer = this.#deframer;
    if (deframer?.error === "too-large") {
      if (isLengthDoubtful(deframer, this.#partBytes, this.owner.messageBytesMax, true))
        return "its length was altered";
      this.inboxBroken("too-large", undefined);
      return undefined;
    }
    if (this.replies !== 1) return `there are ${this.replies} replies`;
    if (this.#said === undefined) return "its checksum is missing, although its headers promised one";
    return this.#said === this.checksum ? undefined : "its checksum is another";
  }

  #altered(text: string): void {
    this.#fail("DATA_LOSS", `the reply was altered on its way: ${text}`, "CORRUPT", "corrupt", "yes");
  }

  #finish(status: number): void {
    if (this.isEnded) return;
    if (status === 0 && !this.owner.isReplyStream && this.replies !== 1) {
      const text = this.replies === 0 ? "the peer answered OK without a reply" : "the peer sent more than one reply";
      this.#fail("UNIMPLEMENTED", text, "PROTOCOL_ERROR", "protocol", "yes");
      return;
    }
    this.isEnded = true;
    this.code = status;
    if (status !== 0) {
      this.fault = "status";
      this.reason = this.#serverReason;
      if (this.reached !== "no") {
        this.reached = "yes";
      } else if (status === DATA_LOSS && this.#checksumAt >= 0) {
        // The request arrived as another one, and its peer has seen that.
        this.fault = "corrupt";
        this.reason = "CORRUPT";
      }
    }
    this.#leave(CANCEL);
    this.owner.attemptEnded(this);
  }

  #notGrpc(httpStatus: number, contentType: string | undefined): void {
    const code = httpStatus === 200 ? "UNKNOWN" : codeFromHttpStatus(httpStatus);
    const text = `the peer answered HTTP ${httpStatus} with content-type ${contentType ?? "none"}, not gRPC`;
    this.#fail(code, text, "NOT_GRPC", "protocol", "maybe");
  }

  /** Said twice it must be the same: else nothing of it is believed. */
  #readStore(store: AnnouncedStore | undefined): void {
    const { announced } = this;
    this.announced = announced === undefined || isSameStore(announced, store) ? store : NO_STORE;
  }

  #readDetails(value: string): void {
    const bytes = textToBinary(value);
    const status = bytes === undefined ? undefined : decodeStatusDetails(bytes);
    if (status === undefined) return;
    this.details = status.details;
    if (this.text === "" && status.message !== "") this.text = status.message;
  }

  #fail(
    code: Parameters<typeof codeNumber>[0],
    text: string,
    reason: Reason | undefined,
    fault: FaultKind,
    reached: "no" | "maybe" | "yes",
  ): void {
    if (this.isEnded) return;
    this.isEnded = true;
    this.code = codeNumber(code);
    this.text = text;
    this.reason = reason;
    this.fault = fault;
    this.reached = reached;
    this.#leave(CANCEL);
    this.owner.attemptEnded(this);
  }

  /** It has ended: lets go of the stream, resetting it if it is open. */
  #leave(code: number): void {
    this.injector?.ended();
    const stream = this.stream;
    if (stream === undefined || stream.owner !== this) return;
    if (this.owner.isReplyStream) this.connection.longStreams -= 1;
    this.connection.leave(stream, code);
  }
}

function isBadContent(problem: InboxProblem): boolean {
  return problem === "corrupt" || problem === "invalid";
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
