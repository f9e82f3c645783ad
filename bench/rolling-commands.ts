/** What the main process of `rolling` asks of its children (see commands.ts for the pipe). */

export interface RollingServerCommands {
  /** Listens on that port of loopback, 0: any; resolves to the port. */
  serve(options: { readonly port: number; readonly propagationMs: number }): Promise<number>;
  /** Resolves when it has drained, as the signal that it is about to get makes it do. */
  drained(): Promise<RollingLife>;
  /** The same of a server that goes on. */
  life(): Promise<RollingLife>;
}

/** What one server process did. */
export interface RollingLife {
  /** Unary calls whose handler began. */
  readonly handled: number;
  /** Calls that its drain cut, and how long that took; 0 while it goes on. */
  readonly cut: number;
  readonly tookMs: number;
}

export interface RollingClientCommands {
  connect(options: { readonly ports: readonly number[]; readonly timeoutMs: number }): Promise<void>;
  /** Begins the load and the streams. */
  start(options: { readonly perSecond: number; readonly streams: number }): Promise<void>;
  /** Ends both; resolves when the last call has ended. */
  stop(): Promise<RollingFigures>;
}

/** What the callers saw. */
export interface RollingFigures {
  readonly calls: number;
  readonly failed: number;
  /** How many failed with which code, whether they had reached a handler, and why. */
  readonly failures: Readonly<Record<string, number>>;
  readonly firstFailure: string | undefined;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  /** The longest that the client's own event loop slept through a due call. */
  readonly ownStallMsMax: number;
  /** Messages that the streams gave, how often one ended by `draining` and was opened again, and what went wrong with them. */
  readonly messages: number;
  readonly resumed: number;
  /** Streams that failed, or went on at another message than the next one. */
  readonly streamFaults: readonly string[];
}
