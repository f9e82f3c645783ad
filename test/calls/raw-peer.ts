/**
 * Peers that a test scripts frame by frame, on Node's own HTTP/2: what no correct client or server of ours would send.
 */
import { once } from "node:events";
import {
  type ClientHttp2Session,
  type ClientSessionOptions,
  connect,
  createServer,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Stream,
  type ServerOptions,
} from "node:http2";

export type { ServerHttp2Stream };
export const GRPC_HEADERS = { ":status": 200, "content-type": "application/grpc+proto" } as const;

export interface RawServer extends AsyncDisposable {
  readonly address: string;
  /** Headers of the requests so far. */
  readonly requests: readonly IncomingHttpHeaders[];
}

/** `answer` gets each stream and the number of the request, from 1; `options` are those of Node's server. */
export async function rawServer(
  answer: (stream: ServerHttp2Stream, number: number) => void,
  options: ServerOptions = {},
): Promise<RawServer> {
  const requests: IncomingHttpHeaders[] = [];
  const server = createServer(options);
  const sessions = new Set<{ destroy(): void }>();
  server.on("session", (session) => {
    sessions.add(session);
    session.on("error", () => {});
  });
  server.on("stream", (stream, headers) => {
    requests.push(headers);
    stream.on("error", () => {});
    stream.resume();
    answer(stream, requests.length);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const at = server.address();
  const port = typeof at === "object" && at !== null ? at.port : 0;
  return {
    address: `127.0.0.1:${port}`,
    requests,
    async [Symbol.asyncDispose]() {
      for (const session of sessions) session.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Answers with one message and a status. */
export function answerGrpc(
  stream: ServerHttp2Stream,
  message: Buffer | undefined,
  trailers: OutgoingHttpHeaders,
): void {
  if (message === undefined) {
    stream.respond({ ...GRPC_HEADERS, ...trailers }, { endStream: true });
    return;
  }
  stream.respond(GRPC_HEADERS, { waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers(trailers));
  stream.end(message);
}

/** A gRPC message: flag, length, payload. */
export function framed(payload: Uint8Array, flag = 0): Buffer {
  const prefix = Buffer.alloc(5);
  prefix[0] = flag;
  prefix.writeUInt32BE(payload.length, 1);
  return Buffer.concat([prefix, payload]);
}

/** What a raw request was answered with. */
export interface RawAnswer {
  readonly header: IncomingHttpHeaders;
  readonly trailer: IncomingHttpHeaders;
  readonly body: Buffer;
}

export interface RawClient extends AsyncDisposable {
  readonly session: ClientHttp2Session;
  /** Sends headers over gRPC's usual ones, and a body; undefined leaves the request open. */
  request(path: string, body: Buffer | undefined, headers?: OutgoingHttpHeaders): Promise<RawAnswer>;
}

/** `options` are those of Node's client. */
export async function rawClient(address: string, options: ClientSessionOptions = {}): Promise<RawClient> {
  const session = connect(`http://${address}`, options);
  session.on("error", () => {});
  await once(session, "connect");
  return {
    session,
    request: (path, body, headers) => request(session, path, body, headers),
    async [Symbol.asyncDispose]() {
      session.destroy();
    },
  };
}

async function request(
  session: ClientHttp2Session,
  path: string,
  body: Buffer | undefined,
  headers: OutgoingHttpHeaders = {},
): Promise<RawAnswer> {
  const stream = session.request({
    ":method": "POST",
    ":path": path,
    "content-type": "application/grpc+proto",
    te: "trailers",
    ...headers,
  });
  let header: IncomingHttpHeaders = {};
  let trailer: IncomingHttpHeaders = {};
  const chunks: Buffer[] = [];
  stream.on("response", (fields) => {
    header = fields;
  });
  stream.on("trailers", (fields) => {
    trailer = fields;
  });
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  if (body !== undefined && !stream.writableEnded) stream.end(body);
  await once(stream, "close");
  return { header, trailer, body: Buffer.concat(chunks) };
}
