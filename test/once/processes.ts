/**
 * The processes of the chaos: servers on ports of their own behind proxies that cut connections, clients with a plan on disk.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { createFaultProxy, type FaultProxy } from "holdfast/chaos";
import type { ClientPlan, ServerPlan } from "./contract.ts";

/** A process that is started again with the same words. */
export class Life {
  readonly #file: string;
  #child: ChildProcess | undefined;
  /** Ended by itself, and well. */
  isDone = false;
  lives = 0;

  constructor(file: "./server.ts" | "./client.ts") {
    this.#file = fileURLToPath(new URL(file, import.meta.url));
  }

  start(plan: ServerPlan | ClientPlan): ChildProcess {
    const flags = ["--conditions=holdfast-source", this.#file, JSON.stringify(plan)];
    const child = spawn(process.execPath, flags, { stdio: ["ignore", "ignore", "inherit", "ipc"] });
    child.once("exit", (code) => {
      if (code === 0) this.isDone = true;
    });
    this.#child = child;
    this.lives += 1;
    return child;
  }

  /** SIGKILL; resolves when it is gone. Whether it was there. */
  async kill(): Promise<boolean> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return false;
    const gone = once(child, "exit");
    child.kill("SIGKILL");
    await gone;
    return true;
  }
}

/** A server, its journal's file and its proxy. */
export class ServerLives {
  readonly #plan: Omit<ServerPlan, "port" | "life">;
  readonly #name: string;
  readonly #life = new Life("./server.ts");
  #port = 0;
  #proxy: FaultProxy | undefined;

  constructor(name: string, plan: Omit<ServerPlan, "port" | "life">) {
    this.#name = name;
    this.#plan = plan;
  }

  /** Resolves when it listens; at the same port each time. */
  async start(): Promise<void> {
    const life = `${this.#name}${this.#life.lives}`;
    const child = this.#life.start({ ...this.#plan, port: this.#port, life });
    const [port] = (await Promise.race([once(child, "message"), once(child, "exit").then(() => [undefined])])) as [
      number | undefined,
    ];
    if (port === undefined) throw new Error(`server ${life} ended before it listened`);
    this.#port = port;
  }

  /** Where clients reach it, through a proxy. */
  async open(): Promise<string> {
    const target = { host: "127.0.0.1", port: this.#port };
    this.#proxy = createFaultProxy({ listen: { host: "127.0.0.1", port: 0 }, target });
    const { host, port } = await this.#proxy.listen();
    return `${host}:${port}`;
  }

  /** Resets its connections: how many there were. */
  cut(): number {
    return this.#proxy?.cut() ?? 0;
  }

  kill(): Promise<boolean> {
    return this.#life.kill();
  }

  async close(): Promise<void> {
    await this.kill();
    await this.#proxy?.close();
  }
}
