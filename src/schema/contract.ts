/**
 * Contracts: what a client and a server agree on. A protobuf service (from protoc-gen-es) is one as it is; `annotate` adds facts
 * that its .proto does not state.
 */
import type {
  DescMessage,
  DescMethod,
  DescMethodBiDiStreaming,
  DescMethodClientStreaming,
  DescMethodServerStreaming,
  DescMethodUnary,
  DescService,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import type { CallKind, Effect, MethodInfo, Priority } from "../call/method.ts";
import {
  anyOption,
  describeValue,
  listOption,
  numberOption,
  resolveOptions,
  unknownKeyError,
  wordOption,
} from "../call/options.ts";
import type { Refused } from "../call/refused.ts";
import type { ErrorKind } from "./define-error.ts";

/** The types of one method: the sender gives the init shapes, the receiver gets messages. Types only. */
export interface MethodShape {
  readonly kind: CallKind;
  readonly requestInit: unknown;
  readonly request: unknown;
  readonly replyInit: unknown;
  readonly reply: unknown;
  readonly effect: Effect;
}

/** The types of a contract's methods, by their names in TypeScript. */
export type MethodShapes = Readonly<Record<string, MethodShape>>;

/** A service with facts. Made by `annotate`. */
export interface Contract<M extends MethodShapes = MethodShapes> {
  /** Full protobuf name: `shop.v1.Orders`. */
  readonly name: string;
  readonly methods: { readonly [K in keyof M]: MethodInfo };
  /** Types only; absent at run time. */
  readonly "~shapes"?: M;
}

/** What clients and servers take: a generated service or a contract. */
export type AnyContract = DescService | Contract;

/** A method's types from its parts. Exported, for a contract's own declarations name it. */
export interface Shape<K extends CallKind, QI, Q, RI, R, E extends Effect> extends MethodShape {
  readonly kind: K;
  readonly requestInit: QI;
  readonly request: Q;
  readonly replyInit: RI;
  readonly reply: R;
  readonly effect: E;
}

/** A method's types from its protobuf messages. */
export type ProtoShape<K extends CallKind, I extends DescMessage, O extends DescMessage, E extends Effect> = Shape<
  K,
  MessageInitShape<I>,
  MessageShape<I>,
  MessageInitShape<O>,
  MessageShape<O>,
  E
>;

/** A method's types from its descriptor. */
export type DescShape<M, E extends Effect = Effect> =
  M extends DescMethodUnary<infer I, infer O>
    ? ProtoShape<"unary", I, O, E>
    : M extends DescMethodServerStreaming<infer I, infer O>
      ? ProtoShape<"server-stream", I, O, E>
      : M extends DescMethodClientStreaming<infer I, infer O>
        ? ProtoShape<"client-stream", I, O, E>
        : M extends DescMethodBiDiStreaming<infer I, infer O>
          ? ProtoShape<"bidi", I, O, E>
          : never;

type ProtoMethods<S extends DescService> = S["method"];

/** The method types of any contract; the one place that knows both kinds. */
export type MethodsOf<C> =
  C extends Contract<infer M>
    ? M
    : C extends DescService
      ? { readonly [K in keyof ProtoMethods<C>]: DescShape<ProtoMethods<C>[K]> }
      : never;

/** What the owner of a method knows about it. */
export interface MethodFacts {
  /** What a second execution would do. Default what the .proto declares by `idempotency_level`, else "unknown". */
  readonly effect?: Effect | undefined;
  /** The owner's opinion of a sane deadline, in milliseconds; callers may override. 1..86_400_000. Default none. */
  readonly timeoutMs?: number | undefined;
  /** Whom admission refuses first. Default the caller's. */
  readonly priority?: Priority | undefined;
  /** The kinds of error that the method throws, for documentation and types. At most 100. Default none. */
  readonly errors?: readonly ErrorKind<never, unknown>[] | undefined;
}

type EffectOf<F, Otherwise extends Effect> = F extends { readonly effect: infer E extends Effect } ? E : Otherwise;
type NoExtra<T, Known> = { readonly [K in Exclude<keyof T, keyof Known>]: Refused<`unknown key "${K & string}"`> };

/** What `annotate` infers; named, so that a contract's own declarations stay short. */
export type Annotated<S extends DescService, F> = {
  readonly [K in keyof S["method"]]: DescShape<S["method"][K], K extends keyof F ? EffectOf<F[K], Effect> : Effect>;
};

/** One method of a contract with all that is known of it. For the rooms that run it. */
export interface MethodSource {
  readonly desc: DescMethod;
  readonly info: MethodInfo;
  readonly timeoutMs: number | undefined;
  readonly priority: Priority | undefined;
}

/** Known to every copy of the package in this process. */
const methodSources: unique symbol = Symbol.for("holdfast.contract") as never;

const factsShape = {
  effect: wordOption<Effect>(["none", "idempotent", "once", "unknown"]),
  timeoutMs: numberOption({ default: undefined, min: 1, max: 86_400_000 }),
  priority: wordOption<Priority>(["critical", "normal", "sheddable"]),
  errors: listOption(anyOption<ErrorKind<never, unknown>>(), { lengthMax: 100 }),
};

/**
 * A protobuf service with facts that its .proto, or protobuf-es's types, do not state.
 *
 * Throws TypeError for a service that is none, a method it does not have, an unknown fact, and an effect that contradicts the
 * .proto's `idempotency_level`; RangeError for a `timeoutMs` outside 1..86_400_000.
 */
export function annotate<
  S extends DescService,
  const F extends { readonly [K in keyof S["method"]]?: MethodFacts | undefined },
>(service: S, facts: F & NoExtra<F, S["method"]>): Contract<Annotated<S, F>> {
  if (!isService(service)) {
    throw new TypeError(`annotate takes a service generated by protoc-gen-es, got ${describeValue(service)}`);
  }
  if (typeof facts !== "object" || facts === null || Array.isArray(facts)) {
    throw new TypeError(
      `facts must be an object with methods of ${service.typeName} as keys, got ${describeValue(facts)}`,
    );
  }
  const given = facts as Readonly<Record<string, MethodFacts | undefined>>;
  for (const key of Object.keys(given)) {
    if (!Object.hasOwn(service.method, key)) throw unknownKeyError("", key, Object.keys(service.method));
  }
  const sources = service.methods.map((method) => {
    return sourceOf(method, Object.hasOwn(given, method.localName) ? given[method.localName] : undefined);
  });
  const methods = Object.freeze(Object.fromEntries(sources.map(({ info }) => [info.name, info])));
  const contract = { name: service.typeName, methods };
  Object.defineProperty(contract, methodSources, { value: Object.freeze(sources) });
  return Object.freeze(contract) as unknown as Contract<Annotated<S, F>>;
}

/** The methods of any contract in the order of the .proto. TypeError for what is no contract. */
export function sourcesOf(contract: AnyContract): readonly MethodSource[] {
  if (isService(contract)) return contract.methods.map((method) => sourceOf(method, undefined));
  const sources =
    typeof contract === "object" && contract !== null
      ? (contract as { readonly [methodSources]?: readonly MethodSource[] })[methodSources]
      : undefined;
  if (sources === undefined) {
    throw new TypeError(
      `a contract must be a service generated by protoc-gen-es or made by annotate, got ${describeValue(contract)}`,
    );
  }
  return sources;
}

function isService(value: unknown): value is DescService {
  if (typeof value !== "object" || value === null) return false;
  const service = value as Partial<DescService>;
  return service.kind === "service" && typeof service.typeName === "string" && Array.isArray(service.methods);
}

function sourceOf(method: DescMethod, facts: MethodFacts | undefined): MethodSource {
  const path = `${method.parent.typeName}.${method.localName}`;
  const { effect, timeoutMs, priority } = resolveOptions(path, facts ?? {}, factsShape);
  const declared = declaredEffect(method);
  if (declared !== undefined && effect !== undefined && effect !== declared) {
    throw new TypeError(
      `${path} is annotated with effect "${effect}", but its .proto declares "${declared}" (idempotency_level)`,
    );
  }
  const info: MethodInfo = Object.freeze({
    service: method.parent.typeName,
    name: method.localName,
    path: `/${method.parent.typeName}/${method.name}`,
    kind: kindOf(method),
    effect: effect ?? declared ?? "unknown",
  });
  return Object.freeze({ desc: method, info, timeoutMs, priority });
}

/** What `idempotency_level` says; undefined where the .proto says nothing. */
function declaredEffect(method: DescMethod): Effect | undefined {
  switch (method.idempotency) {
    case MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS:
      return "none";
    case MethodOptions_IdempotencyLevel.IDEMPOTENT:
      return "idempotent";
    default:
      return undefined;
  }
}

function kindOf(method: DescMethod): CallKind {
  switch (method.methodKind) {
    case "unary":
      return "unary";
    case "server_streaming":
      return "server-stream";
    case "client_streaming":
      return "client-stream";
    case "bidi_streaming":
      return "bidi";
  }
}
