/**
 * What a probe server answers, apart from any RPC library: each step is data (send this, wait, fail with that), so that
 * the adapters of grpc-js, connect-node and Holdfast differ only in how they say it.
 */
import { setTimeout as delay } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import type { Fields } from "../interop/peer.ts";
import {
  type Failure,
  type ProbeReply,
  ProbeReplySchema,
  type ProbeRequest,
  type SeenReply,
  SeenReplySchema,
  type SeenRequest,
} from "./gen/holdfast/interop/v1/probe_pb.js";
import { failureOf } from "./status-details.ts";

/** Thrown where a handler fails with a status of its own. */
export class ProbeFailure extends Error {
  readonly failure: Failure;
  constructor(failure: Failure) {
    super(failure.text);
    this.failure = failure;
  }
}

export interface ProbeCall {
  readonly signal: AbortSignal;
  /** -1: none. */
  remainingMs(): number;
}

/** The handlers, as async iterables over messages; `seen` remembers what became of keyed calls. */
export interface ProbeService {
  unary(request: ProbeRequest, call: ProbeCall): Promise<ProbeReply>;
  download(request: ProbeRequest, call: ProbeCall): AsyncGenerator<ProbeReply>;
  upload(requests: AsyncIterable<ProbeRequest>, call: ProbeCall): Promise<ProbeReply>;
  chat(requests: AsyncIterable<ProbeRequest>, call: ProbeCall): AsyncGenerator<ProbeReply>;
  seen(request: SeenRequest): Promise<SeenReply>;
}

export function createProbeService(): ProbeService {
  const histories = createHistories();
  /** Runs one request's replies; whatever way the call ends is noted under its key. */
  async function* answer(request: ProbeRequest, call: ProbeCall, totals: Totals): AsyncGenerator<ProbeReply> {
    histories.note(request.key, "begun");
    const onAbort = (): void => histories.note(request.key, "cancelled");
    call.signal.addEventListener("abort", onAbort);
    if (call.signal.aborted) onAbort();
    try {
      for (let left = request.replyCount; left > 0; left--) {
        await pause(request.delayMs, call.signal);
        yield replyTo(request, call, totals);
      }
      if (request.replyCount === 0) await pause(request.delayMs, call.signal);
      if (request.isDefect) throw new TypeError("a defect in the handler");
      if (request.failure !== undefined) throw new ProbeFailure(request.failure);
    } finally {
      call.signal.removeEventListener("abort", onAbort);
      histories.note(request.key, call.signal.aborted ? "cancelled" : "ended");
    }
  }
  async function single(request: ProbeRequest, call: ProbeCall, totals: Totals): Promise<ProbeReply> {
    const steps = answer({ ...request, replyCount: 0 }, call, totals);
    await steps.next();
    return replyTo(request, call, totals);
  }
  return {
    unary: (request, call) => single(request, call, sum(undefined, request)),
    download: (request, call) => answer(request, call, sum(undefined, request)),
    async upload(requests, call) {
      let totals: Totals = { bytes: 0, count: 0, index: 0 };
      let last: ProbeRequest | undefined;
      for await (const request of requests) {
        totals = sum(totals, request);
        last = request;
      }
      if (last === undefined) return create(ProbeReplySchema, { remainingMs: BigInt(call.remainingMs()) });
      return single(last, call, totals);
    },
    async *chat(requests, call) {
      let totals: Totals = { bytes: 0, count: 0, index: 0 };
      for await (const request of requests) {
        totals = sum(totals, request);
        yield* answer(request, call, totals);
      }
    },
    async seen({ key, untilBegun }) {
      const state = await histories.wait(key, untilBegun);
      return create(SeenReplySchema, {
        isBegun: state !== "unknown",
        isEnded: state === "ended" || state === "cancelled",
        isCancelled: state === "cancelled",
      });
    },
  };
}

/** What became of the call with one key. */
interface History {
  state: "unknown" | "begun" | "ended" | "cancelled";
  readonly waiters: (() => void)[];
}

interface Histories {
  note(key: string, state: History["state"]): void;
  /** What is known once the call has begun, or has ended, or after 5 s. */
  wait(key: string, untilBegun: boolean): Promise<History["state"]>;
}

function createHistories(): Histories {
  const histories = new Map<string, History>();
  const historyOf = (key: string): History => {
    const history = histories.get(key) ?? { state: "unknown", waiters: [] };
    histories.set(key, history);
    return history;
  };
  return {
    note(key, state) {
      const history = historyOf(key);
      if (key === "" || history.state === "ended" || history.state === "cancelled") return;
      history.state = state;
      for (const wake of history.waiters.splice(0)) wake();
    },
    async wait(key, untilBegun) {
      const history = historyOf(key);
      const late = delay(5_000, "late" as const, { ref: false });
      let isLate = false;
      while (!isLate && (history.state === "unknown" || (history.state === "begun" && !untilBegun))) {
        const woken = new Promise<"woken">((resolve) => history.waiters.push(() => resolve("woken")));
        isLate = (await Promise.race([woken, late])) === "late";
      }
      return history.state;
    },
  };
}

/** The metadata that a server sends back: fields of the request whose names ask for it. */
export function echoed(request: Fields, where: "header" | "trailer"): Fields {
  const names = [`x-probe-${where}`, `x-probe-${where}-bin`];
  return request.filter(([name]) => names.includes(name));
}

interface Totals {
  readonly bytes: number;
  readonly count: number;
  /** Of the next reply of this call. */
  index: number;
}

function sum(totals: Totals | undefined, request: ProbeRequest): Totals {
  return {
    bytes: (totals?.bytes ?? 0) + request.body.length,
    count: (totals?.count ?? 0) + 1,
    index: totals?.index ?? 0,
  };
}

function replyTo(request: ProbeRequest, call: ProbeCall, totals: Totals): ProbeReply {
  const body = new Uint8Array(request.body.length + request.replySize);
  body.set(request.body);
  return create(ProbeReplySchema, {
    body,
    seenBytes: BigInt(totals.bytes),
    seenCount: totals.count,
    remainingMs: BigInt(Math.ceil(call.remainingMs())),
    index: totals.index++,
  });
}

/** Ends early when the call does, and its handler with it: at its deadline a reply could still be in time for a caller who is late himself. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (ms > 0) await delay(ms, undefined, { signal }).catch(() => undefined);
  if (ms > 0 && signal.aborted) throw new ProbeFailure(failureOf(4, "the call is over"));
}
