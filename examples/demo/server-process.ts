/**
 * A server process as the demo sees it: started, killed with SIGKILL, and started again on the same port.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import type { ServerWord } from "./server.ts";

/** `lost`: it ended although nobody killed it. */
export type ServerState = "starting" | "up" | "killed" | "lost";

const START_TIMEOUT_MS = 20_000;
const PORT_TRIES_MAX = 20;
/**
 * Below the ports that systems give to outgoing connections: a client that dials the port of a dead server from that very
 * port would be connected to itself, and a port may not be taken while its server is down.
 */
const PORT_FIRST = 20_000;
const PORT_COUNT = 10_000;

export class ServerProcess {
  readonly name: string;
  readonly port: number;
  #state: ServerState;
  #child: ChildProcess | undefined;
  #kills: number;
  #lostBy: string;

  constructor(name: string, port: number) {
    this.name = name;
    this.port = port;
    this.#state = "killed";
    this.#child = undefined;
    this.#kills = 0;
    this.#lostBy = "";
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }
  get state(): ServerState {
    return this.#state;
  }
  /** How often it was killed while it served. */
  get kills(): number {
    return this.#kills;
  }
  /** How it was lost: a signal or an exit code. */
  get lostBy(): string {
    return this.#lostBy;
  }

  /** Resolves when it listens. Rejects with the reason why it does not. */
  async start(): Promise<void> {
    const child = fork(new URL("server.ts", import.meta.url), [String(this.port)], {
      // What a server prints must not get into the report.
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    this.#child = child;
    this.#state = "starting";
    child.once("exit", (code, signal) => {
      if (this.#child !== child || this.#state === "killed") return;
      this.#state = "lost";
      this.#lostBy = signal ?? `exit code ${code}`;
    });
    const word = await firstWord(child);
    if (word.kind === "failed") {
      this.end();
      throw new Error(`server ${this.name}: ${word.text}`);
    }
    // Killed while it started: the run is over.
    if (this.#state === "starting") this.#state = "up";
  }

  /** SIGKILL, as `kill -9` does it. Resolves when the process is gone. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || this.#state !== "up") return;
    const gone = once(child, "exit");
    this.#kills += 1;
    this.end();
    await gone;
  }

  /** Ends it without waiting, in whatever state it is. */
  end(): void {
    this.#state = "killed";
    this.#child?.kill("SIGKILL");
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

function firstWord(child: ChildProcess): Promise<ServerWord> {
  return new Promise((resolve) => {
    const tell = (word: ServerWord): void => {
      clearTimeout(timer);
      resolve(word);
    };
    const timer = setTimeout(
      () => tell({ kind: "failed", text: `did not listen within ${START_TIMEOUT_MS / 1_000} s` }),
      START_TIMEOUT_MS,
    );
    child.once("message", (word) => tell(word as ServerWord));
    child.once("error", (error) => tell({ kind: "failed", text: error.message }));
    child.once("exit", (code, signal) =>
      tell({ kind: "failed", text: `ended before it listened (${signal ?? `exit code ${code}`})` }),
    );
  });
}
