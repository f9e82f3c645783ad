/**
 * Once calls under SIGKILL and cut connections, with real processes: two servers that share a journal (or have one each, in memory), clients with
 * their keys on disk, and a judge that counts effects. What is proven: no effect happens twice, none that was acknowledged is lost, and every
 * call ends with its reply or says honestly that it does not know. Not proven: the loss of power, which SIGKILL is not.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createClient, RpcError } from "holdfast";
import { seededRandom } from "../../src/world/seeded-random.ts";
import { openDatabase } from "../../src/world/node-database.ts";
import { type Method, Once } from "./contract.ts";
import { linesOf } from "./lines.ts";
import { Life, ServerLives } from "./processes.ts";

export interface ChaosOptions {
  readonly store: "sqlite" | "memory";
  readonly calls: number;
  readonly seed: number;
  /** How often it strikes servers, and clients, at most. Default without end. */
  readonly killsMax?: number | undefined;
}

export interface ChaosReport {
  readonly scenario: "once-chaos";
  readonly store: ChaosOptions["store"];
  readonly seed: number;
  readonly calls: number;
  readonly serverKills: number;
  readonly clientKills: number;
  readonly connectionsCut: number;
  /** How the calls ended, as their callers were told. */
  readonly outcomes: Readonly<Record<string, number>>;
  readonly effects: number;
  /** Keys whose effect happened more than once. */
  readonly twice: readonly string[];
  /** Keys that were acknowledged and whose effect is not there, or is another than the reply says. */
  readonly lost: readonly string[];
  /** Keys that get another reply than the one that was acknowledged, when they are asked for at the end. */
  readonly changed: readonly string[];
  /** Keys without an end, or with one that is not honest. */
  readonly dishonest: readonly string[];
  readonly seconds: number;
  readonly passed: boolean;
}

const CLIENTS = 2;
const IN_FLIGHT = 8;
const WAIT_MS = 40;
/** Ends that a call may have: it was done, nobody knows, or nobody was there; and that two servers died under it, so that no third is tried. */
const HONEST: ReadonlySet<string> = new Set([
  "OK",
  "OUTCOME_UNKNOWN",
  "UNAVAILABLE",
  "DEADLINE_EXCEEDED",
  "POISON_SUSPECT",
]);

interface End {
  readonly outcome: string;
  readonly reached: string;
  readonly reply: string;
}

export async function runOnceChaos(options: ChaosOptions, progress: (line: string) => void): Promise<ChaosReport> {
  const directory = mkdtempSync(join(tmpdir(), "holdfast-once-"));
  const startMs = performance.now();
  const journal = options.store === "sqlite" ? join(directory, "journal.db") : undefined;
  const effects = join(directory, "effects");
  const servers = ["a", "b"].map((name) => new ServerLives(name, { journal, effects, waitMs: WAIT_MS }));
  const clients = Array.from({ length: CLIENTS }, () => new Life("./client.ts"));
  try {
    const targets: string[] = [];
    for (const server of servers) {
      await server.start();
      targets.push(await server.open());
    }
    const keys = planOf(options.calls, directory);
    const storm = new Storm(options, servers, clients, (index) => ({
      targets,
      plan: join(directory, `plan-${index}`),
      results: join(directory, `results-${index}`),
      inFlight: IN_FLIGHT,
      // In memory a restart forgets: the same key would be another call.
      triesMax: journal === undefined ? 1 : 20,
    }));
    await storm.run(progress);
    const ends = endsOf(directory);
    const asked = journal === undefined ? undefined : await askAgain(targets, keys, ends);
    for (const server of servers) await server.kill();
    const done = [...linesOf(effects), ...(journal === undefined ? [] : ordersIn(journal))];
    return { ...storm.counts, ...judge(options, keys, { ends, asked, done }), seconds: secondsSince(startMs) };
  } finally {
    for (const client of clients) await client.kill();
    for (const server of servers) await server.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** What goes wrong, at random times, until the clients have made all their calls. */
class Storm {
  readonly #random: ReturnType<typeof seededRandom>;
  readonly #options: ChaosOptions;
  readonly #servers: readonly ServerLives[];
  readonly #clients: readonly Life[];
  readonly #planOf: (index: number) => Parameters<Life["start"]>[0];
  readonly counts = { serverKills: 0, clientKills: 0, connectionsCut: 0 };

  constructor(
    options: ChaosOptions,
    servers: readonly ServerLives[],
    clients: readonly Life[],
    plan: (index: number) => Parameters<Life["start"]>[0],
  ) {
    this.#random = seededRandom(options.seed);
    this.#options = options;
    this.#servers = servers;
    this.#clients = clients;
    this.#planOf = plan;
  }

  async run(progress: (line: string) => void): Promise<void> {
    for (const [index, client] of this.#clients.entries()) client.start(this.#planOf(index));
    const isOver = (): boolean => this.#clients.every(({ isDone }) => isDone);
    const loop = async (fromMs: number, toMs: number, strike: () => Promise<unknown>): Promise<void> => {
      while (!isOver()) {
        await sleep(fromMs + this.#random.float() * (toMs - fromMs));
        if (!isOver()) await strike();
      }
    };
    const { counts } = this;
    const { store, killsMax = Infinity } = this.#options;
    await Promise.all([
      loop(600, 2_000, async () => counts.serverKills < killsMax && this.#killServer(progress)),
      loop(700, 2_500, () => this.#cutConnections(isOver)),
      // In memory nothing outlives a process, so that a client must live to know what it asked for.
      store === "memory"
        ? undefined
        : loop(1_200, 4_000, async () => counts.clientKills < killsMax && this.#killClient()),
    ]);
  }

  async #killServer(progress: (line: string) => void): Promise<void> {
    const server = this.#oneOf(this.#servers);
    if (await server.kill()) this.counts.serverKills += 1;
    await sleep(this.#random.float() * 150);
    await server.start();
    if (this.counts.serverKills % 10 === 0) progress(`${this.counts.serverKills} servers killed`);
  }

  /** Of one server; a moment later if it has none, as when it has just been killed. */
  async #cutConnections(isOver: () => boolean): Promise<void> {
    for (let cut = 0; cut === 0 && !isOver(); ) {
      cut = this.#oneOf(this.#servers).cut();
      this.counts.connectionsCut += cut;
      if (cut === 0) await sleep(20);
    }
  }

  async #killClient(): Promise<void> {
    const index = Math.floor(this.#random.float() * this.#clients.length);
    const client = this.#clients[index] as Life;
    if (client.isDone || !(await client.kill())) return;
    this.counts.clientKills += 1;
    client.start(this.#planOf(index));
  }

  #oneOf<T>(values: readonly T[]): T {
    return values[Math.floor(this.#random.float() * values.length)] as T;
  }
}

/** The keys of all calls and their methods; a plan on disk for each client. */
function planOf(calls: number, directory: string): ReadonlyMap<string, Method> {
  const keys = new Map<string, Method>();
  for (let call = 0; call < calls; call += 1) keys.set(`order-${call}`, call % 3 === 0 ? "missing" : "unary");
  for (let client = 0; client < CLIENTS; client += 1) {
    const own = [...keys].filter((_, index) => index % CLIENTS === client);
    writeFileSync(join(directory, `plan-${client}`), own.map((line) => `${line.join(" ")}\n`).join(""));
  }
  return keys;
}

function endsOf(directory: string): ReadonlyMap<string, End> {
  const ends = new Map<string, End>();
  for (let client = 0; client < CLIENTS; client += 1) {
    for (const line of linesOf(join(directory, `results-${client}`))) {
      const [key = "", outcome = "", reached = "", reply = ""] = line.split(" ");
      ends.set(key, { outcome, reached, reply });
    }
  }
  return ends;
}

/** In the calm each key is asked for once more: what was acknowledged must be the answer still, what is unknown must not be done twice. */
async function askAgain(
  targets: readonly string[],
  keys: ReadonlyMap<string, Method>,
  ends: ReadonlyMap<string, End>,
): Promise<ReadonlyMap<string, string>> {
  const client = createClient(Once, [...targets]);
  const replies = new Map<string, string>();
  const left = [...keys];
  await Promise.all(
    Array.from({ length: 16 }, async () => {
      for (let next = left.shift(); next !== undefined; next = left.shift()) {
        const [key, method] = next;
        try {
          const { body } = await client[method]({ body: Buffer.from(key) }, { idempotencyKey: key, timeoutMs: 20_000 });
          replies.set(key, Buffer.from(body).toString());
        } catch (error) {
          if (ends.get(key)?.outcome === "OK") replies.set(key, RpcError.from(error).code);
        }
      }
    }),
  );
  await client.$close({ timeoutMs: 0 });
  return replies;
}

function ordersIn(journal: string): readonly string[] {
  const database = openDatabase(journal, { busyMs: 5_000 });
  try {
    return database
      .prepare("SELECT answer FROM orders")
      .all()
      .map(({ answer }) => String(answer));
  } finally {
    database.close();
  }
}

interface Evidence {
  readonly ends: ReadonlyMap<string, End>;
  readonly asked: ReadonlyMap<string, string> | undefined;
  /** Each effect: the key, a slash, and which run it was. */
  readonly done: readonly string[];
}

function judge(options: ChaosOptions, keys: ReadonlyMap<string, Method>, { ends, asked, done }: Evidence) {
  const times = new Map<string, number>();
  for (const effect of done) {
    const key = effect.split("/")[0] ?? "";
    times.set(key, (times.get(key) ?? 0) + 1);
  }
  const outcomes: Record<string, number> = {};
  for (const { outcome } of ends.values()) outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
  const happened = new Set(done);
  const acknowledged = [...ends].filter(([, { outcome }]) => outcome === "OK");
  const twice = [...times].filter(([, count]) => count > 1).map(([key]) => key);
  const lost = acknowledged.filter(([, { reply }]) => !happened.has(reply)).map(([key]) => key);
  const changed = acknowledged
    .filter(([key, { reply }]) => asked !== undefined && asked.get(key) !== reply)
    .map(([key]) => key);
  const isDishonest = (key: string, end: End | undefined): boolean =>
    end === undefined ||
    !HONEST.has(end.outcome) ||
    // Where each key was tried by one call: what never reached a handler has no effect.
    (asked === undefined && end.reached === "no" && times.has(key));
  const dishonest = [...keys.keys()]
    .filter((key) => isDishonest(key, ends.get(key)))
    .map((key) => `${key}: ${JSON.stringify(ends.get(key))}`);
  const { store, seed, calls } = options;
  const passed = [twice, lost, changed, dishonest].every(({ length }) => length === 0);
  const found = { outcomes, effects: done.length, twice, lost, changed, dishonest };
  return { scenario: "once-chaos" as const, store, seed, calls, ...found, passed };
}

function secondsSince(startMs: number): number {
  return Number(((performance.now() - startMs) / 1_000).toFixed(1));
}
