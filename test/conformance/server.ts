/** Holdfast's server as connectrpc/conformance drives it. */
import { createServer, type HandlerCall, RpcError } from "holdfast";
import { toRpcError } from "../peers/holdfast.ts";
import { runCompatServer } from "./compat-server.ts";
import { ConformanceService } from "./gen/connectrpc/conformance/v1/service_pb.js";
import { type ConformanceCall, conformanceHandlers } from "./service.ts";

await runCompatServer(async ({ tls, messageBytesMax }) => {
  const server = createServer({ limits: { messageBytesMax }, drain: { signals: [] } }).service(ConformanceService, {
    unary: (request, call) => settle(() => conformanceHandlers.unary(request, open(call))),
    idempotentUnary: (request, call) => settle(() => conformanceHandlers.idempotentUnary(request, open(call))),
    clientStream: (requests, call) => settle(() => conformanceHandlers.clientStream(requests, open(call))),
    serverStream: (request, call) => stream(() => conformanceHandlers.serverStream(request, open(call))),
    bidiStream: (requests, call) => stream(() => conformanceHandlers.bidiStream(requests, open(call))),
    unimplemented() {
      throw new RpcError("UNIMPLEMENTED", "left out on purpose");
    },
  });
  const { port } = await server.listen(0, tls === undefined ? {} : { tls });
  return {
    port,
    async close() {
      await server.close({ timeoutMs: 0 });
    },
  };
});

function open(call: HandlerCall): ConformanceCall {
  return {
    metadata: [...call.metadata],
    remainingMs: () => call.deadline.remainingMs(),
    setHeader: (name, value) => call.setHeader(name, value),
    setTrailer: (name, value) => call.setTrailer(name, value),
  };
}

async function settle<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw toRpcError(error);
  }
}

async function* stream<T>(begin: () => AsyncGenerator<T>): AsyncGenerator<T> {
  try {
    yield* begin();
  } catch (error) {
    throw toRpcError(error);
  }
}
