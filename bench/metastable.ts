/**
 * `npm run bench -- metastable`: ten workers of 10 ms each at 0.7 of what they can do, ten clients with the whole default stack and 1 s for each call, five
 * kinds of trouble for ten seconds each, in real processes (reliability.md 3.4; Huang et al., OSDI 2022). The goal: a second after its end at least 95 % of what is
 * offered is good, and outside of it at most 1.1 attempts are made for a call. The same in virtual time: test/scenarios/metastable.test.ts.
 */
import { createFaultProxy, type FaultProxy } from "holdfast/chaos";
import { type Child, startChild } from "./commands.ts";
import { serverHost } from "./contender.ts";
import { machineBusyMs } from "./machine-load.ts";
import type { MetastableClientCommands, MetastableFigures, MetastableServerCommands } from "./metastable-commands.ts";
import {
  type MetastableOptions,
  type MetastableTrigger,
  metastableUsage,
  parseMetastableOptions,
} from "./metastable-options.ts";
import { UsageError } from "./options.ts";

export interface MetastableResult {
  readonly trigger: MetastableTrigger;
  /** Good calls as a share of the offered ones: before the trouble, during it, and by seconds after its end. */
  readonly goodBefore: number;
  readonly goodDuring: number;
  readonly goodAfter: readonly number[];
  /** Attempts for each call made before the trouble, or later than a second after it. */
  readonly attemptsOutside: number;
  readonly failures: Readonly<Record<string, number>>;
  /** CPUs that the whole machine used. NaN: unknown. */
  readonly busyCpus: number;
  /** Not all was well before the trouble: the machine was busy with other things, and the rest says nothing. */
  readonly isVoid: boolean;
  readonly passed: boolean;
}

export interface MetastableReport {
  readonly scenario: "metastable";
  readonly results: readonly MetastableResult[];
  readonly passed: boolean;
  readonly method: Readonly<Record<string, unknown>>;
}

export const goodMin = 0.95;
export const attemptsMax = 1.1;
/** With less before the trouble, the run is void. */
const beforeMin = 0.99;
const workers = 10;
const slowFactor = 4;
const spikeFactor = 2;
const coldMs = 1_000;
const warmSeconds = 5;
/** So long after its end trouble may still be felt. */
const recoverySeconds = 1;

type Server = Child<MetastableServerCommands>;

export async function runMetastable(
  options: MetastableOptions,
  progress: (line: string) => void,
): Promise<MetastableReport> {
  const results: MetastableResult[] = [];
  for (const trigger of options.triggers) {
    const result = await measure(trigger, options);
    results.push(result);
    progress(describe(result));
  }
  return {
    scenario: "metastable",
    results,
    passed: results.every(({ passed }) => passed),
    method: {
      ...options,
      workers,
      warmSeconds,
      timeoutMs: 1_000,
      latencyFrom: "when a call was due",
      node: process.version,
    },
  };
}

class Stage {
  readonly servers: Server[] = [];
  ports: readonly number[] = [];
  proxies: readonly FaultProxy[] = [];
  readonly client: Child<MetastableClientCommands> = startChild("./metastable-client.ts", 0);

  /** Half of the servers can only be killed where there are two. */
  async open(trigger: MetastableTrigger): Promise<void> {
    const count = trigger === "half" ? 2 : 1;
    for (let i = 0; i < count; i += 1) this.servers.push(startChild("./metastable-server.ts", 1));
    this.ports = await Promise.all(
      this.servers.map(({ ask }) => ask.serve({ port: 0, workers: workers / count, coldMs: 0 })),
    );
    if (trigger === "partition") {
      const listen = { host: serverHost, port: 0 };
      this.proxies = this.ports.map((port) => createFaultProxy({ listen, target: { host: serverHost, port } }));
    }
  }

  /** Where clients connect to. */
  async doors(): Promise<readonly number[]> {
    if (this.proxies.length === 0) return this.ports;
    return (await Promise.all(this.proxies.map((proxy) => proxy.listen()))).map(({ port }) => port);
  }

  /** Kills a server, and starts it again after so long, cold for a second if it is to be. */
  async restart(index: number, afterMs: number, cold: boolean): Promise<void> {
    const port = this.ports[index];
    if (port === undefined) throw new RangeError(`there is no server ${index}`);
    await this.servers[index]?.end("SIGKILL");
    const next: Server = startChild("./metastable-server.ts", 1);
    this.servers[index] = next;
    await sleep(afterMs);
    await next.ask.serve({ port, workers: workers / this.ports.length, coldMs: cold ? coldMs : 0 });
  }

  async close(): Promise<void> {
    for (const child of [this.client, ...this.servers]) child.stop();
    for (const proxy of this.proxies) await proxy[Symbol.asyncDispose]();
  }
}

async function measure(trigger: MetastableTrigger, options: MetastableOptions): Promise<MetastableResult> {
  const stage = new Stage();
  const startMs = performance.now();
  const startBusyMs = machineBusyMs() ?? Number.NaN;
  try {
    await stage.open(trigger);
    await stage.client.ask.connect({ ports: await stage.doors(), clients: options.clients });
    await stage.client.ask.start({ perSecond: options.perSecond });
    await sleep(warmSeconds * 1_000);
    const troubleStartMs = performance.now();
    await trouble(trigger, stage, options.troubleSeconds * 1_000);
    const troubleSeconds = (performance.now() - troubleStartMs) / 1_000;
    await sleep((options.afterSeconds + 2) * 1_000);
    const figures = await stage.client.ask.stop();
    const busyCpus = ((machineBusyMs() ?? Number.NaN) - startBusyMs) / (performance.now() - startMs);
    return resultOf(trigger, figures, warmSeconds, warmSeconds + troubleSeconds, options.afterSeconds, busyCpus);
  } finally {
    await stage.close();
  }
}

async function trouble(trigger: MetastableTrigger, stage: Stage, ms: number): Promise<void> {
  const [server] = stage.servers;
  switch (trigger) {
    case "slow":
      await server?.ask.slow(slowFactor);
      await sleep(ms);
      await server?.ask.slow(1);
      return;
    case "spike":
      await stage.client.ask.load(spikeFactor);
      await sleep(ms);
      await stage.client.ask.load(1);
      return;
    case "partition":
      for (const proxy of stage.proxies) proxy.set([{ kind: "stall" }]);
      await sleep(ms);
      for (const proxy of stage.proxies) proxy.set([]);
      return;
    case "restart":
      await stage.restart(0, ms - coldMs, true);
      await sleep(coldMs);
      return;
    case "half":
      await stage.restart(0, ms, false);
  }
}

/** The trouble lasted from `fromSeconds` to `untilSeconds` after the begin; whole seconds are looked at. */
export function resultOf(
  trigger: MetastableTrigger,
  { offered, good, attempts, failures }: MetastableFigures,
  fromSeconds: number,
  untilSeconds: number,
  afterSeconds: number,
  busyCpus: number,
): MetastableResult {
  const end = Math.ceil(untilSeconds);
  const share = (from: number, until: number): number => sum(good, from, until) / sum(offered, from, until);
  const goodAfter = Array.from({ length: afterSeconds }, (_, second) => share(end + second, end + second + 1));
  // A call of the last moment before it is still on its way when the trouble begins.
  const outside = (each: readonly number[]): number =>
    sum(each, 0, fromSeconds - 1) + sum(each, end + recoverySeconds, end + afterSeconds);
  const attemptsOutside = outside(attempts) / outside(offered);
  const goodBefore = share(0, fromSeconds - 1);
  return {
    trigger,
    goodBefore,
    goodDuring: share(fromSeconds, Math.floor(untilSeconds)),
    goodAfter,
    attemptsOutside,
    failures,
    busyCpus,
    isVoid: goodBefore < beforeMin,
    passed:
      goodBefore >= beforeMin &&
      goodAfter.slice(recoverySeconds).every((each) => each >= goodMin) &&
      attemptsOutside <= attemptsMax,
  };
}

function sum(counts: readonly number[], from: number, until: number): number {
  return counts.slice(from, until).reduce((total, count) => total + count, 0);
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function describe(result: MetastableResult): string {
  const { trigger, goodBefore, goodDuring, goodAfter, attemptsOutside, failures, busyCpus, isVoid, passed } = result;
  const kinds = Object.entries(failures).map(([kind, count]) => `${count} x ${kind}`);
  return [
    `${trigger.padEnd(9)} good: ${goodBefore.toFixed(3)} before, ${goodDuring.toFixed(3)} during, then ${goodAfter.map((share) => share.toFixed(2)).join(" ")}`,
    `          ${attemptsOutside.toFixed(3)} attempts a call outside, ${busyCpus.toFixed(2)} CPUs busy, ${isVoid ? "void" : passed ? "passed" : "missed"}; ${kinds.join(", ")}`,
  ].join("\n");
}

/** The verb: gives back the exit code. 0 all reached, 1 something missed or void, 2 usage. */
export async function metastableMain(args: readonly string[], progress: (line: string) => void): Promise<number> {
  try {
    const options = parseMetastableOptions(args);
    const report = await runMetastable(options, progress);
    console.log(options.isJson ? JSON.stringify(report, undefined, 2) : report.results.map(describe).join("\n"));
    return report.passed ? 0 : 1;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(`${error.message}\n\n${metastableUsage}`);
    return 2;
  }
}

if (import.meta.main) process.exitCode = await metastableMain(process.argv.slice(2), (line) => console.error(line));
