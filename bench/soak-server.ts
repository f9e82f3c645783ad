/**
 * The server's process of the soak: handlers that answer, wait, fail and throw; a journal, interceptors, callers that are found out; and a client of
 * its own, that calls it from inside a handler.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { annotate, createClient, createServer, type HandlerCall, type Interceptor, RpcError } from "holdfast";
import { memory } from "holdfast/durable";
import { Probe } from "../test/peers/gen/holdfast/interop/v1/probe_pb.js";
import { nodeWorld } from "../src/world/node.ts";
import { runtimeOf } from "../src/wire/transport/runtime.ts";
import { answerCommands } from "./commands.ts";
import { type SoakServerCommands, takeSample } from "./soak-commands.ts";

/** Bytes that each call leaves behind: a leak to be found. */
const plantedBytes = Number(process.argv[2] ?? 0);
const leaked: unknown[] = [];
/** A journal keeps answers: what it holds comes to a stand within the warm-up, and is still kept when a busy machine comes to a repeat. */
const journal = memory({ entriesMax: 20_000, retentionMs: 30_000, retentionMsMin: 10_000 });
const restMs = 15_000;

export const SoakProbe = annotate(Probe, { seen: { effect: "once" } });

const outer: Interceptor = (next) => async (call) => {
  if (plantedBytes > 0) leaked.push(new Array<number>(Math.ceil(plantedBytes / 8)).fill(0));
  const reply = await next(call);
  return reply.withHeader({ "x-soak": "yes" });
};
const inner: Interceptor = (next) => (call) => next(call.map((message) => message));

let calls = 0;
const server = createServer({
  dedup: journal,
  interceptors: [outer, inner],
  limits: { connectionAgeMsMax: 3_000 },
  authenticate: async (call) => {
    const words = (call.metadata.get("authorization") ?? "").split(" ");
    const id = words[1];
    // Half of the callers are found at once, the others a turn later.
    if (id?.endsWith("late") === true) await Promise.resolve();
    return id === undefined ? undefined : { id };
  },
});
const own = createClient(SoakProbe, server, { token: () => "server" });

server.service(SoakProbe, {
  async unary({ body, delayMs, failure, isDefect, key }, call) {
    calls += 1;
    if (delayMs > 0) await wait(delayMs, call);
    if (isDefect) throw new Error("a defect");
    if (failure !== undefined) throw new RpcError("NOT_FOUND", failure.text);
    if (key === "nested") return { body: (await own.unary({ body })).body };
    return { body };
  },
  async *download({ replyCount, delayMs, failure }, call) {
    calls += 1;
    for (let index = 0; index < replyCount; index += 1) {
      if (delayMs > 0) await wait(delayMs, call);
      yield { index };
    }
    call.setTrailer("x-asked-to-end", String(call.draining.aborted));
    if (failure !== undefined) throw new RpcError("NOT_FOUND", failure.text);
  },
  async upload(requests) {
    calls += 1;
    let seenCount = 0;
    for await (const _ of requests) seenCount += 1;
    return { seenCount };
  },
  async *chat(requests) {
    calls += 1;
    for await (const { body } of requests) yield { body };
  },
  seen({ key }) {
    calls += 1;
    return { isBegun: key !== "" };
  },
  missing() {
    throw new RpcError("UNIMPLEMENTED", "implemented by no server");
  },
});

const commands: SoakServerCommands = {
  async serve(files) {
    const plain = await server.listen(0);
    const tls = await server.listen(0, { tls: files });
    await own.unary({});
    return { plainPort: plain.port, tlsPort: tls.port };
  },
  sample: () => Promise.resolve(takeSample(calls, server.status().calls.open)),
  async rest() {
    await own.$close();
    let left = busy();
    for (const untilMs = performance.now() + restMs; left.length > 0 && performance.now() < untilMs; left = busy()) {
      await sleep(100);
    }
    const { cut } = await server.close();
    if (cut.length > 0) left.push(`${cut.length} calls cut by close`);
    await journal[Symbol.asyncDispose]();
    await sleep(100);
    const { size } = runtimeOf(nodeWorld).wheel;
    if (size > 0) left.push(`${size} timers`);
    return { left, sample: takeSample(calls, server.status().calls.open) };
  },
};
answerCommands({ ...commands });

/** What is not 0 while nothing happens. */
function busy(): string[] {
  const { connections, calls: status, methods, admission } = server.status();
  const queued = Object.values(admission?.queued ?? {}).reduce((sum, count) => sum + count, 0);
  const figures = {
    connections,
    "open calls": status.open,
    "overdue handlers": status.overdue,
    "calls in flight": methods.reduce((sum, { inFlight }) => sum + inFlight, 0),
    "handlers admitted": admission?.running ?? 0,
    "calls queued": queued,
  };
  return Object.entries(figures).flatMap(([what, count]) => (count === 0 ? [] : [`${count} ${what}`]));
}

function wait(ms: number, call: HandlerCall): Promise<void> {
  return sleep(ms, undefined, { signal: call.signal });
}
