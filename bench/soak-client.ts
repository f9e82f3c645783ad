/** A client's process of the soak: an open loop of deeds, each of which must end as it should. */
import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { annotate, type Client, createClient, type Interceptor, RpcError } from "holdfast";
import { Probe } from "../test/peers/gen/holdfast/interop/v1/probe_pb.js";
import { nodeWorld } from "../src/world/node.ts";
import { runtimeOf } from "../src/wire/transport/runtime.ts";
import { answerCommands } from "./commands.ts";
import { serverHost, tlsServerName } from "./contender.ts";
import { type SoakClientCommands, type SoakTally, takeSample } from "./soak-commands.ts";

const SoakProbe = annotate(Probe, { seen: { effect: "once" } });
type Soak = Client<typeof SoakProbe>;

/** Calls have so long: a busy machine may take its time. */
const timeoutMs = 20_000;
const large = Buffer.alloc(48 * 1_024, 7);
const small = Buffer.from("soak");
const restMs = 15_000;
/** Every so many deeds a client comes and goes, or a connection breaks. */
const visitEvery = 50;
/** A machine that has no time for us gets fewer calls, and not a heap of those that were due. */
const openMax = 60;

/** What is wrapped around each call of a client. */
const interceptor: Interceptor = (next) => (call) => next(call.map((message) => message));

class SoakLoad {
  readonly #port: number;
  readonly #caFile: string | undefined;
  readonly #client: Soak;
  readonly #stranger: Soak;
  /** One that lives as long as the process: who listens to it must let go. */
  readonly #longSignal = new AbortController().signal;
  readonly #open = new Set<Promise<void>>();
  readonly #deeds: Record<string, number> = {};
  readonly #surprises: Record<string, number> = {};
  readonly #unavailable: Record<string, number> = {};
  #isStopped = false;
  #calls = 0;
  #refused = 0;

  constructor(port: number, caFile: string | undefined) {
    this.#port = port;
    this.#caFile = caFile;
    this.#client = this.#connect("soak");
    this.#stranger = this.#connect(undefined);
  }

  get calls(): number {
    return this.#calls;
  }
  get open(): number {
    return this.#open.size;
  }

  start(perSecond: number): void {
    const names = Object.keys(deeds);
    const beganAtMs = performance.now();
    let begun = 0;
    const turn = (): void => {
      if (this.#isStopped) return;
      const due = ((performance.now() - beganAtMs) * perSecond) / 1_000;
      for (; begun < due; begun += 1) {
        if (this.#open.size >= openMax) continue;
        const isVisit = begun % visitEvery === visitEvery - 1;
        const name = names[begun % names.length] ?? "";
        if (!isVisit) this.#track(name, deeds[name]?.(this.#client, this) ?? Promise.resolve());
        else if (begun % (2 * visitEvery) === visitEvery - 1) this.#track("visit", this.#visit());
        else this.#track("break", this.#breakOff());
      }
      setTimeout(turn, 5);
    };
    turn();
  }

  async rest(): Promise<SoakTally> {
    this.#isStopped = true;
    const left: string[] = [];
    await Promise.race([Promise.all(this.#open), sleep(restMs)]);
    if (this.#open.size > 0) left.push(`${this.#open.size} deeds that do not end`);
    await Promise.all([this.#client.$close(), this.#stranger.$close()]);
    await sleep(200);
    const { size } = runtimeOf(nodeWorld).wheel;
    if (size > 0) left.push(`${size} timers`);
    const sample = takeSample(this.#calls, this.open);
    return {
      calls: this.#calls,
      refused: this.#refused,
      deeds: this.#deeds,
      surprises: this.#surprises,
      unavailable: this.#unavailable,
      left,
      sample,
    };
  }

  get stranger(): Soak {
    return this.#stranger;
  }
  get longSignal(): AbortSignal {
    return this.#longSignal;
  }

  #track(name: string, work: Promise<unknown>): void {
    this.#calls += 1;
    this.#deeds[name] = (this.#deeds[name] ?? 0) + 1;
    const tracked = work
      .then(
        () => {},
        (error: unknown) => {
          // Admission refuses what a busy machine cannot do in time: that is as it should be.
          if (error instanceof RpcError && error.code === "RESOURCE_EXHAUSTED") {
            this.#refused += 1;
            return;
          }
          const key = `${name}: ${error instanceof RpcError ? `${error.code}: ${error.text}` : String(error)}`;
          // Ports and numbers would make each of them a kind of its own.
          const kind = key.replaceAll(/\d+/g, "N").slice(0, 200);
          const isUnavailable = error instanceof RpcError && error.code === "UNAVAILABLE";
          const counts = isUnavailable ? this.#unavailable : this.#surprises;
          counts[kind] = (counts[kind] ?? 0) + 1;
        },
      )
      .finally(() => this.#open.delete(tracked));
    this.#open.add(tracked);
  }

  #connect(token: string | undefined): Soak {
    return createClient(SoakProbe, `${serverHost}:${this.#port}`, {
      policy: { timeoutMs },
      interceptors: [interceptor],
      ...(token === undefined ? {} : { token: () => token }),
      ...(this.#caFile === undefined ? {} : { tls: { caFile: this.#caFile, serverName: tlsServerName } }),
    });
  }

  /** A client that comes, calls, and goes in the middle of a stream. */
  async #visit(): Promise<void> {
    const visitor = this.#connect(`visitor-${this.#calls % 1_000}-late`);
    try {
      await Promise.all([visitor.unary({ body: small }), visitor.seen({ key: "visit" })]);
      this.#calls += 2;
      const stream = visitor.download({ replyCount: 1_000, delayMs: 5 });
      await stream[Symbol.asyncIterator]().next();
    } finally {
      await visitor.$close({ timeoutMs: 0 });
    }
  }

  /** A connection that is cut: in its preface, in a frame, or after words that are no HTTP/2. */
  async #breakOff(): Promise<void> {
    const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x20\x01\x04", "latin1");
    const socket = connect(this.#port, serverHost);
    socket.on("error", () => {});
    await once(socket, "connect");
    const length = [3, preface.length, preface.length - 6][this.#calls % 3];
    socket.write(preface.subarray(0, length));
    await sleep(5);
    socket.destroy();
  }
}

type Deed = (client: Soak, load: SoakLoad) => Promise<unknown>;

const deeds: Readonly<Record<string, Deed>> = {
  unary: (client) => client.unary({ body: small }),
  "unary, large": (client) => client.unary({ body: large }),
  "unary, metadata": (client, { calls }) => client.unary({}, { metadata: { "x-number": String(calls % 100) } }),
  "unary, nested": (client) => client.unary({ body: small, key: "nested" }),
  "unary, long-lived signal": (client, { longSignal }) => client.unary({ body: small }, { signal: longSignal }),
  "unary, deadline": (client) => ends(client.unary({ delayMs: 5_000 }, { timeoutMs: 20 }), "DEADLINE_EXCEEDED"),
  "unary, cancelled": (client) =>
    ends(
      cancelled((signal) => client.unary({ delayMs: 5_000 }, { signal })),
      "CANCELLED",
    ),
  "unary, fails": (client) => ends(client.unary({ failure: { text: "not there" } }), "NOT_FOUND"),
  "unary, defect": (client) => ends(client.unary({ isDefect: true }), "UNKNOWN"),
  "unary, stranger": (_, { stranger }) => ends(stranger.unary({}), "UNAUTHENTICATED"),
  "unary, missing": (client) => ends(client.missing({}), "UNIMPLEMENTED"),
  once: (client) => client.seen({ key: "once" }),
  "once, key": (client, { calls }) => client.seen({ key: "once" }, { idempotencyKey: `order-${calls % 10}` }),
  download: (client) => drained(client.download({ replyCount: 10 })),
  "download, abandoned": (client) => abandoned(client.download({ replyCount: 1_000, delayMs: 2 })),
  "download, fails": (client) =>
    ends(drained(client.download({ replyCount: 3, failure: { text: "no" } })), "NOT_FOUND"),
  "download, deadline": (client) =>
    ends(drained(client.download({ replyCount: 1_000, delayMs: 5 }, { timeoutMs: 30 })), "DEADLINE_EXCEEDED"),
  "download, cancelled": (client) =>
    ends(
      cancelled((signal) => drained(client.download({ replyCount: 1_000, delayMs: 5 }, { signal }))),
      "CANCELLED",
    ),
  upload: (client) => client.upload(messages(10)),
  "upload, source throws": (client) => throws(client.upload(broken())),
  chat: (client) => drained(client.chat(messages(5))),
  "chat, abandoned": (client) => abandoned(client.chat(endless())),
  "chat, cancelled": (client) =>
    ends(
      cancelled((signal) => drained(client.chat(endless(), { signal }))),
      "CANCELLED",
    ),
};

async function ends(work: PromiseLike<unknown>, code: string): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (error instanceof RpcError && error.code === code) return;
    throw error;
  }
  throw new Error(`ended well, not with ${code}`);
}

async function throws(work: PromiseLike<unknown>): Promise<void> {
  let isThrown = false;
  try {
    await work;
  } catch {
    isThrown = true;
  }
  if (!isThrown) throw new Error("ended well, although its source threw");
}

async function cancelled(work: (signal: AbortSignal) => PromiseLike<unknown>): Promise<void> {
  const controller = new AbortController();
  const going = work(controller.signal);
  setTimeout(() => controller.abort(), 10);
  await going;
}

async function drained(stream: AsyncIterable<unknown>): Promise<number> {
  let count = 0;
  for await (const _ of stream) count += 1;
  return count;
}

async function abandoned(stream: AsyncIterable<unknown>): Promise<void> {
  let left = 2;
  for await (const _ of stream) {
    left -= 1;
    if (left === 0) break;
  }
}

function* messages(count: number): Generator<{ body: Uint8Array<ArrayBuffer> }> {
  for (let index = 0; index < count; index += 1) yield { body: small };
}

async function* endless(): AsyncGenerator<{ body: Uint8Array<ArrayBuffer> }> {
  for (;;) {
    yield { body: small };
    await sleep(3);
  }
}

async function* broken(): AsyncGenerator<{ body: Uint8Array<ArrayBuffer> }> {
  yield { body: small };
  await sleep(1);
  throw new Error("the source broke");
}

let load: SoakLoad | undefined;

const commands: SoakClientCommands = {
  start({ port, caFile, perSecond }) {
    load = new SoakLoad(port, caFile);
    load.start(perSecond);
    return Promise.resolve();
  },
  sample: () => Promise.resolve(takeSample(load?.calls ?? 0, load?.open ?? 0)),
  rest() {
    if (load === undefined) throw new Error("start before rest");
    return load.rest();
  },
};
answerCommands({ ...commands });
