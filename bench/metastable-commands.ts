/** What the main process of `metastable` asks of its children (see commands.ts for the pipe). */

export interface MetastableServerCommands {
  /** Listens with so many workers; for the first `coldMs` they are slow. Resolves to the port. */
  serve(options: { readonly port: number; readonly workers: number; readonly coldMs: number }): Promise<number>;
  /** From now on a call takes so many times as long. */
  slow(factor: number): Promise<void>;
}

/** Calls by the second in which they were due, and their attempts. */
export interface MetastableFigures {
  readonly offered: readonly number[];
  /** Answered within the second that they had. */
  readonly good: readonly number[];
  readonly attempts: readonly number[];
  /** Failures by code and reason. */
  readonly failures: Readonly<Record<string, number>>;
}

export interface MetastableClientCommands {
  /** So many clients, each with a channel of its own to all ports; resolves when all are ready. */
  connect(options: { readonly ports: readonly number[]; readonly clients: number }): Promise<void>;
  start(options: { readonly perSecond: number }): Promise<void>;
  /** From now on so many times as many calls are made. */
  load(factor: number): Promise<void>;
  /** Ends the load; resolves when the last call has ended. */
  stop(): Promise<MetastableFigures>;
}
