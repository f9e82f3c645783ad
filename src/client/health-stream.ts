/**
 * One health Watch on one connection (`/grpc.health.v1.Health/Watch`): a stream that is no call. It has no deadline, no token and no
 * record, it takes part in nothing that calls are limited or judged by, and it hands on what the server says.
 */
import { codeNumber, codesByNumber } from "../call/code.ts";
import { compileCodec, type MessageCodec } from "../schema/codec.ts";
import {
  type HealthCheckResponse,
  HealthCheckRequestSchema,
  HealthCheckResponseSchema,
} from "../schema/gen/grpc/health/v1/health_pb.ts";
import { MessageDeframer, messagePrefixBytes, writeMessagePrefix } from "../wire/grpc/deframer.ts";
import { codeFromHttp2Error, codeFromHttpStatus, decodeStatusMessage, parseStatusCode } from "../wire/grpc/status.ts";
import { type Field, type FieldSection, PSEUDO_STATUS } from "../wire/http2/field.ts";
import { CANCEL } from "../wire/http2/frame.ts";
import { FieldToken, type HpackEncoder } from "../wire/http2/hpack-encoder.ts";
import type { HeaderSource, Http2Stream } from "../wire/http2/stream.ts";
import type { AsideStream, ClientConnection } from "../wire/transport/client-connection.ts";
import type { StreamOwner } from "../wire/transport/connection.ts";
import { contentTypeOf } from "../wire/transport/header-reader.ts";
import { decodeMessage } from "../wire/transport/message-inbox.ts";
import {
  contentTypeGrpc,
  methodPost,
  NAME_CONTENT_TYPE,
  NAME_GRPC_MESSAGE,
  NAME_GRPC_STATUS,
  teTrailers,
  userAgent,
} from "../wire/transport/names.ts";

/** Who is told what a Watch says. */
export interface HealthListener {
  /** The server said this; a number of `HealthCheckResponse.ServingStatus`, perhaps one that is not known yet. */
  healthSaid(status: number): void;
  /** The Watch is over, and neither we nor the connection's end did it. `text` is for people. */
  healthEnded(code: number, text: string): void;
  /** The Watch was given up, for the peer allows so few streams that it would stand in the way of calls. */
  healthGaveWay(): void;
}

/** What every Watch of a channel sends. */
export interface HealthRequest {
  /** A service's full name; "" is the server as a whole. */
  readonly service: string;
  readonly scheme: FieldToken;
  /** The one message, with its prefix. */
  readonly bytes: Buffer;
}

/** A status is two bytes; what is much longer is something else. */
const MESSAGE_BYTES_MAX = 4_096;
/** The fixed fields of the request's headers, at most. */
const HEAD_BYTES = 256;
const path: FieldToken = new FieldToken(":path", "/grpc.health.v1.Health/Watch");

export function healthRequest(service: string, scheme: FieldToken): HealthRequest {
  const message = compileCodec(HealthCheckRequestSchema).encode({ service });
  const bytes = Buffer.alloc(messagePrefixBytes + message.length);
  writeMessagePrefix(bytes, 0, false, message.length);
  message.copy(bytes, messagePrefixBytes);
  return { service, scheme, bytes };
}

/** Opens a Watch. Ask `connection.canStart` before; a connection has one at a time. */
export function openHealthStream(
  connection: ClientConnection,
  listener: HealthListener,
  request: HealthRequest,
  authority: FieldToken,
  nowMs: number,
): HealthStream {
  const { engine } = connection;
  const stream = engine.openStream(undefined, nowMs);
  const watch = new HealthStream(connection, stream, listener, request, authority);
  stream.owner = watch;
  connection.aside = watch;
  engine.sendHeaders(stream, watch, false);
  engine.sendData(stream, request.bytes, true);
  connection.scheduleFlush();
  return watch;
}

export class HealthStream implements StreamOwner, HeaderSource, AsideStream {
  readonly stream: Http2Stream;
  readonly #connection: ClientConnection;
  readonly #listener: HealthListener;
  readonly #request: HealthRequest;
  readonly #authority: FieldToken;
  readonly #codec: MessageCodec<HealthCheckResponse>;
  readonly #deframer: MessageDeframer;
  #hasAnswered: boolean;
  #isEnded: boolean;
  /** grpc-status; -1 while it has not come. */
  #status: number;
  #text: string;

  constructor(
    connection: ClientConnection,
    stream: Http2Stream,
    listener: HealthListener,
    request: HealthRequest,
    authority: FieldToken,
  ) {
    this.stream = stream;
    this.#connection = connection;
    this.#listener = listener;
    this.#request = request;
    this.#authority = authority;
    this.#codec = compileCodec(HealthCheckResponseSchema);
    this.#deframer = new MessageDeframer(MESSAGE_BYTES_MAX);
    this.#hasAnswered = false;
    this.#isEnded = false;
    this.#status = -1;
    this.#text = "";
  }

  /** Ends it from our side; its listener is not told. */
  leave(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    if (this.#connection.aside === this) this.#connection.aside = undefined;
    this.#connection.leave(this.stream, CANCEL);
  }

  giveWay(): void {
    this.leave();
    this.#listener.healthGaveWay();
  }

  headerBytesMax(): number {
    return HEAD_BYTES + this.#authority.value.length;
  }

  encodeHeaders(encoder: HpackEncoder, out: Buffer, start: number): number {
    let at = encoder.token(methodPost, out, start);
    at = encoder.token(this.#request.scheme, out, at);
    at = encoder.token(path, out, at);
    at = encoder.token(this.#authority, out, at);
    at = encoder.token(contentTypeGrpc, out, at);
    at = encoder.token(teTrailers, out, at);
    return encoder.token(userAgent, out, at);
  }

  onHeaders(section: FieldSection, ends: boolean): void {
    if (this.#isEnded) return;
    let httpStatus = this.#hasAnswered ? 200 : 0;
    let isGrpc = this.#hasAnswered;
    for (let i = 0; i < section.count; i++) {
      const field = section.fields[i] as Field;
      if (field.nameId === PSEUDO_STATUS) httpStatus = Number(field.value);
      else if (field.nameId === NAME_CONTENT_TYPE) isGrpc = contentTypeOf(field) !== undefined;
      else if (field.nameId === NAME_GRPC_STATUS) this.#status = parseStatusCode(field.value) ?? codeNumber("UNKNOWN");
      else if (field.nameId === NAME_GRPC_MESSAGE) this.#text = decodeStatusMessage(field.value);
    }
    this.#hasAnswered = true;
    // A status that is there counts, whatever stands around it (grpc/doc/http-grpc-status-mapping.md).
    if (ends && this.#status >= 0) {
      this.#ended();
    } else if (httpStatus !== 200 || !isGrpc) {
      const code = httpStatus === 200 ? "UNKNOWN" : codeFromHttpStatus(httpStatus);
      this.#fail(codeNumber(code), `it answered HTTP ${httpStatus}, not gRPC`);
    } else if (ends) {
      this.#ended();
    }
  }

  onData(bytes: Buffer, start: number, end: number, ends: boolean): void {
    this.#connection.consumed(this.stream, end - start);
    if (this.#isEnded) return;
    const deframer = this.#deframer;
    deframer.push(bytes, start, end);
    // What its listener does may end it.
    while (!this.#isEnded && deframer.next()) this.#read();
    if (this.#isEnded) return;
    if (deframer.error !== undefined) this.#fail(codeNumber("INTERNAL"), `it sent no message: ${deframer.error}`);
    else if (ends) this.#ended();
  }

  onReset(code: number, _isUnprocessed: boolean, text: string): void {
    if (this.#isEnded) return;
    // The connection is over: whoever holds it is told of that, and opens another Watch elsewhere. (Of a goodbye too, before this is.)
    if (code < 0) this.leave();
    else this.#fail(codeNumber(codeFromHttp2Error(code)), text);
  }

  onWritable(): void {
    // One small message; the window of a new stream always holds it, or it goes when there is window.
  }

  #read(): void {
    let status: number;
    try {
      status = decodeMessage(this.#deframer, this.#codec, undefined, MESSAGE_BYTES_MAX, undefined).status;
    } catch {
      this.#fail(codeNumber("INTERNAL"), "it sent a message that cannot be read");
      return;
    }
    this.#listener.healthSaid(status);
  }

  /** The server has ended it, with a status if it said one. */
  #ended(): void {
    if (this.#status < 0) this.#fail(codeNumber("INTERNAL"), "it ended without a status");
    else this.#fail(this.#status, this.#text);
  }

  #fail(code: number, text: string): void {
    this.leave();
    const name = codesByNumber[code] ?? "UNKNOWN";
    this.#listener.healthEnded(code, text === "" ? name : `${name}: ${text}`);
  }
}
