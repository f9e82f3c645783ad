import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createSecureServer, createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { ProbeFailure } from "../peers/probe-service.ts";
import { runCompatServer } from "./compat-server.ts";
import { ConformanceService } from "./gen/connectrpc/conformance/v1/service_pb.js";
import { conformanceHandlers as h, type ConformanceCall } from "./service.ts";
const t = (v: string | Uint8Array) => typeof v === "string" ? v : Buffer.from(v).toString("base64").replace(/=+$/, "");
function open(c: HandlerContext): ConformanceCall {
  return { metadata: [...c.requestHeader].flatMap(([k,v]) => v.split(", ").map(x => [k, k.endsWith("-bin") ? new Uint8Array(Buffer.from(x,"base64")) : x] as const)), remainingMs: () => c.timeoutMs() ?? Infinity,
    setHeader: (n, v) => c.responseHeader.append(n, t(v)), setTrailer: (n, v) => c.responseTrailer.append(n, t(v)) };
}
function err(e: unknown): unknown {
  if (!(e instanceof ProbeFailure)) return e;
  const ce = new ConnectError(e.failure.text, e.failure.code as Code);
  ce.details = e.failure.details.map(({ typeUrl, value }) => ({ type: typeUrl.slice(typeUrl.lastIndexOf("/") + 1), value }));
  return ce;
}
const u = async <T>(f: () => Promise<T>) => { try { return await f(); } catch (e) { throw err(e); } };
async function* st<T>(g: AsyncGenerator<T>) { try { yield* g; } catch (e) { throw err(e); } }
await runCompatServer(async ({ tls, messageBytesMax }) => {
  const handler = connectNodeAdapter({ connect: false, grpcWeb: false, readMaxBytes: messageBytesMax ?? 1e8, routes: (r) => void r.service(ConformanceService, {
    unary: (q, c) => u(() => h.unary(q, open(c))), idempotentUnary: (q, c) => u(() => h.idempotentUnary(q, open(c))),
    clientStream: (q, c) => u(() => h.clientStream(q, open(c))), serverStream: (q, c) => st(h.serverStream(q, open(c))), bidiStream: (q, c) => st(h.bidiStream(q, open(c))) }) });
  const s = tls ? createSecureServer({ cert: readFileSync(tls.certFile), key: readFileSync(tls.keyFile), ...(tls.clientCaFile ? { ca: readFileSync(tls.clientCaFile), requestCert: true, rejectUnauthorized: true } : {}) }, handler) : createServer(handler);
  s.listen(0, "127.0.0.1"); await once(s, "listening");
  return { port: (s.address() as AddressInfo).port, close: async () => process.exit(0) };
});
