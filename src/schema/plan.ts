/**
 * What a client and a server run on: the methods of a contract with their codecs, made once per contract.
 */
import type { MethodInfo, Priority } from "../call/method.ts";
import { compileCodec, type MessageCodec } from "./codec.ts";
import { type AnyContract, type MethodSource, sourcesOf } from "./contract.ts";

/** One method, ready to be called or served. */
export interface MethodPlan {
  readonly info: MethodInfo;
  readonly request: MessageCodec;
  readonly reply: MessageCodec;
  /** The owner's deadline for the method, in milliseconds; undefined if none was stated. */
  readonly timeoutMs: number | undefined;
  readonly priority: Priority | undefined;
}

/** A contract, ready to be called or served. */
export interface ContractPlan {
  /** Full protobuf name of the service. */
  readonly name: string;
  /** In the order of the .proto. */
  readonly methods: readonly MethodPlan[];
  /** By the name in TypeScript. */
  readonly byLocalName: ReadonlyMap<string, MethodPlan>;
}

const plans: WeakMap<AnyContract, ContractPlan> = new WeakMap();

/**
 * The plan of a contract, from a cache after the first time.
 *
 * Throws TypeError for what is no contract, and for a method named `then` (it would make a client awaitable) or one that starts
 * with `$` (such names are Holdfast's own); UnsupportedError for messages with groups.
 */
export function planOf(contract: AnyContract): ContractPlan {
  const known = isKey(contract) ? plans.get(contract) : undefined;
  if (known !== undefined) return known;
  const methods = sourcesOf(contract).map(methodPlanOf);
  const plan: ContractPlan = Object.freeze({
    name: nameOf(contract),
    methods: Object.freeze(methods),
    byLocalName: new Map(methods.map((method) => [method.info.name, method])),
  });
  plans.set(contract, plan);
  return plan;
}

function methodPlanOf({ desc, info, timeoutMs, priority }: MethodSource): MethodPlan {
  if (info.name === "then") {
    throw new TypeError(
      `${info.path} cannot be a method of a client: \`then\` would make the client awaitable; rename it`,
    );
  }
  if (info.name.startsWith("$")) {
    throw new TypeError(
      `${info.path} cannot be a method of a client: names that start with $ are Holdfast's own; rename it`,
    );
  }
  const request = compileCodec(desc.input);
  const reply = compileCodec(desc.output);
  return Object.freeze({ info, request, reply, timeoutMs, priority });
}

function nameOf(contract: AnyContract): string {
  return "typeName" in contract ? contract.typeName : contract.name;
}

/** A WeakMap refuses primitives on `set` with a message that names no contract; `sourcesOf` has the better words. */
function isKey(value: unknown): value is AnyContract {
  return typeof value === "object" && value !== null;
}
