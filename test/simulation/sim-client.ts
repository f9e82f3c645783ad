/**
 * One life of one client process: loops that make calls of all kinds, and look at what comes of each. It begins anew when its host does.
 */
import { annotate, type CallOptions, type Client, createChannel, type RpcError } from "holdfast";
import { codeNumber } from "../../src/call/code.ts";
import type { Code } from "../../src/call/code.ts";
import type { Effect } from "../../src/call/method.ts";
import type { HoldfastChannel } from "../../src/client/channel.ts";
import type { Random } from "../../src/world/random.ts";
import { seededRandom } from "../../src/world/seeded-random.ts";
import { around, between, happens, oneOf } from "./chance.ts";
import { type CallNote, callMark, type History } from "./history.ts";
import { pause, Probe } from "./probe-cluster.ts";
import { answerTo, answerToAll } from "./sim-service.ts";
import { attemptsOf, type ClientPlan, type UniversePlan } from "./universe-plan.ts";
import { callMarkName, type WireTap } from "./wire-tap.ts";

type SimApi = Client<typeof Probe>;

const effects: readonly Effect[] = ["none", "idempotent", "once", "unknown"];
/** What handlers are asked to fail with, and what to say about trying again ("" for nothing). */
const raised: readonly Code[] = ["UNAVAILABLE", "INTERNAL", "RESOURCE_EXHAUSTED", "ABORTED", "NOT_FOUND"];
const pushbacks: readonly string[] = ["", "", "-1", "20", "200"];
const contracts = Object.fromEntries(effects.map((effect) => [effect, contractOf(effect)])) as unknown as Readonly<
  Record<Effect, typeof Probe>
>;

export interface SimClient {
  readonly plan: ClientPlan;
  readonly life: number;
  readonly tap: WireTap;
  readonly channel: HoldfastChannel;
  readonly apis: Readonly<Record<Effect, SimApi>>;
  readonly history: History;
  readonly random: Random;
}

/** What the caller of one call wants. */
interface Wish {
  readonly bodies: readonly Uint8Array[];
  /** Replies to one request. */
  readonly replyCount: number;
  readonly delayMs: number;
  readonly failure: { readonly code: number; readonly text: string } | undefined;
  readonly isStubborn: boolean;
  /** Leave the reply stream after so many replies. */
  readonly leaveAfter: number;
}

/** Makes the client of a process. */
export function startSimClient(
  universe: UniversePlan,
  plan: ClientPlan,
  life: number,
  tap: WireTap,
  target: readonly string[],
): SimClient {
  const channel = createChannel([...target], {
    world: tap.world,
    plaintext: true,
    connections: { connectTimeoutMs: plan.connectTimeoutMs },
  }) as HoldfastChannel;
  tap.opinion = () => channel.peers();
  const apis = Object.fromEntries(
    effects.map((effect) => [effect, channel.client(contracts[effect], { policy: plan.preset })]),
  );
  const random = seededRandom(universe.seed * 8191 + Number(plan.host.slice(1)) * 127 + life);
  return { plan, life, tap, channel, apis: apis as SimClient["apis"], history: tap.history, random };
}

/** Makes calls, one after the other, until `untilMs`. */
export async function callInLoop(client: SimClient, workMsMean: number, untilMs: number): Promise<void> {
  const { plan, tap, random } = client;
  const { world, nowMs } = tap;
  await pause(world, random.float() * plan.pauseMsMean);
  while (nowMs() < untilMs) {
    const facts = { effect: oneOf(random, plan.effects), kind: oneOf(random, plan.kinds) };
    const timeoutMs = Math.max(20, around(random, plan.timeoutMsMean));
    await makeCall(client, { ...facts, timeoutMs, isProbe: false }, wishOf(client, workMsMean));
    await pause(world, around(random, plan.pauseMsMean));
  }
}

/** Makes a call that must succeed when all is well. */
export function probeCall(client: SimClient, timeoutMs: number): Promise<CallNote> {
  const wish = { bodies: [bodyOf(client.random, 0.2)], replyCount: 1, delayMs: 1 };
  const idle = { failure: undefined, isStubborn: false, leaveAfter: Number.POSITIVE_INFINITY };
  return makeCall(client, { effect: "none", kind: "unary", timeoutMs, isProbe: true }, { ...wish, ...idle });
}

function wishOf({ plan, random }: SimClient, workMsMean: number): Wish {
  const largeShare = happens(random, 0.1) ? 0.5 : 0;
  const bodies = Array.from({ length: between(random, 1, 6) }, () => bodyOf(random, largeShare));
  const failure = { code: codeNumber(oneOf(random, raised)), text: oneOf(random, pushbacks) };
  const replyCount = between(random, 0, 8);
  return {
    bodies,
    replyCount,
    delayMs: Math.round(random.float() * 2 * workMsMean),
    failure: happens(random, plan.raiseShare) ? failure : undefined,
    isStubborn: happens(random, plan.stubbornShare),
    leaveAfter: happens(random, plan.leaveShare) ? between(random, 1, 4) : Number.POSITIVE_INFINITY,
  };
}

/** Mostly small, now and then larger than what one turn of a connection gathers. */
function bodyOf(random: Random, largeShare: number): Buffer {
  const sizeMax = happens(random, largeShare) ? 120_000 : oneOf(random, [200, 20_000]);
  return Buffer.alloc(between(random, 0, sizeMax), random.uint32() & 0xff);
}

async function makeCall(
  client: SimClient,
  facts: Pick<CallNote, "effect" | "kind" | "isProbe"> & { readonly timeoutMs: number },
  wish: Wish,
): Promise<CallNote> {
  const { plan, life, history, random, tap } = client;
  const { timeoutMs, ...known } = facts;
  const beganAtMs = tap.nowMs();
  const whose = { client: plan.host, life, attemptsMax: attemptsOf[plan.preset] };
  const note = history.callBegan({ ...known, ...whose, beganAtMs, dueAtMs: beganAtMs + timeoutMs });
  const abort = new AbortController();
  const isCancelled = !facts.isProbe && happens(random, plan.cancelShare);
  const cancel = isCancelled
    ? tap.world.timers.schedule(random.float() * timeoutMs, () => abort.abort(new Error("changed its mind")))
    : undefined;
  const options: CallOptions = {
    timeoutMs,
    ...(isCancelled ? { signal: abort.signal } : {}),
    metadata: { [callMarkName]: callMark(note.number) },
    onReply: ({ attempts }) => {
      note.reports += 1;
      note.toldAttempts = attempts;
    },
  };
  try {
    const isLeft = await call(client.apis[facts.effect], note, wish, options);
    history.callEnded(note, tap.nowMs(), isLeft ? "left" : "OK");
  } catch (error) {
    noteFailure(note, error);
    history.callEnded(note, tap.nowMs(), String((error as Partial<RpcError>).code));
  }
  cancel?.cancel();
  return note;
}

function noteFailure(note: CallNote, error: unknown): void {
  const failed = error as Partial<RpcError>;
  note.text = String(failed.message ?? error);
  note.reached = failed.reached ?? "";
  if (failed.code === undefined) note.wrong = `it failed with what is no RpcError: ${note.text}`;
}

/** Makes the call and looks at its replies; true if its reply stream was left. */
async function call(api: SimApi, note: CallNote, wish: Wish, options: CallOptions): Promise<boolean> {
  const body = wish.bodies[0] as Uint8Array;
  const own = { replyCount: wish.replyCount, delayMs: wish.delayMs, isDefect: wish.isStubborn };
  const last = wish.failure === undefined ? own : { ...own, failure: wish.failure };
  const requests = wish.bodies.map((each, index) => ({
    ...(index + 1 === wish.bodies.length ? last : own),
    body: each,
  }));
  switch (note.kind) {
    case "unary": {
      const reply = await api.unary({ ...last, body }, options);
      expect(note, answerTo(body, 0).equals(reply.body), "the reply");
      return false;
    }
    case "client-stream": {
      const reply = await api.upload(requests, options);
      expect(note, answerToAll(wish.bodies).equals(reply.body), "the reply");
      const { answers } = note;
      note.isReplyChanged = answers.length > 0 && answers.every((answer) => Buffer.compare(answer, reply.body) !== 0);
      return false;
    }
    case "server-stream":
      return await readAll(note, api.download({ ...last, body }, options), wish, () => body, wish.replyCount);
    case "bidi":
      return await readAll(note, api.chat(requests, options), wish, (index) => wish.bodies[index], requests.length);
  }
}

async function readAll(
  note: CallNote,
  replies: AsyncIterable<{ readonly index: number; readonly body: Uint8Array }>,
  { leaveAfter }: Wish,
  bodyOf: (index: number) => Uint8Array | undefined,
  count: number,
): Promise<boolean> {
  let seen = 0;
  for await (const { index, body } of replies) {
    const asked = bodyOf(index);
    const isRight = index === seen && index < count && asked !== undefined && answerTo(asked, index).equals(body);
    expect(note, isRight, `reply ${seen}`);
    seen += 1;
    if (seen >= leaveAfter) return true;
  }
  expect(note, seen === count, `the number of replies (${seen}, expected ${count})`);
  return false;
}

function expect(note: CallNote, isRight: boolean, what: string): void {
  if (!isRight && note.wrong === "") note.wrong = `${what} is not what its request asks for`;
}

function contractOf(effect: Effect): typeof Probe {
  const facts = { effect };
  return annotate(Probe, { unary: facts, download: facts, upload: facts, chat: facts }) as unknown as typeof Probe;
}
