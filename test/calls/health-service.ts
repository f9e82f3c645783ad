/**
 * A health service whose answers the test says, for any server of ours.
 */
import { RpcError, type Server } from "holdfast";
import {
  Health,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from "../../src/schema/gen/grpc/health/v1/health_pb.ts";
import { type Gate, gate } from "./gate.ts";

export { Health, ServingStatus };

/** Lets a server answer as one without the service does; ours have it built in. */
export function withoutHealth(server: Server): Server {
  const unimplemented = (): never => {
    throw new RpcError("UNIMPLEMENTED", "service of /grpc.health.v1.Health/Watch is not known here");
  };
  return server.service(Health, { check: unimplemented, list: unimplemented, watch: unimplemented });
}

interface Ending {
  readonly error: RpcError | undefined;
}

export class HealthBoard {
  /** Names of the services that were asked about, a Watch each. */
  readonly asked: string[] = [];
  /** Watches are told nothing, not even at their beginning. */
  isSilent = false;
  /** The next Watches fail with this, before a message. */
  failure: RpcError | undefined = undefined;
  #status: ServingStatus;
  #changed: Gate<Ending | undefined> = gate();
  /** Of the server that it was added to last: one that was killed does not end its own. */
  #openHere: { count: number } = { count: 0 };

  constructor(status: ServingStatus = ServingStatus.SERVING) {
    this.#status = status;
  }

  /** Watches that are open now. */
  get open(): number {
    return this.#openHere.count;
  }
  get status(): ServingStatus {
    return this.#status;
  }

  /** To all Watches, those that will be opened too. */
  say(status: ServingStatus): void {
    this.#status = status;
    this.#wake(undefined);
  }

  /** Ends the Watches that are open: with an error, or OK. */
  end(error?: RpcError): void {
    this.#wake({ error });
  }

  add(server: Server): Server {
    this.#openHere = { count: 0 };
    return server.service(Health, {
      check: () => ({ status: this.#status }),
      list: () => ({ statuses: {} }),
      watch: ({ service }, { signal }) => this.#watch(service, signal),
    });
  }

  #wake(ending: Ending | undefined): void {
    const { open } = this.#changed;
    this.#changed = gate();
    open(ending);
  }

  async *#watch(service: string, signal: AbortSignal): AsyncGenerator<{ status: ServingStatus }> {
    this.asked.push(service);
    if (this.failure !== undefined) throw this.failure;
    const left = new Promise<undefined>((resolve) => {
      signal.addEventListener("abort", () => resolve(undefined), { once: true });
    });
    const here = this.#openHere;
    here.count += 1;
    try {
      while (!signal.aborted) {
        const { opened } = this.#changed;
        if (!this.isSilent) yield { status: this.#status };
        const ending = await Promise.race([opened, left]);
        if (ending?.error !== undefined) throw ending.error;
        if (ending !== undefined) return;
      }
    } finally {
      here.count -= 1;
    }
  }
}
