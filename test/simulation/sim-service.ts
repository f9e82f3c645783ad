/**
 * The service of every universe: each reply is a function of its request, so that a wrong one is seen, and each run of a handler is
 * written down. What a handler does otherwise (work, fail, push back, work on after its deadline) is asked for by the request.
 */
import { crc32 } from "node:zlib";
import { type HandlerCall, RpcError, type Server } from "holdfast";
import { codeOf } from "../../src/call/code.ts";
import type { Code } from "../../src/call/code.ts";
import type { World } from "../../src/world/world.ts";
import { type CallNote, type History, readCallMark } from "./history.ts";
import { KeptProbe, pause, Probe, type ProbeHandlers, probe } from "./probe-cluster.ts";
import { callMarkName } from "./wire-tap.ts";

type Request = Parameters<ProbeHandlers["unary"]>[0];

/** Where the handlers of one server process write down what they do. */
export interface HandlerNotes {
  readonly host: string;
  readonly world: World;
  readonly history: History;
  readonly nowMs: () => number;
  /** Which process of its host it is: 1, 2 ... */
  readonly boot: number;
  /** It keeps the first answers of unary calls. */
  readonly isKeeping: boolean;
  /** Handlers that run now. */
  running: number;
}

const answerHeadBytes = 8;

/** What a request with this body is answered, in the reply with this index. */
export function answerTo(body: Uint8Array, index: number): Buffer {
  const head = Buffer.alloc(answerHeadBytes);
  head.writeUInt32BE(crc32(body), 0);
  head.writeUInt32BE(index, 4);
  return Buffer.concat([head, body]);
}

/** What a stream of requests with these bodies is answered: their check, and how many there were. */
export function answerToAll(bodies: readonly Uint8Array[]): Buffer {
  return answerTo(Buffer.concat([...bodies]), bodies.length).subarray(0, answerHeadBytes);
}

/** Adds the service to the server of a process. */
export function serveSim(server: Server, notes: HandlerNotes): Server {
  return probe(server, handlersOf(notes), notes.isKeeping ? KeptProbe : Probe);
}

function handlersOf(notes: HandlerNotes): Partial<ProbeHandlers> {
  return {
    unary: (request, call) =>
      run(notes, call, async () => {
        await work(notes, request, call);
        return { body: answerTo(request.body, 0) };
      }),
    async *download(request, call) {
      begin(notes, call);
      try {
        for (let index = 0; index < request.replyCount; index++) {
          await work(notes, request, call, index + 1 === request.replyCount);
          yield { index, body: answerTo(request.body, index) };
        }
      } finally {
        notes.running -= 1;
      }
    },
    upload: (requests, call) =>
      run(notes, call, async () => {
        const bodies: Uint8Array[] = [];
        for await (const request of requests) {
          bodies.push(request.body);
          await work(notes, request, call);
        }
        const body = answerToAll(bodies);
        noteOf(notes, call)?.answers.push(body);
        return { body, seenCount: bodies.length };
      }),
    async *chat(requests, call) {
      begin(notes, call);
      let index = 0;
      try {
        for await (const request of requests) {
          await work(notes, request, call);
          yield { index, body: answerTo(request.body, index) };
          index += 1;
        }
      } finally {
        notes.running -= 1;
      }
    },
  };
}

function begin(notes: HandlerNotes, call: HandlerCall): void {
  notes.running += 1;
  const note = noteOf(notes, call);
  if (note !== undefined)
    notes.history.executed(note, { host: notes.host, boot: notes.boot, beganAtMs: notes.nowMs() });
}

/** The call as its caller sees it; undefined if its mark was damaged. */
function noteOf({ history }: HandlerNotes, call: HandlerCall): CallNote | undefined {
  const number = readCallMark(call.metadata.get(callMarkName));
  return number === undefined ? undefined : history.calls[number];
}

async function run<T>(notes: HandlerNotes, call: HandlerCall, handle: () => Promise<T>): Promise<T> {
  begin(notes, call);
  try {
    return await handle();
  } finally {
    notes.running -= 1;
  }
}

/** Takes the time that the request asks for, and fails if it asks for that. */
async function work({ world }: HandlerNotes, request: Request, call: HandlerCall, isLast = true): Promise<void> {
  // A stubborn handler does not look at its signal.
  if (request.delayMs > 0) await pause(world, request.delayMs, request.isDefect ? undefined : call.signal);
  const { failure } = request;
  if (failure === undefined || failure.code === 0 || !isLast) return;
  const retryAfterMs = failure.text === "" ? undefined : Number(failure.text);
  throw new RpcError(codeOf(failure.code) as Code, "as the request asked", { retryAfterMs });
}
