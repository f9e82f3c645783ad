/** One end of a stream, with all that happened to it written down: what tests of networks look at. */
import type { NetworkError, Socket, SocketEvents } from "../world/network.ts";

export type SocketHappening = "opened" | "data" | "drained" | "ended" | "closed";

export class NetworkRecorder implements SocketEvents {
  /** What happened, in order; runs of `data` count as one. */
  readonly happenings: SocketHappening[] = [];
  readonly chunks: Buffer[] = [];
  receivedBytes = 0;
  error: NetworkError | undefined = undefined;
  /** Set while one of the socket's methods runs, by {@link during}. */
  private isInside = false;
  /** Whether an event was made from inside a method. */
  wasNested = false;
  private waiting: { readonly condition: () => boolean; readonly resolve: () => void }[] = [];
  private readonly react: Partial<SocketEvents>;
  socket: Socket | undefined = undefined;

  /** `react` is called after an event was written down. */
  constructor(react: Partial<SocketEvents> = {}) {
    this.react = react;
  }

  /** Calls methods of a socket, watching that they cause no event at once. */
  during<T>(call: () => T): T {
    this.isInside = true;
    try {
      return call();
    } finally {
      this.isInside = false;
    }
  }

  get bytes(): Buffer {
    return Buffer.concat(this.chunks);
  }

  get isClosed(): boolean {
    return this.happenings.includes("closed");
  }

  count(happening: SocketHappening): number {
    return this.happenings.filter((each) => each === happening).length;
  }

  /** Resolves after the event that makes `condition` true. */
  until(condition: () => boolean): Promise<void> {
    if (condition()) return Promise.resolve();
    return new Promise((resolve) => this.waiting.push({ condition, resolve }));
  }

  saw(happening: SocketHappening): Promise<void> {
    return this.until(() => this.happenings.includes(happening));
  }

  opened(): void {
    this.note("opened");
    this.react.opened?.();
  }

  data(bytes: Buffer): void {
    // The chunk is gone when this returns.
    const kept = Buffer.from(bytes);
    this.chunks.push(kept);
    this.receivedBytes += bytes.length;
    this.note("data");
    this.react.data?.(bytes);
  }

  drained(): void {
    this.note("drained");
    this.react.drained?.();
  }

  ended(): void {
    this.note("ended");
    this.react.ended?.();
  }

  closed(error: NetworkError | undefined): void {
    this.error = error;
    this.note("closed");
    this.react.closed?.(error);
  }

  private note(happening: SocketHappening): void {
    if (this.isInside) this.wasNested = true;
    if (happening !== "data" || this.happenings.at(-1) !== "data") this.happenings.push(happening);
    const ready = this.waiting.filter(({ condition }) => condition());
    this.waiting = this.waiting.filter((each) => !ready.includes(each));
    for (const { resolve } of ready) resolve();
  }
}
