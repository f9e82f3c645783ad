/**
 * The scenarios that admission is held to, played on the models: a step to more than the capacity, and a server that becomes slow for a
 * while under clients that try again.
 */
import type { Random } from "../../../world/random.ts";
import { HandlerFigures } from "../handler-figures.ts";
import { Principals } from "../principal.ts";
import type { PriorityRank } from "../refusal.ts";
import { exponential, LoopServer, ModelCall, PooledServer, poisson } from "./overloaded-server.ts";

/** Both kinds can do about 1 000 calls a second. */
export type Handler = "pool" | "varying-pool" | "cpu";

/** A refusal costs 10 us of the loop, and each of its turns 30 us. */
const REFUSAL_MS = 0.01;
const TURN_MS = 0.03;
const PRINCIPALS = 50;

/** A server of this kind: a timer of 10 ms behind ten permits, the same with exponential times, or 1 ms of computing. */
export function serverOf(handler: Handler, random: Random): PooledServer | LoopServer {
  if (handler === "cpu") return new LoopServer({ random, costMs: () => 1, refusalMs: REFUSAL_MS, turnMs: TURN_MS });
  const serviceMs = handler === "pool" ? (): number => 10 : (): number => exponential(random, 10);
  return new PooledServer({ random, workers: 10, serviceMs });
}

/** What came of a load. Times are in milliseconds. */
export interface Played {
  readonly calls: readonly ModelCall[];
  readonly server: PooledServer | LoopServer;
}

/** Poisson arrivals at `perMs` until `untilMs`, of the priority that `rankOf` says, each with a deadline of 1 s, by fifty principals. */
export function played(facts: {
  readonly handler: Handler;
  readonly random: Random;
  readonly untilMs: number;
  readonly perMs: (nowMs: number) => number;
  readonly rankOf?: (nowMs: number) => PriorityRank;
  readonly principals?: number;
}): Played {
  const { random } = facts;
  const figures = new HandlerFigures();
  const principals = new Principals();
  const server = serverOf(facts.handler, random);
  const calls: ModelCall[] = [];
  server.play(
    poisson(random, facts.untilMs, facts.perMs, (sentAtMs) => {
      const call = new ModelCall({
        sentAtMs,
        figures,
        principal: principals.of(`p${random.uint32() % (facts.principals ?? PRINCIPALS)}`),
        rank: facts.rankOf?.(sentAtMs) ?? 1,
        deadlineMs: sentAtMs + 1_000,
      });
      calls.push(call);
      return call;
    }),
  );
  return { calls, server };
}

/** A quantile of the times that the answered calls took. */
export function tookQuantile(calls: readonly ModelCall[], q: number): number {
  const took = calls.filter(isAnswered).map((call) => call.tookMs);
  took.sort((a, b) => a - b);
  return took[Math.floor(took.length * q)] ?? Number.NaN;
}

/** Whether it was answered, not refused. */
export function isAnswered(call: ModelCall): boolean {
  return call.why === undefined;
}

/** The mean goodput of the runs in bins of `binMs`, per millisecond: what was answered within `goodMs`, by when it was. */
export function goodputBins(
  runs: readonly (readonly ModelCall[])[],
  facts: { readonly fromMs: number; readonly binMs: number; readonly bins: number; readonly goodMs: number },
): readonly number[] {
  const { fromMs, binMs, bins, goodMs } = facts;
  const sums = new Array<number>(bins).fill(0);
  for (const call of runs.flat()) {
    const bin = Math.floor((call.answeredAtMs - fromMs) / binMs);
    if (isAnswered(call) && call.tookMs <= goodMs && bin >= 0 && bin < bins) sums[bin] = (sums[bin] as number) + 1;
  }
  return sums.map((sum) => sum / runs.length / binMs);
}

/** One request of a client that makes up to three attempts, each with 1 s: after a timeout at once, after a refusal when it may. */
interface Request {
  readonly beganAtMs: number;
  attempts: number;
  isAnswered: boolean;
}

const ATTEMPTS_MAX = 3;
const TIMEOUT_MS = 1_000;

/**
 * The metastable scenario of Bronson et al. (HotOS 2021): ten workers of 10 ms, exponential, 700 calls a second, and from 20 to 30 s all work takes
 * four times as long. The handlers go on when their caller has gone. Returns the requests by when they began.
 */
export function metastable(random: Random, untilMs: number): readonly Readonly<Request>[] {
  const figures = new HandlerFigures();
  const principals = new Principals();
  const owners = new Map<ModelCall, Request>();
  const requests: Request[] = [];
  const server = new PooledServer({
    random,
    workers: 10,
    serviceMs: (_, nowMs) => exponential(random, nowMs >= 20_000 && nowMs < 30_000 ? 40 : 10),
  });
  const attempt = (request: Request, nowMs: number): void => {
    request.attempts += 1;
    const principal = principals.of(`p${random.uint32() % PRINCIPALS}`);
    const call = new ModelCall({
      sentAtMs: nowMs,
      figures,
      principal,
      isRepeat: request.attempts > 1,
      deadlineMs: nowMs + TIMEOUT_MS,
    });
    owners.set(call, request);
    server.agenda.at(nowMs + TIMEOUT_MS, (atMs) => {
      if (!owners.delete(call)) return;
      server.admission.withdraw(call);
      if (request.attempts < ATTEMPTS_MAX) attempt(request, atMs);
    });
    server.offer(call, nowMs);
  };
  server.onEnd = (call, nowMs) => {
    const request = owners.get(call);
    if (request === undefined || !owners.delete(call)) return;
    if (isAnswered(call)) request.isAnswered = true;
    else if (call.retryAfterMs >= 0 && request.attempts < ATTEMPTS_MAX) {
      server.agenda.at(nowMs + call.retryAfterMs, (atMs) => attempt(request, atMs));
    }
  };
  const begin = (nowMs: number): void => {
    if (nowMs >= untilMs) return;
    server.agenda.at(nowMs, () => {
      const request = { beganAtMs: nowMs, attempts: 0, isAnswered: false };
      requests.push(request);
      attempt(request, nowMs);
      begin(nowMs + exponential(random, 1 / 0.7));
    });
  };
  begin(0);
  server.play(() => undefined);
  return requests;
}
