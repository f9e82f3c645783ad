/** A listening socket of a simulated host: where it listens, for which process, and who waits to be accepted. */
import type { ListenRequest, SocketAddress } from "../world/network.ts";
import type { Process } from "./process.ts";

export interface SimulatedListener {
  readonly process: Process;
  readonly address: SocketAddress;
  /** Only connections from the same host reach it. */
  readonly isLoopback: boolean;
  readonly request: ListenRequest;
  /** Connections that the kernel has made and the process has not accepted. */
  waiting: number;
  isClosed: boolean;
}

/** Node's default backlog. Beyond it the kernel ignores who knocks. */
export const backlogMax = 511;
