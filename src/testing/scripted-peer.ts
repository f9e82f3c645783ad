/**
 * A peer that answers from a script, so that a test says what each attempt of a call meets. It is a real server with
 * handlers that read lines: reached in process, or on simulated hosts through its `handlers`.
 */
import type { Code } from "../call/code.ts";
import { isCode } from "../call/code.ts";
import { RpcError } from "../call/error.ts";
import type { MethodInfo } from "../call/method.ts";
import { describeValue } from "../call/options.ts";
import { type AnyContract, type MethodShape, type MethodsOf, sourcesOf } from "../schema/contract.ts";
import { createServer, type Handlers } from "../server/create-server.ts";
import type { HandlerCall } from "../server/handler-call.ts";
import { type InProcess, inProcessDial } from "../wire/transport/in-process.ts";
import type { World } from "../world/world.ts";

/** The script of one method: a line for each attempt, in the order in which attempts arrive. */
export interface Scripted<M extends MethodShape> {
  /**
   * Answers with this message; a reply stream with these messages, and then its end. A stream of requests is read to its end before.
   * TypeError for other than one message where the method has one reply.
   */
  reply(...messages: readonly M["replyInit"][]): Scripted<M>;
  /** Fails at once. TypeError for what is neither an RpcError nor a failure's code. */
  fail(error: Code | RpcError): Scripted<M>;
  /** Never answers; ends when the call is cancelled, its deadline has passed, or the peer is disposed of. */
  hang(): Scripted<M>;
  /** What the peer was asked, in order, each message of request streams included. */
  readonly requests: readonly M["request"][];
}

/** A peer that answers from a script, one line per attempt; an attempt without a line fails the test. */
export interface ScriptedPeer<C extends AnyContract> extends InProcess, AsyncDisposable {
  /** The script of a method. TypeError for a method that the contract does not have. */
  on<K extends keyof MethodsOf<C>>(method: K): Scripted<MethodsOf<C>[K]>;
  /** For servers on which others are to reach the same script: `cluster.serve("shop", 2, (server) => server.service(Shop, peer.handlers))`. */
  readonly handlers: Handlers<C>;
}

/** What a scripted peer is made of. */
export interface ScriptedPeerOptions {
  /** Clock and timers of the peer. Default the real ones; inside a cluster give `cluster.world`. */
  readonly world?: World | undefined;
}

/**
 * Makes a peer with an empty script, to be given to `createClient` as its target. An attempt without a line is answered
 * with UNIMPLEMENTED, not to be repeated, and disposing of the peer then rejects with an Error that names each of them.
 */
export function createScriptedPeer<C extends AnyContract>(contract: C, options?: ScriptedPeerOptions): ScriptedPeer<C> {
  const scripts = new Map(sourcesOf(contract).map(({ info }) => [info.name, new Script(info)]));
  const entries = [...scripts].map(([name, script]) => [name, handlerOf(script)] as const);
  const handlers = Object.fromEntries(entries) as unknown as Handlers<C>;
  const server = createServer({ world: options?.world }).service(contract, handlers);
  return {
    handlers,
    on(method) {
      const script = scripts.get(String(method));
      if (script === undefined) {
        throw new TypeError(
          `the contract has no method ${describeValue(method)}; it has ${[...scripts.keys()].join(", ")}`,
        );
      }
      return script as unknown as Scripted<MethodsOf<C>[typeof method]>;
    },
    [inProcessDial]: (events) => server[inProcessDial](events),
    async [Symbol.asyncDispose]() {
      await server.close({ timeoutMs: 0 });
      const missing = [...scripts.values()].flatMap((script) => script.missing);
      if (missing.length > 0) throw new Error(missing.join("; "));
    },
  };
}

type Line =
  | { readonly kind: "reply"; readonly messages: readonly unknown[] }
  | { readonly kind: "fail"; readonly error: RpcError }
  | { readonly kind: "hang" };

class Script implements Scripted<MethodShape> {
  readonly requests: unknown[] = [];
  /** Attempts that found no line, in words. */
  readonly missing: string[] = [];
  readonly info: MethodInfo;
  private readonly lines: Line[] = [];
  private attempts = 0;

  constructor(info: MethodInfo) {
    this.info = info;
  }

  get isReplyStream(): boolean {
    return this.info.kind === "server-stream" || this.info.kind === "bidi";
  }

  get isRequestStream(): boolean {
    return this.info.kind === "client-stream" || this.info.kind === "bidi";
  }

  reply(...messages: readonly unknown[]): this {
    if (!this.isReplyStream && messages.length !== 1) {
      throw new TypeError(`${this.info.path} has one reply, got ${messages.length}`);
    }
    this.lines.push({ kind: "reply", messages });
    return this;
  }

  fail(error: Code | RpcError): this {
    if (!(error instanceof RpcError) && !isCode(error)) {
      throw new TypeError(`fail takes an RpcError or the code of a failure, got ${describeValue(error)}`);
    }
    this.lines.push({
      kind: "fail",
      error: error instanceof RpcError ? error : new RpcError(error, "from the script"),
    });
    return this;
  }

  hang(): this {
    this.lines.push({ kind: "hang" });
    return this;
  }

  /** The line of the next attempt. */
  next(): Line {
    this.attempts += 1;
    const line = this.lines.shift();
    if (line !== undefined) return line;
    const text = `the script of ${this.info.path} has no line for attempt ${this.attempts}`;
    this.missing.push(text);
    // Negative: a client that repeated this would only ask for one more line that is not there.
    return { kind: "fail", error: new RpcError("UNIMPLEMENTED", text, { retryAfterMs: -1 }) };
  }
}

function handlerOf(script: Script): (input: unknown, call: HandlerCall) => unknown {
  return script.isReplyStream
    ? (input, call) => replies(script, input, call)
    : async (input, call) => (await answers(script, input, call))[0];
}

async function* replies(script: Script, input: unknown, call: HandlerCall): AsyncGenerator<unknown> {
  yield* await answers(script, input, call);
}

async function answers(script: Script, input: unknown, call: HandlerCall): Promise<readonly unknown[]> {
  const line = script.next();
  const reading = readAll(script, input);
  switch (line.kind) {
    case "reply":
      await reading;
      return line.messages;
    case "fail":
      throw line.error;
    case "hang":
      return await untilAborted(call.signal);
  }
}

async function readAll(script: Script, input: unknown): Promise<void> {
  if (!script.isRequestStream) {
    script.requests.push(input);
    return;
  }
  try {
    for await (const request of input as AsyncIterable<unknown>) script.requests.push(request);
  } catch {
    // The call has ended for a reason that its caller hears; what was read until then stands in `requests`.
  }
}

function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const aborted = (): void => reject(signal.reason as Error);
    if (signal.aborted) aborted();
    else signal.addEventListener("abort", aborted, { once: true });
  });
}
