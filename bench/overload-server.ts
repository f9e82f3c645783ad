/** The servers' process of `overload`: several servers with one kind of handler each, of which one is called at a time. */
import { createServer, type Server } from "holdfast";
import { answerCommands } from "./commands.ts";
import { Bench } from "./gen/bench/v1/bench_pb.ts";
import { numberedItems } from "./items.ts";
import type { HandlerKind, OverloadServerCommands } from "./overload-commands.ts";
import { cpuMs } from "./process-figures.ts";
import { workOf } from "./work.ts";

const timerMs = 10;
const places = 10;
const computeMs = 1;

const servers = new Map<number, Server>();
let handlerCpuMs = 0;

const commands: OverloadServerCommands = {
  async listen({ kind, hasAdmission }) {
    const server = createServer(hasAdmission ? {} : { admission: false }).service(Bench, {
      add: handlers[kind](),
      placeOrder: (order) => order,
      echo: (blob) => blob,
      down: ({ count, size }) => numberedItems(count, size),
      up: () => ({ result: 0 }),
      both: (items) => items,
    });
    const { port } = await server.listen(0);
    servers.set(port, server);
    return port;
  },
  sample: () => Promise.resolve({ atMs: performance.now(), cpuMs: cpuMs(), handlerCpuMs }),
  admission(port) {
    const server = servers.get(port);
    if (server === undefined) throw new RangeError(`there is no server on port ${port}`);
    return Promise.resolve(server.status().admission);
  },
};
answerCommands({ ...commands });

type Add = (request: { readonly a: number; readonly b: number }) => { result: number } | Promise<{ result: number }>;

const handlers: Readonly<Record<HandlerKind, () => Add>> = {
  timer: () => pooled(),
  cpu: () => {
    const compute = workOf(computeMs);
    return ({ a, b }) => {
      compute();
      handlerCpuMs += computeMs;
      return { result: a + b };
    };
  },
};

/** A pool that knows no better than first in, first out, and for which what was given up is work as any other. */
function pooled(): Add {
  const waiting: (() => void)[] = [];
  let running = 0;
  let first = 0;
  const next = (): void => {
    running -= 1;
    const begin = waiting[first];
    if (begin === undefined) return;
    first += 1;
    if (first === 10_000) {
      waiting.splice(0, first);
      first = 0;
    }
    begin();
  };
  return ({ a, b }) =>
    new Promise((resolve) => {
      const begin = (): void => {
        running += 1;
        setTimeout(() => {
          resolve({ result: a + b });
          next();
        }, timerMs);
      };
      if (running < places) begin();
      else waiting.push(begin);
    });
}
