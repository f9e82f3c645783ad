/**
 * Faults of calls, put between a simulated server and its handlers: a share of calls fails with a code, or begins late.
 * Handlers are wrapped instead of intercepted: a call that no fault means takes the path that it takes in production.
 */
import type { Code } from "../call/code.ts";
import { isCode } from "../call/code.ts";
import { RpcError } from "../call/error.ts";
import type { CallKind } from "../call/method.ts";
import { describeValue } from "../call/options.ts";
import { type AnyContract, sourcesOf } from "../schema/contract.ts";
import type { Handlers, Server, ServiceOptions } from "../server/create-server.ts";
import type { HandlerCall } from "../server/handler-call.ts";
import type { Random } from "../world/random.ts";
import { seededRandom } from "../world/seeded-random.ts";
import type { World } from "../world/world.ts";
import { type InjectionTime, isMeant } from "./injection.ts";
import { checkRange } from "./link.ts";

/**
 * What to do to calls, at the server, before their handler runs. `path` is a method (`/shop.v1.Shop/Buy`) or what several
 * begin with up to a slash (`/shop.v1.Shop/`, `/`); `share` the part of such calls that suffers, 0 to 1, default 1.
 *
 * - `fail`: the call ends with this code, as if its handler had thrown it.
 * - `delay` with a `path`: the handler begins so much later. (Without a path it is the network that is slow.)
 */
export type CallInjection = InjectionTime &
  (
    | {
        readonly kind: "fail";
        readonly code: Code;
        readonly peer?: string | undefined;
        readonly path?: string | undefined;
        readonly share?: number | undefined;
      }
    | {
        readonly kind: "delay";
        readonly path: string;
        readonly delayMs: number;
        readonly peer?: string | undefined;
        readonly share?: number | undefined;
      }
  );

interface CallFault {
  readonly injection: CallInjection;
  readonly fromMs: number;
  readonly untilMs: number;
  readonly random: Random;
}

/** What one call meets. */
interface Ordeal {
  readonly delayMs: number;
  readonly code: Code | undefined;
}

/** The faults of calls of one simulated world. */
export class CallFaults {
  private readonly seed: number;
  private readonly nowMs: () => number;
  private faults: CallFault[] = [];
  private added = 0;

  constructor(seed: number, nowMs: () => number) {
    this.seed = seed;
    this.nowMs = nowMs;
  }

  /** From now on, or later. RangeError or TypeError for what cannot be. */
  add(injection: CallInjection): void {
    const { atMs = 0, forMs = Number.POSITIVE_INFINITY, share = 1, path = "/" } = injection;
    checkRange("atMs", atMs, 0, Number.MAX_SAFE_INTEGER);
    checkRange("forMs", forMs, 0, Number.POSITIVE_INFINITY);
    checkRange("share", share, 0, 1);
    if (!path.startsWith("/")) throw new RangeError(`path must begin with "/", got ${describeValue(path)}`);
    if (injection.kind === "delay") checkRange("delayMs", injection.delayMs, 0, 86_400_000);
    else if (!isCode(injection.code))
      throw new TypeError(`code must be a failure, got ${describeValue(injection.code)}`);
    const nowMs = this.nowMs();
    // Faults that are over are forgotten here, so that a long simulation does not gather them.
    this.faults = this.faults.filter(({ untilMs }) => untilMs > nowMs);
    const random = seededRandom(this.seed + 0x9e37 * ++this.added);
    this.faults.push({ injection, fromMs: nowMs + atMs, untilMs: nowMs + atMs + forMs, random });
  }

  /** What a call to this path on this host has to suffer now; undefined: nothing. */
  meet(host: string, path: string): Ordeal | undefined {
    if (this.faults.length === 0) return undefined;
    const nowMs = this.nowMs();
    let delayMs = 0;
    let code: Code | undefined;
    for (const { injection, fromMs, untilMs, random } of this.faults) {
      const isNow = fromMs <= nowMs && nowMs < untilMs;
      if (!isNow || !isMeant(injection.peer, host) || !isPathMeant(injection.path, path)) continue;
      const { share = 1 } = injection;
      if (share < 1 && random.float() >= share) continue;
      if (injection.kind === "delay") delayMs += injection.delayMs;
      else code ??= injection.code;
    }
    return delayMs > 0 || code !== undefined ? { delayMs, code } : undefined;
  }
}

/** Whether a call fault, and not the network, is asked for. */
export function isCallInjection(injection: { readonly kind: string }): injection is CallInjection {
  return (
    injection.kind === "fail" || (injection.kind === "delay" && "path" in injection && injection.path !== undefined)
  );
}

/** Lets every service that is added from now on meet these faults. Gives back the same server. */
export function withCallFaults(server: Server, faults: CallFaults, host: string, world: World): Server {
  const service = server.service.bind(server);
  const value = (contract: AnyContract, handlers: unknown, options?: ServiceOptions): Server => {
    return service(contract, faultyHandlers(contract, handlers, faults, host, world) as Handlers<AnyContract>, options);
  };
  return Object.defineProperty(server, "service", { value });
}

type Handler = (input: unknown, call: HandlerCall) => unknown;

function faultyHandlers(
  contract: AnyContract,
  handlers: unknown,
  faults: CallFaults,
  host: string,
  world: World,
): unknown {
  // What is no object, and what is missing, is left for the server to complain about.
  if (typeof handlers !== "object" || handlers === null) return handlers;
  const isLiteral = Object.getPrototypeOf(handlers) === Object.prototype;
  const faulty: Record<string, unknown> = isLiteral ? { ...handlers } : {};
  for (const { info } of sourcesOf(contract)) {
    const handler = (handlers as Readonly<Record<string, unknown>>)[info.name];
    if (typeof handler !== "function") continue;
    const meet = (): Ordeal | undefined => faults.meet(host, info.path);
    faulty[info.name] = faultyHandler(handler.bind(handlers) as Handler, info.kind, meet, world);
  }
  return faulty;
}

function faultyHandler(handler: Handler, kind: CallKind, meet: () => Ordeal | undefined, world: World): Handler {
  const isReplyStream = kind === "server-stream" || kind === "bidi";
  return (input, call) => {
    const ordeal = meet();
    if (ordeal === undefined) return handler(input, call);
    return isReplyStream ? lateStream(handler, input, call, ordeal, world) : late(handler, input, call, ordeal, world);
  };
}

async function late(
  handler: Handler,
  input: unknown,
  call: HandlerCall,
  ordeal: Ordeal,
  world: World,
): Promise<unknown> {
  await suffer(ordeal, call, world);
  return handler(input, call);
}

async function* lateStream(
  handler: Handler,
  input: unknown,
  call: HandlerCall,
  ordeal: Ordeal,
  world: World,
): AsyncGenerator<unknown> {
  await suffer(ordeal, call, world);
  yield* handler(input, call) as AsyncIterable<unknown> | Iterable<unknown>;
}

async function suffer({ delayMs, code }: Ordeal, call: HandlerCall, world: World): Promise<void> {
  if (delayMs > 0) await pause(world, delayMs, call.signal);
  if (code !== undefined) throw new RpcError(code, "injected by the test");
}

/** Waits; rejects with the signal's reason as soon as it is aborted. */
function pause(world: World, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const aborted = (): void => {
      timer.cancel();
      reject(signal.reason as Error);
    };
    const timer = world.timers.schedule(ms, () => {
      signal.removeEventListener("abort", aborted);
      resolve();
    });
    if (signal.aborted) aborted();
    else signal.addEventListener("abort", aborted, { once: true });
  });
}

function isPathMeant(pattern: string | undefined, path: string): boolean {
  return pattern === undefined || pattern === path || (pattern.endsWith("/") && path.startsWith(pattern));
}
