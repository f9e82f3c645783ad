/**
 * A gRPC service config, read as one level of the policy (grpc/service_config.proto; gRFC A2, A6). A wrong value throws with its JSON path, where
 * grpc-js takes the file and does nothing (grpc-node#2342). What we have no use for is accepted and noted.
 */
import type { MethodInfo } from "../../call/method.ts";
import {
  anyOption,
  describeValue,
  listOption,
  numberOption,
  objectOption,
  recordOption,
  resolveOptions,
  textOption,
  unknownKeyError,
} from "../../call/options.ts";
import type { Statement } from "./resolved-policy.ts";
import {
  type MethodConfig,
  methodConfigShape,
  statementsOfMethodConfig,
  withoutNulls,
} from "./service-config-method.ts";

/** One entry of `methodConfig`, as a level of the policy. */
export interface ServiceConfigEntry {
  /** Where it stands: `serviceConfig.methodConfig[0]`. */
  readonly path: string;
  readonly statements: readonly Statement[];
  readonly notes: readonly string[];
}

/** What a service config says about one service. */
export interface ServiceConfig {
  readonly service: string;
  /** For methods it names, by their names in the .proto. */
  readonly byMethod: ReadonlyMap<string, ServiceConfigEntry>;
  /** For the other methods of the service; undefined: it says nothing about them. */
  readonly otherwise: ServiceConfigEntry | undefined;
  /** The balancer it asks for, if it is one of ours. */
  readonly balance: "round-robin" | "p2c-ewma" | undefined;
  /** `healthCheckConfig.serviceName`: the service whose health is watched (gRFC A17); "" is the server's own. */
  readonly healthService: string | undefined;
  /** What was accepted and has no effect, or another one. */
  readonly notes: readonly string[];
}

/**
 * Reads a service config for one service; `methods` are the names of its methods in the .proto, if they are known. RangeError for text that is
 * no JSON and for values outside their range, TypeError for wrong types and unknown keys, all with the JSON path; RangeError also if `methodConfig`
 * has entries and none is for this service: it names those it has.
 */
export function parseServiceConfig(
  given: string | object,
  service: string,
  methods?: readonly string[],
): ServiceConfig {
  const config = resolveOptions("serviceConfig", withoutNulls(jsonOf(given)), configShape);
  const notes: string[] = [];
  const entries = config.methodConfig.map((entry, index) => entryOf(entry, index));
  const { byMethod, otherwise } = entriesFor(service, entries);
  if (methods !== undefined) notes.push(...unknownMethods(service, byMethod, methods));
  noteThrottling(config.retryThrottling, notes);
  if (config.connectionScaling !== undefined) {
    notes.push("serviceConfig.connectionScaling has no effect: connections grow at 80 % of the peer's stream limit");
  }
  return Object.freeze({
    service,
    byMethod,
    otherwise,
    balance: balanceOf(config.loadBalancingConfig, config.loadBalancingPolicy, notes),
    healthService: config.healthCheckConfig.serviceName,
    notes: Object.freeze(notes),
  });
}

/**
 * The entry of a method: its own, else its service's, else the one for all; the most specific one alone counts, as in gRPC. The notes of the
 * whole config come with it.
 */
export function serviceConfigEntry(config: ServiceConfig, method: MethodInfo): ServiceConfigEntry | undefined {
  const entry = config.byMethod.get(method.path.slice(method.path.lastIndexOf("/") + 1)) ?? config.otherwise;
  if (config.notes.length === 0) return entry;
  const { path = "serviceConfig", statements = [], notes = [] } = entry ?? {};
  return Object.freeze({ path, statements, notes: Object.freeze([...config.notes, ...notes]) });
}

interface NamedEntry extends ServiceConfigEntry {
  readonly names: readonly { readonly path: string; readonly service: string; readonly method: string }[];
}

const ENTRIES_MAX = 10_000;

const configShape = {
  loadBalancingPolicy: textOption({ lengthMin: 0 }),
  loadBalancingConfig: listOption(recordOption(anyOption<unknown>()), { lengthMax: 100 }),
  methodConfig: listOption(objectOption(methodConfigShape), { lengthMax: ENTRIES_MAX }),
  retryThrottling: anyOption<object>(),
  healthCheckConfig: objectOption({ serviceName: textOption({ lengthMin: 0, lengthMax: 1_000 }) }),
  connectionScaling: anyOption<object>(),
};

function jsonOf(given: unknown): unknown {
  if (typeof given !== "string") return given;
  try {
    return JSON.parse(given) as unknown;
  } catch (cause) {
    throw new RangeError(`serviceConfig must be JSON: ${cause instanceof Error ? cause.message : "unreadable"}`, {
      cause,
    });
  }
}

function entryOf(entry: MethodConfig, index: number): NamedEntry {
  const path = `serviceConfig.methodConfig[${index}]`;
  const names = entry.name.map(({ service, method }, at) => {
    const namePath = `${path}.name[${at}]`;
    if (service === "" && method !== "") {
      throw new RangeError(`${namePath}.service must not be empty where method is ${describeValue(method)}`);
    }
    return { path: namePath, service, method };
  });
  return Object.freeze({ path, names, ...statementsOfMethodConfig(path, entry) });
}

function entriesFor(service: string, entries: readonly NamedEntry[]): Pick<ServiceConfig, "byMethod" | "otherwise"> {
  const byMethod = new Map<string, ServiceConfigEntry>();
  const seen = new Map<string, string>();
  let ofService: ServiceConfigEntry | undefined;
  let ofAll: ServiceConfigEntry | undefined;
  for (const entry of entries) {
    const { path, statements, notes } = entry;
    const plain = Object.freeze({ path, statements, notes });
    for (const name of entry.names) {
      const key = `${name.service}/${name.method}`;
      const before = seen.get(key);
      if (before !== undefined) throw new RangeError(`${name.path} is ${nameText(name)}, which ${before} is already`);
      seen.set(key, name.path);
      if (name.service === "") ofAll = plain;
      else if (name.service === service && name.method === "") ofService = plain;
      else if (name.service === service) byMethod.set(name.method, plain);
    }
  }
  const otherwise = ofService ?? ofAll;
  if (seen.size > 0 && byMethod.size === 0 && otherwise === undefined) {
    const services = [...new Set(entries.flatMap(({ names }) => names.map((name) => name.service)))];
    throw new RangeError(`serviceConfig.methodConfig has no entry for ${service}, it has ${listed(services)}`);
  }
  return { byMethod, otherwise };
}

function nameText({ service, method }: { readonly service: string; readonly method: string }): string {
  return service === "" ? "the one for all methods" : method === "" ? service : `${service}/${method}`;
}

/** Names of a long file, cut. */
function listed(names: readonly string[]): string {
  const shown = names.slice(0, 10).join(", ");
  return names.length > 10 ? `${shown} and ${names.length - 10} more` : shown;
}

/** A method that this contract does not have may be one that a newer contract has: told, not refused. */
function unknownMethods(
  service: string,
  byMethod: ReadonlyMap<string, ServiceConfigEntry>,
  methods: readonly string[],
): readonly string[] {
  return [...byMethod]
    .filter(([method]) => !methods.includes(method))
    .map(([method, { path }]) => {
      const suggestion = /did you mean "([^"]*)"/.exec(unknownKeyError("", method, methods).message)?.[1];
      const hint = suggestion === undefined ? "" : `, did you mean ${suggestion}?`;
      return `${path} names ${method}, which is no method of ${service}${hint}`;
    });
}

function noteThrottling(given: object | undefined, notes: string[]): void {
  if (given === undefined) return;
  const path = "serviceConfig.retryThrottling";
  const { maxTokens, tokenRatio } = resolveOptions(path, given, {
    maxTokens: numberOption({ default: undefined, min: 1, max: 1_000, integer: true }),
    tokenRatio: numberOption({ default: undefined, min: 0, max: Number.MAX_VALUE }),
  });
  if (maxTokens === undefined) throw new TypeError(`${path}.maxTokens must be 1..1000, got undefined`);
  if (tokenRatio === undefined) throw new TypeError(`${path}.tokenRatio must be a number above 0, got undefined`);
  if (tokenRatio === 0) throw new RangeError(`${path}.tokenRatio must be a number above 0, got 0`);
  notes.push(`${path} has no effect: repeats and copies draw on the channel's budget`);
}

/** The first that is known, as in gRPC (service_config.proto, LoadBalancingConfig). */
const balancers: Readonly<Record<string, "round-robin" | "p2c-ewma">> = Object.freeze({
  round_robin: "round-robin",
  least_request_experimental: "p2c-ewma",
  weighted_round_robin: "p2c-ewma",
});

function balanceOf(
  configs: readonly Readonly<Record<string, unknown>>[],
  policy: string | undefined,
  notes: string[],
): ServiceConfig["balance"] {
  const wanted = configs.map((config, index) => {
    const names = Object.keys(config);
    const path = `serviceConfig.loadBalancingConfig[${index}]`;
    if (names.length !== 1) throw new RangeError(`${path} must have one key, the policy's name, got ${names.length}`);
    const [name = ""] = names;
    resolveOptions(`${path}.${name}`, config[name], anyKeys(config[name]));
    return { path, name };
  });
  if (wanted.length === 0 && policy !== undefined && policy !== "") {
    wanted.push({ path: "serviceConfig.loadBalancingPolicy", name: policy.toLowerCase() });
  }
  for (const { path, name } of wanted) {
    const balance = Object.hasOwn(balancers, name) ? balancers[name] : undefined;
    if (balance !== undefined) {
      if (name !== "round_robin")
        notes.push(`${path} ${name} is served by p2c-ewma: the load of a peer is measured here`);
      return balance;
    }
    notes.push(`${path} ${name} has no effect: ${whyNoBalancer(name)}`);
  }
  return undefined;
}

/** Its own keys, whatever they are: only that it is an object is checked. */
function anyKeys(given: unknown): Record<string, ReturnType<typeof anyOption<unknown>>> {
  const keys = typeof given === "object" && given !== null ? Object.keys(given) : [];
  return Object.fromEntries(keys.map((key) => [key, anyOption<unknown>()]));
}

function whyNoBalancer(name: string): string {
  return name === "pick_first" ? "calls are spread over all peers" : "it is none of ours";
}
