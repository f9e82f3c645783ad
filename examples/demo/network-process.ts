/** The process of the fault proxies as the demo sees it. */
import type { FaultProxyCounts, ProxyFault } from "holdfast/chaos";
import { Child } from "./child.ts";
import type { NetworkOrder, WakeOrder } from "./network.ts";
import type { Stall } from "./stalls.ts";

export class NetworkProcess {
  /** Where the client dials, for each server. */
  readonly addresses: readonly string[];
  /** Standstills of the process. */
  readonly stalls: Stall[];
  readonly #child: Child;
  #lostBy: string | undefined;

  /** Resolves when each port has its proxy. */
  static async start(ports: readonly number[]): Promise<NetworkProcess> {
    const { child, said } = await Child.start<readonly number[]>("network.ts", ports.map(String), "the fault proxies");
    return new NetworkProcess(child, said);
  }

  private constructor(child: Child, ports: readonly number[]) {
    this.addresses = ports.map((port) => `127.0.0.1:${port}`);
    this.stalls = [];
    this.#child = child;
    this.#lostBy = undefined;
    child.onStall((stall) => this.stalls.push(stall));
    child.onExit((by) => {
      this.#lostBy = by;
    });
  }

  /** How it ended, if it did. */
  get lostBy(): string | undefined {
    return this.#lostBy;
  }

  /** These faults between the client and one server from now on. Gives what its proxy has done so far; undefined if it is gone. */
  set(index: number, faults: readonly ProxyFault[]): Promise<FaultProxyCounts | undefined> {
    return this.#child.ask<FaultProxyCounts>({ index, faults } satisfies NetworkOrder);
  }

  /** Wakes this process if the demo dies before it can do so itself; undefined: nobody. */
  async wakeAtTheEnd(wakePid: number | undefined): Promise<void> {
    await this.#child.ask({ wakePid } satisfies WakeOrder);
  }

  end(): void {
    this.#child.signal("SIGKILL");
  }
}
