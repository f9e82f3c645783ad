/** What `once` asks of its server process (see commands.ts for the pipe). */
import { annotate } from "holdfast";
import { Probe } from "../test/peers/gen/holdfast/interop/v1/probe_pb.js";

/** Whether answers are kept, and where: not at all, in memory, in a file that is synced. */
export type Keeping = "nothing" | "memory" | "sqlite";

export interface OnceServerCommands {
  /** Listens on loopback; resolves to the port. `file`: where the journal of "sqlite" is. */
  serve(options: { readonly keeping: Keeping; readonly file: string }): Promise<number>;
  /** User and system time of all its threads so far, in milliseconds. */
  cpuMs(): Promise<number>;
}

/** The same method with effect once, and with effect unknown. */
export const Kept = annotate(Probe, { unary: { effect: "once" } });
export const Plain = Probe;
