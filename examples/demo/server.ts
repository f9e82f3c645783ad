/**
 * One calculator server of the demo, in a process of its own: forked with its port by server-process.ts, and told how badly to behave.
 */
import { setTimeout } from "node:timers/promises";
import { createServer, RpcError } from "holdfast";
import { Calculator, Memory, Roots } from "../gen/calc/v1/calc_pb.ts";
import { ROOT_MACHINES, ROOT_MS } from "./capacity.ts";
import { endWithParent, tell, tellFailure } from "./parent.ts";
import { Permits } from "./permits.ts";
import { watchStalls } from "./stalls.ts";

/** What a server does to the calls it gets; well by default. */
export interface Behaviour {
  /** Each call waits so long before its handler begins. */
  readonly delayMs: number;
  /** This share of calls, 0..1, ends with UNAVAILABLE. */
  readonly failShare: number;
}

let behaviour: Behaviour = { delayMs: 0, failShare: 0 };
let remembered = 0;
const rootMachines = new Permits(ROOT_MACHINES);

endWithParent();
process.on("message", (order) => {
  behaviour = order as Behaviour;
  tell({ kind: "ready", result: undefined });
});

// Ctrl-C goes to the whole group, and is for the demo alone.
const server = createServer({ drain: { signals: ["SIGTERM"] } })
  .service(Calculator, {
    add: ({ a, b }) => {
      fail();
      const result = a + b;
      return behaviour.delayMs > 0 ? setTimeout(behaviour.delayMs, { result }) : { result };
    },
    async *count({ from, to, delayMs }, call) {
      fail();
      if (behaviour.delayMs > 0) await setTimeout(behaviour.delayMs, undefined, { signal: call.signal });
      for (let value = from; value <= to; value += 1) {
        await setTimeout(delayMs, undefined, { signal: call.signal });
        // Whoever asks another server for what is left goes on from here.
        if (call.draining.aborted) return call.resumeWith(String(value));
        yield { value };
      }
    },
  })
  .service(Memory, {
    remember: ({ value }) => {
      remembered += value;
      return { value };
    },
  })
  .service(Roots, {
    squareRoot: ({ value }) => rootMachines.run(() => setTimeout(ROOT_MS, { root: Math.sqrt(value) })),
  });

try {
  await server.listen(Number(process.argv[2]));
  watchStalls((stall) => tell({ kind: "stalled", stall }));
  tell({ kind: "ready", result: undefined });
} catch (error) {
  tellFailure(error);
}

function fail(): void {
  if (behaviour.failShare > 0 && Math.random() < behaviour.failShare) {
    throw new RpcError("UNAVAILABLE", "this server was told to fail");
  }
}
