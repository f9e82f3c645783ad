/** What the main process of `slow-peer` asks of its children (see commands.ts for the pipe). */
import type { LoadFigures, SlowPeerLoad } from "./slow-peer-load.ts";
import type { SlowPeerContender } from "./slow-peer-contender.ts";

export interface SlowServerCommands {
  /** Starts so many servers; resolves to their ports. */
  listen(options: { readonly count: number; readonly seed: number }): Promise<readonly number[]>;
  /** From now on each of its calls takes so long; undefined: as long as usual. */
  slow(options: { readonly index: number; readonly slowMs: number | undefined }): Promise<void>;
  /** Attempts that arrived, of them those at a slow server. */
  handled(): Promise<{ readonly handled: number; readonly handledWhileSlow: number }>;
}

export interface SlowClientCommands {
  connect(options: { readonly contender: SlowPeerContender; readonly ports: readonly number[] }): Promise<void>;
  /** Begins the load. */
  start(load: SlowPeerLoad): Promise<void>;
  /** Resolves when the last call has ended. */
  figures(): Promise<LoadFigures>;
}
