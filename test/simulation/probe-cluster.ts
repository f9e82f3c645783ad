/**
 * What the tests of the whole stack stand on: the probe service with handlers of the test's own, contracts that differ in
 * what may be repeated, and waits in virtual time.
 */
import { annotate, type Handlers, type HandlerCall, RpcError, type Server } from "holdfast";
import type { Cluster } from "holdfast/testing";
import type { World } from "../../src/world/world.ts";
import { Probe } from "../peers/gen/holdfast/interop/v1/probe_pb.js";

export { Probe } from "../peers/gen/holdfast/interop/v1/probe_pb.js";

/** Everything may be repeated. `Probe` itself says nothing, so that nothing may that could have begun. */
export const SafeProbe = annotate(Probe, {
  unary: { effect: "none" },
  download: { effect: "none" },
  upload: { effect: "none" },
  chat: { effect: "none" },
});

export type ProbeHandlers = Handlers<typeof Probe>;

/** `Probe` to a server that keeps the first answers of its unary method. */
export const KeptProbe = annotate(Probe, { unary: { effect: "once" } }) as unknown as typeof Probe;

/** Adds the probe service; what is not given answers at once. */
export function probe(server: Server, handlers: Partial<ProbeHandlers> = {}, contract = Probe): Server {
  return server.service(contract, {
    unary: ({ body }) => ({ body }),
    async *download({ replyCount }) {
      for (let index = 0; index < replyCount; index++) yield { index };
    },
    async upload(requests) {
      let seenCount = 0;
      for await (const _ of requests) seenCount += 1;
      return { seenCount };
    },
    async *chat(requests) {
      let index = 0;
      for await (const { body } of requests) yield { index: index++, body };
    },
    seen: () => ({}),
    missing: () => ({}),
    ...handlers,
  });
}

/** Virtual time passes; rejects with the signal's reason when that is aborted before. */
export function pause(world: World, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = world.timers.schedule(ms, () => {
      signal?.removeEventListener("abort", aborted);
      resolve();
    });
    const aborted = (): void => {
      timer.cancel();
      reject(signal?.reason as Error);
    };
    signal?.addEventListener("abort", aborted, { once: true });
  });
}

/** A handler that never answers, and ends when its call does. */
export function forever(_request: unknown, call: HandlerCall): Promise<never> {
  return new Promise((_, reject) => {
    call.signal.addEventListener("abort", () => reject(call.signal.reason as Error), { once: true });
  });
}

/** What a promise that must fail fails with. */
export async function failureOf(promise: PromiseLike<unknown>): Promise<RpcError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof RpcError) return error;
    throw error;
  }
  throw new Error("the call succeeded, and was to fail");
}

/** How a promise ends, and when in virtual time. */
export async function timed<T>(
  cluster: Cluster,
  promise: PromiseLike<T>,
): Promise<{ readonly tookMs: number; readonly value: T | undefined; readonly error: RpcError | undefined }> {
  const startMs = cluster.simulation.nowMs;
  const measured = promise.then(
    (value) => ({ value, error: undefined, tookMs: cluster.simulation.nowMs - startMs }),
    (error: unknown) => ({ value: undefined, error: RpcError.from(error), tookMs: cluster.simulation.nowMs - startMs }),
  );
  return await cluster.settle(measured, { limitMs: 600_000 });
}

/** The reply stream's messages, until it ends or fails. */
export async function collect<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const messages: T[] = [];
  for await (const message of stream) messages.push(message);
  return messages;
}
