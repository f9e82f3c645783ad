/**
 * `server.status()`: what a server does at this moment, in plain numbers, frozen. For people, probes and dashboards; it costs what it is
 * asked for, and nothing when it is not.
 */
import type { CodeOrOk } from "../call/code.ts";
import type { MethodInfo } from "../call/method.ts";
import type { DedupScope } from "../call/dedup.ts";
import type { CheckReport } from "./checks.ts";
import type { HealthBoard, ServerHealth, ServingWord } from "./health.ts";

/** Where a server is in its life. */
export type ServerState = "idle" | "listening" | "draining" | "closed";

/** A door that is open. */
export interface DoorStatus {
  /** `host:port` or `unix:/path`, with the port that the system chose. */
  readonly address: string;
  readonly isTls: boolean;
  /** Only this machine can reach it: reflection is on there. */
  readonly isLocal: boolean;
}

/** What came to one method, since the server was made. */
export interface MethodStatus {
  /** `/shop.v1.Shop/Buy`. */
  readonly path: string;
  readonly started: number;
  readonly inFlight: number;
  /** Ended with OK. */
  readonly succeeded: number;
  /** Ended otherwise, by code; codes that did not occur are absent. */
  readonly failed: Readonly<Partial<Record<CodeOrOk, number>>>;
  /** Half of the answers of the last 20 to 30 s took no longer, in milliseconds; undefined without any. */
  readonly p50Ms: number | undefined;
  readonly p99Ms: number | undefined;
}

/** What admission does. */
export interface AdmissionStatus {
  /** Handlers that may run at once. */
  readonly concurrencyMax: number;
  readonly running: number;
  /** Calls that wait for a permit, by priority. */
  readonly queued: Readonly<Record<"critical" | "normal" | "sheddable", number>>;
  /** How late this process's event loop runs, in milliseconds. */
  readonly loopDelayMs: number;
}

/** What the record of `once` calls does. */
export interface DedupStatus {
  readonly storeId: string;
  readonly scope: DedupScope;
  readonly counts: DedupCounts;
  /** Why the store refuses every call, in its own words; the server is DEGRADED then. undefined: it works. */
  readonly failure: string | undefined;
}

export interface DedupCounts {
  /** Calls whose handlers run now, in this process. */
  readonly running: number;
  /** Records held, running ones included. Of a file: at most so many. */
  readonly entries: number;
  /** What was written to a file, and the transactions that carried it; both 0 in memory. */
  readonly operations: number;
  readonly commits: number;
}

/** A server at one moment. */
export interface ServerStatus {
  readonly state: ServerState;
  readonly health: ServerHealth;
  /** What each service says of itself, by full name. */
  readonly services: Readonly<Record<string, ServingWord>>;
  readonly checks: readonly CheckReport[];
  readonly doors: readonly DoorStatus[];
  /** Since the first door was opened, in milliseconds; 0 before. */
  readonly uptimeMs: number;
  /** Open connections, those from inside the process included. */
  readonly connections: number;
  readonly calls: {
    /** Their handlers have not ended. */
    readonly open: number;
    readonly finished: number;
    /** Refused before a handler ran, for overload or want of time, by why (docs/admission.md). They stand among the `failed` of their method too. */
    readonly refused: Readonly<Record<string, number>>;
    /** Handlers that go on although their call has been over for more than 5 s. */
    readonly overdue: number;
  };
  /** Methods that were called, in the order in which they were added. */
  readonly methods: readonly MethodStatus[];
  /** undefined where admission is off. */
  readonly admission: AdmissionStatus | undefined;
  /** undefined where no method is `once`. */
  readonly dedup: DedupStatus | undefined;
}

/** What is counted of a method, as the server keeps it. */
export interface MethodCounts {
  readonly info: MethodInfo;
  readonly started: number;
  /** Ended calls by code, OK among them; codes that did not occur are absent. */
  readonly codes: Readonly<Partial<Record<CodeOrOk, number>>>;
  /** A quantile of what answers took of late, in milliseconds; undefined without any. */
  quantileMs(nowMs: number, share: number): number | undefined;
}

/** What a status is made from. */
export interface ServerFacts
  extends Pick<ServerStatus, "state" | "checks" | "connections" | "calls" | "admission" | "dedup"> {
  readonly nowMs: number;
  /** When the first door was opened; undefined before. */
  readonly openedAtMs: number | undefined;
  readonly board: HealthBoard;
  readonly doors: Iterable<DoorStatus>;
  readonly methods: Iterable<MethodCounts>;
}

/** Takes the moment down: nothing in it changes later. */
export function serverStatus(facts: ServerFacts): ServerStatus {
  const { nowMs, openedAtMs, board, calls, admission, dedup } = facts;
  const words = board.services.map((name) => [name, board.wordOf(name) ?? "NOT_SERVING"] as const);
  const methods = Array.from(facts.methods).filter(({ started }) => started > 0);
  return Object.freeze({
    state: facts.state,
    health: board.server,
    services: Object.freeze(Object.fromEntries(words)),
    checks: Object.freeze([...facts.checks]),
    doors: Object.freeze(Array.from(facts.doors, (door) => Object.freeze({ ...door }))),
    uptimeMs: openedAtMs === undefined ? 0 : Math.max(0, nowMs - openedAtMs),
    connections: facts.connections,
    calls: Object.freeze({ ...calls, refused: Object.freeze({ ...calls.refused }) }),
    methods: Object.freeze(methods.map((counts) => methodStatus(counts, nowMs))),
    admission: admission && Object.freeze({ ...admission, queued: Object.freeze({ ...admission.queued }) }),
    dedup: dedup && Object.freeze({ ...dedup, counts: Object.freeze({ ...dedup.counts }) }),
  });
}

function methodStatus(counts: MethodCounts, nowMs: number): MethodStatus {
  const { OK: succeeded = 0, ...failed } = counts.codes;
  const ended = Object.values(failed).reduce((sum, count) => sum + count, succeeded);
  return Object.freeze({
    path: counts.info.path,
    started: counts.started,
    inFlight: Math.max(0, counts.started - ended),
    succeeded,
    failed: Object.freeze(failed),
    p50Ms: counts.quantileMs(nowMs, 0.5),
    p99Ms: counts.quantileMs(nowMs, 0.99),
  });
}
