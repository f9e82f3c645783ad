/**
 * A second thread as a port: messages go both ways in order, and its end is told once.
 */

/** A message, and the buffers in it that are handed over instead of copied. */
export type PostMessage = (message: unknown, transfer: readonly ArrayBuffer[]) => void;

/** The side of whoever started the thread. */
export interface WorkerThread {
  readonly post: PostMessage;
  /** Whether the thread keeps the process alive. It does not at the start. */
  keepAlive(isWanted: boolean): void;
  /** Ends it at once, whatever it does. Resolves when it is gone. */
  stop(): Promise<void>;
}

/** What the thread's starter hears. */
export interface WorkerThreadEvents {
  message(message: unknown): void;
  /** It is gone: it threw, could not be started, or ended. Nothing comes after it. */
  ended(error: Error): void;
}

/** The thread's own side. */
export interface WorkerSide {
  /** What its starter gave it. */
  readonly data: unknown;
  readonly post: PostMessage;
  /** Hears all messages that have arrived at once, in order. Keeps the thread alive until `close`. */
  receive(listener: (messages: readonly unknown[]) => void): void;
  close(): void;
}
