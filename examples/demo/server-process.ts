/**
 * A server process as the demo sees it: started, killed with SIGKILL or ended with SIGTERM and started again on the same port, stopped and
 * continued, told to behave badly.
 */
import { Child } from "./child.ts";
import type { Behaviour } from "./server.ts";
import { epochMs, type Stall } from "./stalls.ts";

/** `draining`: it was asked to end, and does. `ended`: it has. `lost`: it ended although nobody wanted it. */
export type ServerState = "starting" | "up" | "stopped" | "killed" | "draining" | "ended" | "lost";

const PORT_TRIES_MAX = 20;
/**
 * Below the ports that systems give to outgoing connections: one that dials the port of a dead server from that very
 * port would be connected to itself, and a port may not be taken while its server is down.
 */
const PORT_FIRST = 20_000;
const PORT_COUNT = 10_000;

export class ServerProcess {
  readonly name: string;
  readonly port: number;
  #state: ServerState;
  #child: Child | undefined;
  #kills: number;
  #lostBy: string;
  #stoppedMs: number;
  #resumedMs: number;
  readonly #stalls: Stall[];

  constructor(name: string, port: number) {
    this.name = name;
    this.port = port;
    this.#state = "killed";
    this.#child = undefined;
    this.#kills = 0;
    this.#lostBy = "";
    this.#stoppedMs = Number.POSITIVE_INFINITY;
    this.#resumedMs = Number.POSITIVE_INFINITY;
    this.#stalls = [];
  }

  get state(): ServerState {
    return this.#state;
  }
  get pid(): number | undefined {
    return this.#child?.pid;
  }
  /** How often it was killed while it served. */
  get kills(): number {
    return this.#kills;
  }
  /** How it was lost: a signal or an exit code. */
  get lostBy(): string {
    return this.#lostBy;
  }

  /** Its standstills, but for those that the demo made. */
  get stalls(): readonly Stall[] {
    return this.#stalls;
  }

  /** Resolves when it listens. Rejects with the reason why it does not. */
  async start(): Promise<void> {
    this.#state = "starting";
    const { child } = await Child.start<undefined>("server.ts", [String(this.port)], `server ${this.name}`);
    this.#child = child;
    // Ended while it started: the run is over.
    if (this.state !== "starting") {
      child.signal("SIGKILL");
      return;
    }
    this.#state = "up";
    child.onStall((stall) => {
      const isOurs = stall.fromMs <= this.#resumedMs && this.#stoppedMs <= stall.untilMs;
      if (!isOurs) this.#stalls.push(stall);
    });
    child.onExit((by) => {
      if (this.#child !== child || this.#state === "killed") return;
      if (this.#state === "draining") {
        // By its own hand, once its calls were over: any other end is none in good order.
        this.#state = by === "SIGTERM" ? "ended" : "lost";
        this.#lostBy = by;
        return;
      }
      this.#state = "lost";
      this.#lostBy = by;
    });
  }

  /** SIGKILL, as `kill -9` does it. Resolves when the process is gone. */
  async kill(): Promise<void> {
    if (this.#child === undefined || this.#state !== "up") return;
    this.#kills += 1;
    this.#state = "killed";
    await this.#child.end("SIGKILL");
  }

  /** SIGTERM: it tells its clients, comes to its end, and is gone when this resolves. */
  async drain(): Promise<void> {
    if (this.#child === undefined || this.#state !== "up") return;
    this.#state = "draining";
    await this.#child.end("SIGTERM");
  }

  /** SIGSTOP: it does nothing any more, and its kernel goes on to take connections and bytes for it. */
  stop(): void {
    if (this.#state !== "up") return;
    this.#state = "stopped";
    this.#stoppedMs = epochMs(performance.now());
    this.#child?.signal("SIGSTOP");
  }

  /** SIGCONT: it goes on as if nothing had been. */
  resume(): void {
    if (this.#state !== "stopped") return;
    this.#state = "up";
    this.#resumedMs = epochMs(performance.now());
    this.#child?.signal("SIGCONT");
  }

  /** Resolves when it behaves so. */
  async behave(behaviour: Behaviour): Promise<void> {
    if (this.#state === "up") await this.#child?.ask(behaviour);
  }

  /** Ends it without waiting, in whatever state it is. */
  end(): void {
    this.#state = "killed";
    this.#child?.signal("SIGKILL");
  }
}

/** Starts one server for each name, on free ports. If one cannot be started, none is left. */
export async function startServers(names: readonly string[]): Promise<readonly ServerProcess[]> {
  const results = await Promise.allSettled(names.map(startAnywhere));
  const failed = results.find((result) => result.status === "rejected");
  const servers = results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
  if (failed === undefined) return servers;
  for (const server of servers) server.end();
  throw failed.reason;
}

/** Tries ports until one is free; names begin at different ones. */
async function startAnywhere(name: string, index: number): Promise<ServerProcess> {
  const first = (process.pid * 31 + index * PORT_TRIES_MAX) % PORT_COUNT;
  for (let tries = 1; ; tries += 1) {
    const server = new ServerProcess(name, PORT_FIRST + ((first + tries) % PORT_COUNT));
    try {
      await server.start();
      return server;
    } catch (error) {
      const isTaken = error instanceof Error && error.message.includes("EADDRINUSE");
      if (!isTaken || tries === PORT_TRIES_MAX) throw error;
    }
  }
}
