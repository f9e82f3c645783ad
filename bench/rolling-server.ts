/** A server process of `rolling`: a call takes 10 ms; a stream counts for ever, and says where it was when it is asked to end. */
import { setTimeout as sleep } from "node:timers/promises";
import { createServer, type HandlerCall } from "holdfast";
import { Probe } from "../test/peers/gen/holdfast/interop/v1/probe_pb.js";
import { answerCommands } from "./commands.ts";
import type { RollingLife, RollingServerCommands } from "./rolling-commands.ts";

const callMs = 10;
const messageGapMs = 20;

let handled = 0;
const drained = Promise.withResolvers<RollingLife>();

const commands: RollingServerCommands = {
  async serve({ port, propagationMs }) {
    const server = createServer({ drain: { propagationMs } }).service(Probe, {
      async unary({ body }) {
        handled += 1;
        await sleep(callMs);
        return { body };
      },
      download: ({ body }, call) => count(Number(Buffer.from(body).toString() || "0"), call),
      upload: () => ({}),
      chat: () => [],
      seen: () => ({}),
      missing: () => ({}),
    });
    server.on("drain", ({ report }) => {
      if (report !== undefined) drained.resolve({ handled, cut: report.cut.length, tookMs: report.tookMs });
    });
    return (await server.listen(port)).port;
  },
  drained: () => drained.promise,
  life: () => Promise.resolve({ handled, cut: 0, tookMs: 0 }),
};
answerCommands({ ...commands });

async function* count(first: number, call: HandlerCall): AsyncGenerator<{ index: number }> {
  const asked = AbortSignal.any([call.draining, call.signal]);
  let index = first;
  while (!asked.aborted) {
    yield { index };
    index += 1;
    await sleep(messageGapMs, undefined, { signal: asked }).catch(() => undefined);
  }
  call.resumeWith(String(index));
}
