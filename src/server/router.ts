/**
 * From a path on the wire to a handler.
 */
import type { Interceptor } from "../call/interceptor.ts";
import { describeValue } from "../call/options.ts";
import type { AnyContract } from "../schema/contract.ts";
import { type MethodPlan, planOf } from "../schema/plan.ts";

/** What a user's handler looks like when its types are gone. */
export type AnyHandler = (request: unknown, call: unknown) => unknown;

export interface Route {
  readonly plan: MethodPlan;
  readonly handler: AnyHandler;
  readonly isRequestStream: boolean;
  readonly isReplyStream: boolean;
  readonly interceptors: readonly Interceptor[];
}

export class Router {
  readonly #routes: Map<string, Route>;
  readonly #services: Set<string>;

  constructor() {
    this.#routes = new Map();
    this.#services = new Set();
  }

  /** Adds a service. TypeError for a missing, unknown or non-function handler, or a service that stands already. */
  add(contract: AnyContract, handlers: unknown, interceptors: readonly Interceptor[]): void {
    const plan = planOf(contract);
    if (this.#services.has(plan.name)) throw new TypeError(`service ${plan.name} was added before`);
    if (typeof handlers !== "object" || handlers === null) {
      throw new TypeError(`the handlers of ${plan.name} must be an object, got ${describeValue(handlers)}`);
    }
    const byName = handlers as Readonly<Record<string, unknown>>;
    const routes: Route[] = [];
    for (const method of plan.methods) {
      const handler = byName[method.info.name];
      if (typeof handler !== "function") {
        throw new TypeError(`${plan.name} needs a handler "${method.info.name}", got ${describeValue(handler)}`);
      }
      const kind = method.info.kind;
      routes.push({
        plan: method,
        handler: (handler as AnyHandler).bind(handlers),
        isRequestStream: kind === "client-stream" || kind === "bidi",
        isReplyStream: kind === "server-stream" || kind === "bidi",
        interceptors,
      });
    }
    for (const name of Object.keys(byName)) {
      if (typeof byName[name] === "function" && !plan.byLocalName.has(name) && !Object.hasOwn(Object.prototype, name)) {
        if (Object.getPrototypeOf(handlers) === Object.prototype) {
          throw new TypeError(
            `${plan.name} has no method "${name}"; it has ${[...plan.byLocalName.keys()].join(", ")}`,
          );
        }
      }
    }
    this.#services.add(plan.name);
    for (const route of routes) this.#routes.set(route.plan.info.path, route);
  }

  find(path: string): Route | undefined {
    return this.#routes.get(path);
  }
  /** Whether a path's service is here, so that the error can say which of the two is unknown. */
  hasService(path: string): boolean {
    const end = path.lastIndexOf("/");
    return end > 0 && this.#services.has(path.slice(1, end));
  }
  get services(): readonly string[] {
    return [...this.#services];
  }
  get size(): number {
    return this.#routes.size;
  }
}
