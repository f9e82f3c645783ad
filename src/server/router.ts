/**
 * From a path on the wire to a handler.
 */
import type { Interceptor } from "../call/interceptor.ts";
import { describeValue } from "../call/options.ts";
import type { AnyContract } from "../schema/contract.ts";
import { HandlerFigures } from "../policy/protect/handler-figures.ts";
import { type ContractPlan, type MethodPlan, planOf } from "../schema/plan.ts";
import { MethodFigures } from "./method-figures.ts";
import { ANYONE, type CheckedRule, checkRule } from "./rule.ts";
import { checkValidate, type Validate } from "./validate.ts";

/** What a user's handler looks like when its types are gone. */
export type AnyHandler = (request: unknown, call: unknown) => unknown;

export interface Route {
  readonly plan: MethodPlan;
  readonly handler: AnyHandler;
  readonly isRequestStream: boolean;
  readonly isReplyStream: boolean;
  readonly interceptors: readonly Interceptor[];
  /** Who may call it; undefined: what the server's doors ask for. */
  readonly rule: CheckedRule | undefined;
  /** What a request must be; undefined: whatever can be decoded. */
  readonly validate: Validate | undefined;
  /** The server's own services: never refused for overload, and open to everyone on the doors that have them. */
  readonly isBuiltIn: boolean;
  /** On doors that only this machine can reach, and nowhere else. */
  readonly isLocalOnly: boolean;
  readonly figures: MethodFigures;
  /** What admission knows of the handler. */
  readonly handlerFigures: HandlerFigures;
  /** Its answers are kept, so that repeats get the first one: effect once, one request, one reply. */
  readonly isKept: boolean;
  /** A call that a crash left running may run again. */
  readonly rerunsUnknown: boolean;
}

/** How a service is served. */
export interface RouteOptions {
  readonly interceptors: readonly Interceptor[];
  readonly authorize: unknown;
  readonly validate: unknown;
  readonly onUnknown: unknown;
  readonly isBuiltIn: boolean;
  readonly isLocalOnly: boolean;
}

export class Router {
  readonly #routes: Map<string, Route>;
  readonly #services: Map<string, "own" | "built-in">;
  readonly #contracts: AnyContract[];

  constructor() {
    this.#routes = new Map();
    this.#services = new Map();
    this.#contracts = [];
  }

  /**
   * Adds a service. TypeError for a missing, unknown or non-function handler, a wrong rule or schema, or a service that stands already; one
   * of the server's own gives way to the user's.
   */
  add(contract: AnyContract, handlers: unknown, options: RouteOptions): void {
    const plan = planOf(contract);
    const before = this.#services.get(plan.name);
    if (before === "own") throw new TypeError(`service ${plan.name} was added before`);
    if (before === "built-in" && options.isBuiltIn) return;
    const rules = rulesOf(plan, options.authorize);
    const checks = checksOf(plan, options.validate);
    const reruns = rerunsOf(plan, options.onUnknown);
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
        interceptors: options.interceptors,
        rule: options.isBuiltIn ? ANYONE : rules(method.info.name),
        validate: checks(method.info.name),
        isBuiltIn: options.isBuiltIn,
        isLocalOnly: options.isLocalOnly,
        figures: new MethodFigures(method.info),
        handlerFigures: new HandlerFigures(),
        isKept: kind === "unary" && method.info.effect === "once",
        rerunsUnknown: reruns(method.info.name),
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
    this.#services.set(plan.name, options.isBuiltIn ? "built-in" : "own");
    this.#contracts.push(contract);
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
    return [...this.#services.keys()];
  }
  /** In the order in which they were added; the server's own among them. */
  get contracts(): readonly AnyContract[] {
    return this.#contracts;
  }
  /** Some method's answers are to be kept. */
  get hasKept(): boolean {
    for (const { isKept } of this.#routes.values()) if (isKept) return true;
    return false;
  }
  /** All methods. */
  routes(): IterableIterator<Route> {
    return this.#routes.values();
  }
  get size(): number {
    return this.#routes.size;
  }
}

/** One rule for all methods, or one for each: a method that was forgotten is an error, for nobody would have decided about it. */
function rulesOf(plan: ContractPlan, given: unknown): (name: string) => CheckedRule | undefined {
  if (given === undefined) return () => undefined;
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    const rule = checkRule("authorize", given);
    return () => rule;
  }
  const byName = perMethod(plan, "authorize", given);
  for (const name of plan.byLocalName.keys()) {
    if (byName[name] === undefined)
      throw new TypeError(`authorize must have a rule for each method, "${name}" has none`);
  }
  const rules = new Map(Object.entries(byName).map(([name, rule]) => [name, checkRule(`authorize.${name}`, rule)]));
  return (name) => rules.get(name);
}

function checksOf(plan: ContractPlan, given: unknown): (name: string) => Validate | undefined {
  if (given === undefined) return () => undefined;
  if (typeof given !== "object" || given === null) {
    throw new TypeError(`validate must be an object of schemas by method, got ${describeValue(given)}`);
  }
  const byName = perMethod(plan, "validate", given);
  const checks = new Map(
    Object.entries(byName)
      .filter(([, schema]) => schema !== undefined)
      .map(([name, schema]) => [name, checkValidate(`validate.${name}`, schema)]),
  );
  return (name) => checks.get(name);
}

function rerunsOf(plan: ContractPlan, given: unknown): (name: string) => boolean {
  if (given === undefined) return () => false;
  if (typeof given !== "object" || given === null) {
    throw new TypeError(`onUnknown must be an object of "rerun" or "refuse" by method, got ${describeValue(given)}`);
  }
  const byName = perMethod(plan, "onUnknown", given);
  for (const [name, word] of Object.entries(byName)) {
    if (word !== undefined && word !== "rerun" && word !== "refuse")
      throw new TypeError(`onUnknown.${name} must be "rerun" or "refuse", got ${describeValue(word)}`);
    const effect = plan.byLocalName.get(name)?.info.effect;
    if (effect !== "once") throw new TypeError(`onUnknown is for methods of effect once, ${name} has effect ${effect}`);
  }
  return (name) => byName[name] === "rerun";
}

function perMethod(plan: ContractPlan, option: string, given: object): Readonly<Record<string, unknown>> {
  const byName = given as Readonly<Record<string, unknown>>;
  for (const name of Object.keys(byName)) {
    if (plan.byLocalName.has(name)) continue;
    const known = [...plan.byLocalName.keys()].join(", ");
    throw new TypeError(`${option} names "${name}", which is no method of ${plan.name}; it has ${known}`);
  }
  return byName;
}
