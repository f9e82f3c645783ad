/**
 * What remembering costs: claim and finish at the dedup stores alone, and calls end to end. `npm run --silent bench -- once [--json]`
 *
 * memory: calls one after the other, each with a new id, SHA-256 of a payload of 64 bytes, an answer of 40 bytes; microseconds a call.
 * `memory-full` is the same in a store that has to drop an old record for each. sqlite: 64 calls in flight, each claimed and, once that is
 * durable, finished, fsync on (`sync: "full"`); calls a second, for the disk of `.cache/`, and the operations that shared a commit.
 * `sqlite-transact`: one row written by each handler in the transaction that keeps its answer. The median of the rounds, with the slowest
 * and the fastest. `calls-memory`: what the server's process spends more on a call than on one of effect unknown, CPU of all its threads, each
 * round against the one beside it; `calls-sqlite`: calls a second with 64 in flight on one connection, client and server each a process
 * (once-calls.ts). Not measured: repeats, large answers, power loss; and whether the disk tells the truth about
 * fsync, for which `fsyncMs` stands beside: 4 KiB appended and synced.
 */
import { randomBytes } from "node:crypto";
import { closeSync, fdatasyncSync, mkdirSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { DedupKey, DedupStore } from "../src/durable/dedup-store.ts";
import { memory } from "../src/durable/memory.ts";
import { payloadHashOf } from "../src/durable/payload-hash.ts";
import { sqlite } from "../src/durable/sqlite.ts";
import type { DatabaseSync } from "../src/world/node-database.ts";
import { nodeWorld } from "../src/world/node.ts";
import { onceCallRounds, type OnceRound } from "./once-calls.ts";
import type { Keeping } from "./once-commands.ts";

interface Result {
  readonly store: string;
  readonly unit: "us/call" | "calls/s" | "us CPU/call";
  readonly median: number;
  readonly least: number;
  readonly greatest: number;
}

const rounds = 7;
const inFlight = 64;
const sqliteCalls = 20_000;
const transactCalls = 2_000;
const memoryCalls = 50_000;
const endToEndCalls = 20_000;
const payload = Buffer.alloc(64, 7);
const answer = new Uint8Array(40);
let made = 0;

mkdirSync(".cache", { recursive: true });
const directory = mkdtempSync(join(".cache", "once-"));
try {
  const fsyncMs = fsyncTime();
  const results: Result[] = [
    result("memory", "us/call", memoryRounds(10_000_000)),
    result("memory-full", "us/call", memoryRounds(memoryCalls)),
  ];
  for (const sync of ["full", "normal"] as const) {
    await using journal = sqlite(join(directory, `${sync}.db`), { sync });
    const store = journal["~dedup"](nodeWorld);
    await store.open();
    results.push(result(`sqlite-${sync}`, "calls/s", await perSecond(() => once(store, requestOf()), sqliteCalls)));
    const { operations, commits } = store.snapshot();
    progress(`sqlite-${sync}: ${(operations / commits).toFixed(1)} operations a commit`);
    if (sync === "full") results.push(result("sqlite-transact", "calls/s", await transactRounds(store)));
  }
  results.push(...(await callResults()));
  if (process.argv.includes("--json")) console.log(JSON.stringify({ inFlight, fsyncMs, results }));
  else for (const each of results) console.log(lineOf(each));
} finally {
  rmSync(directory, { recursive: true, force: true });
}

async function callResults(): Promise<readonly Result[]> {
  const figures = await onceCallRounds(directory, rounds, endToEndCalls);
  const of = (keeping: Keeping, figure: (round: OnceRound) => number): readonly number[] =>
    figures.filter((round) => round.keeping === keeping).map(figure);
  const plain = of("nothing", ({ serverCpuUs }) => serverCpuUs);
  const kept = of("memory", ({ serverCpuUs }) => serverCpuUs);
  return [
    result("calls-unknown", "us CPU/call", plain),
    result(
      "calls-memory",
      "us CPU/call",
      kept.map((us, round) => us - (plain[round] ?? NaN)),
    ),
    result(
      "calls-sqlite",
      "calls/s",
      of("sqlite", ({ callsPerSecond }) => callsPerSecond),
    ),
  ];
}

/** Microseconds a call, round by round; the first warms up. */
function memoryRounds(entriesMax: number): readonly number[] {
  const store = memory({ entriesMax, bytesMax: 4e9, retentionMsMin: 0 })["~dedup"](nodeWorld);
  return Array.from({ length: rounds + 1 }, () => {
    const requests = Array.from({ length: memoryCalls }, requestOf);
    const startMs = performance.now();
    for (const request of requests) void once(store, request);
    return ((performance.now() - startMs) * 1_000) / memoryCalls;
  }).slice(1);
}

type Request = Omit<DedupKey, "payloadHash">;

/** As a server has it from the wire: the id is the time in front, and chance behind. */
function requestOf(): Request {
  const mintedMs = Date.now();
  const id = mintedMs.toString(16).padStart(12, "0") + randomBytes(10).toString("hex");
  return { path: "/shop.v1.Shop/Buy", principal: "alice", id, mintedMs, rerunUnknown: false };
}

function keyOf({ path, principal, id, mintedMs, rerunUnknown }: Request): DedupKey {
  made += 1;
  payload.writeUInt32LE(made, 0);
  return { path, principal, id, mintedMs, payloadHash: payloadHashOf(payload), rerunUnknown };
}

function once(store: DedupStore | DedupStore<DatabaseSync>, request: Request): Promise<void> | void {
  const claim = store.claim(keyOf(request));
  if (claim instanceof Promise) return claim.then((decided) => finish(store, decided));
  return finish(store, claim);
}

function finish(
  store: DedupStore | DedupStore<DatabaseSync>,
  claim: Awaited<ReturnType<DedupStore["claim"]>>,
): void | Promise<void> {
  if (claim.kind !== "run") throw new Error(`a new id was answered ${claim.kind}`);
  return store.finish(claim.entry, answer);
}

/** Calls a second with so many in flight, round by round; the first warms up. */
async function perSecond(call: () => Promise<void> | void, calls: number): Promise<readonly number[]> {
  const figures: number[] = [];
  for (let round = 0; round <= rounds; round += 1) {
    let left = calls;
    const startMs = performance.now();
    await Promise.all(
      Array.from({ length: inFlight }, async () => {
        while (left-- > 0) await call();
      }),
    );
    if (round > 0) figures.push((calls * 1_000) / (performance.now() - startMs));
  }
  return figures;
}

async function transactRounds(store: DedupStore<DatabaseSync>): Promise<readonly number[]> {
  let isMade = false;
  return perSecond(async () => {
    const claim = await store.claim(keyOf(requestOf()));
    if (claim.kind !== "run") throw new Error(`a new id was answered ${claim.kind}`);
    const effect = (tx: DatabaseSync): void => {
      if (!isMade) tx.exec("CREATE TABLE orders (sku TEXT) STRICT");
      isMade = true;
      tx.prepare("INSERT INTO orders VALUES ('tea')").run();
    };
    await store.transact?.(claim.entry, effect, () => answer, undefined);
  }, transactCalls);
}

function fsyncTime(): number {
  const file = openSync(join(directory, "fsync"), "w");
  const page = Buffer.alloc(4_096);
  const startMs = performance.now();
  for (let write = 0; write < 200; write += 1) {
    writeSync(file, page);
    fdatasyncSync(file);
  }
  closeSync(file);
  return Number(((performance.now() - startMs) / 200).toFixed(3));
}

function result(store: string, unit: Result["unit"], figures: readonly number[]): Result {
  const sorted = figures.toSorted((a, b) => a - b);
  const [median, least, greatest] = [sorted[Math.floor(sorted.length / 2)], sorted[0], sorted.at(-1)].map(rounded);
  progress(`${store}: ${median} ${unit}`);
  return { store, unit, median: median ?? NaN, least: least ?? NaN, greatest: greatest ?? NaN };
}

function rounded(figure: number | undefined): number {
  return Number((figure ?? NaN).toPrecision(4));
}

function lineOf({ store, unit, median, least, greatest }: Result): string {
  return `${store.padEnd(16)} ${median} ${unit} (${least}..${greatest})`;
}

function progress(line: string): void {
  console.error(line);
}
