/** The clients' process of `metastable`: clients with the whole default stack, and calls that arrive at random, whatever became of the earlier ones. */
import { setTimeout as sleep } from "node:timers/promises";
import { createClient, RpcError } from "holdfast";
import { SafeProbe } from "../test/simulation/probe-cluster.ts";
import { answerCommands } from "./commands.ts";
import { serverHost } from "./contender.ts";
import type { MetastableClientCommands } from "./metastable-commands.ts";

const timeoutMs = 1_000;
/** Before the load, so that the code is compiled and the latencies are known. */
const warmUpCalls = 500;

type ProbeClient = ReturnType<typeof open>;

let clients: readonly ProbeClient[] = [];
let loadFactor = 1;
let isStopped = false;
let running: Promise<void> | undefined;
let beganMs = Number.NaN;
const pending = new Set<Promise<void>>();
const offered: number[] = [];
const good: number[] = [];
const attempts: number[] = [];
const failures: Record<string, number> = {};

const commands: MetastableClientCommands = {
  async connect({ ports, clients: count }) {
    clients = Array.from({ length: count }, () => open(ports));
    for (const client of clients) await client.$channel.ready({ timeoutMs: 10_000 });
    for (let i = 0; i < warmUpCalls; i += 1) await clients[i % count]?.unary({}).catch(() => undefined);
    for (const client of clients)
      client.$on("call.ended", ({ record }) => {
        note(attempts, performance.now() - record.tookMs, record.attempts.length);
      });
  },
  start({ perSecond }) {
    beganMs = performance.now();
    running = load(perSecond);
    return Promise.resolve();
  },
  load(factor) {
    loadFactor = factor;
    return Promise.resolve();
  },
  async stop() {
    isStopped = true;
    await running;
    await Promise.all(pending);
    return { offered, good, attempts, failures };
  },
};
answerCommands({ ...commands });

function open(ports: readonly number[]) {
  return createClient(
    SafeProbe,
    ports.map((port) => `${serverHost}:${port}`),
    { policy: { timeoutMs } },
  );
}

function note(counts: number[], atMs: number, count: number): void {
  const second = Math.max(0, Math.floor((atMs - beganMs) / 1_000));
  for (let i = counts.length; i <= second; i += 1) counts[i] = 0;
  counts[second] = (counts[second] ?? 0) + count;
}

async function load(perSecond: number): Promise<void> {
  let dueMs = beganMs;
  for (let number = 0; !isStopped; ) {
    const nowMs = performance.now();
    for (; dueMs <= nowMs; number += 1) {
      const made = one(clients[number % clients.length] as ProbeClient, dueMs);
      pending.add(made);
      void made.then(() => pending.delete(made));
      dueMs += (-Math.log(1 - Math.random()) * 1_000) / perSecond / loadFactor;
    }
    await sleep(1);
  }
}

async function one(client: ProbeClient, dueMs: number): Promise<void> {
  note(offered, dueMs, 1);
  try {
    await client.unary({});
    if (performance.now() - dueMs <= timeoutMs) note(good, dueMs, 1);
    else failures["late"] = (failures["late"] ?? 0) + 1;
  } catch (error) {
    const { code, reason } = RpcError.from(error);
    const kind = `${code} ${reason ?? ""}`.trim();
    failures[kind] = (failures[kind] ?? 0) + 1;
  }
}
