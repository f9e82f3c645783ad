/**
 * How a server is, worked out from what is known of it: its phase, its checks, and what its owner said. Nothing here acts; who listens
 * is told that something changed, and asks what.
 *
 * The worst word wins: a server that is about to end does not serve, whatever else is said; then what its owner said; then its checks.
 * A failing dependency makes it degraded and takes no server away, unless its owner called it essential: one lost database must not be
 * an outage of every replica at once (DESIGN, section 5). Liveness, whether this process should be restarted, looks at none of
 * this: a process that answers at all is alive, and no restart mends a dependency.
 */
import { describeValue } from "../call/options.ts";

/**
 * `STARTING`: an essential check has not passed yet. `DEGRADED`: it serves, and a check or the dedup store fails. `DRAINING`: it serves what still comes
 * and asks for no more.
 */
export type ServerHealth = "STARTING" | "SERVING" | "DEGRADED" | "DRAINING" | "NOT_SERVING";

/** What may be said on the wire of the server or of a service that it knows. */
export type ServingWord = "SERVING" | "NOT_SERVING";

/** Where a server is in its life. It goes forward only. */
export type ServerPhase = "open" | "draining" | "closed";

/** What all checks say together. `pending`: an essential one has not passed yet; `failing`: an essential one fails. */
export type ChecksWord = "pending" | "passing" | "degraded" | "failing";

/** The name that stands for the server as a whole. */
const WHOLE = "";
const PHASES: readonly ServerPhase[] = ["open", "draining", "closed"];

export class HealthBoard {
  readonly #services: Set<string>;
  /** What the owner said, by service; "" is the whole server. */
  readonly #said: Map<string, ServingWord>;
  readonly #listeners: Set<() => void>;
  #phase: ServerPhase;
  #checks: ChecksWord;
  #hasStoreFailed: boolean;

  constructor() {
    this.#services = new Set();
    this.#said = new Map();
    this.#listeners = new Set();
    this.#phase = "open";
    this.#checks = "passing";
    this.#hasStoreFailed = false;
  }

  /** Of the server as a whole. */
  get server(): ServerHealth {
    if (this.#phase === "closed") return "NOT_SERVING";
    if (this.#phase === "draining") return "DRAINING";
    const said = this.#said.get(WHOLE);
    if (said === "NOT_SERVING") return "NOT_SERVING";
    if (this.#checks === "passing") return this.#hasStoreFailed ? "DEGRADED" : "SERVING";
    // It serves because its owner says so, and what its checks say is true all the same.
    if (said === "SERVING" || this.#checks === "degraded") return "DEGRADED";
    return this.#checks === "pending" ? "STARTING" : "NOT_SERVING";
  }

  /** It serves, though not as well as it should: what replies say of it (`holdfast-health: degraded`). */
  get isDegraded(): boolean {
    return this.server === "DEGRADED";
  }

  get phase(): ServerPhase {
    return this.#phase;
  }

  /** Full names of the services, in the order in which they came. */
  get services(): readonly string[] {
    return [...this.#services];
  }

  /** On the wire: of a service, or of the whole server (""); undefined for a service that is not here. */
  wordOf(service: string): ServingWord | undefined {
    if (service !== WHOLE && !this.#services.has(service)) return undefined;
    const { server } = this;
    const said = this.#said.get(service);
    if (this.#phase === "open" && said !== undefined) return said;
    return server === "SERVING" || server === "DEGRADED" ? "SERVING" : "NOT_SERVING";
  }

  /** A service was added: who asks for it by its full name gets its health from now on. */
  serviceAdded(name: string): void {
    if (this.#services.has(name)) return;
    this.#services.add(name);
    this.#tell();
  }

  /**
   * Its owner's word about a service, or about the whole server (""), stands above what checks say, until the server drains.
   * Throws TypeError for another word, RangeError for a service that was not added.
   */
  setHealth(service: string, word: ServingWord): void {
    if (word !== "SERVING" && word !== "NOT_SERVING") {
      throw new TypeError(`health must be "SERVING" or "NOT_SERVING", got ${describeValue(word)}`);
    }
    if (service !== WHOLE && !this.#services.has(service)) {
      const known = [...this.#services].join(", ");
      throw new RangeError(
        `service must be "" or one that was added (${known === "" ? "none was" : known}), got ${describeValue(service)}`,
      );
    }
    if (this.#said.get(service) === word) return;
    this.#said.set(service, word);
    this.#tell();
  }

  /** The server begins to drain, or is closed. */
  phaseChanged(phase: ServerPhase): void {
    if (PHASES.indexOf(phase) <= PHASES.indexOf(this.#phase)) return;
    this.#phase = phase;
    this.#tell();
  }

  /** The checks say something else together. */
  checksChanged(word: ChecksWord): void {
    if (word === this.#checks) return;
    this.#checks = word;
    this.#tell();
  }

  /** The store of first answers has failed for good: methods of effect once are refused, all others are served. */
  storeFailed(): void {
    if (this.#hasStoreFailed) return;
    this.#hasStoreFailed = true;
    this.#tell();
  }

  /** Told after every change of what stands here. A listener must not throw, and may ask and leave. */
  onChange(listener: () => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  #tell(): void {
    for (const listener of [...this.#listeners]) listener();
  }
}
