/** A limit for what may hang: the test then fails and says what hung, instead of running for ever. */
import type { PeerClient, PeerServer } from "./peer.ts";

const LIMIT_MS = 20_000;

/** Rejects if `work` takes longer than 20 s, which is far more than any step of the suites needs. */
export async function inTime<T>(work: Promise<T>, what: string): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`${what}: nothing after ${LIMIT_MS} ms`)), LIMIT_MS);
  try {
    return await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** The same client, within the limit. */
export function limitedClient(client: PeerClient): PeerClient {
  return {
    call: (plan) => inTime(client.call(plan), `a call of ${plan.method.name}`),
    close: () => inTime(client.close(), "closing a client"),
  };
}

/** The same server, within the limit. */
export function limitedServer(server: PeerServer): PeerServer {
  return { port: server.port, close: () => inTime(server.close(), "closing a server") };
}
