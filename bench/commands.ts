/**
 * The words between the main process and its two children, and the two ends of that pipe. The main process asks, a child
 * answers; nothing else is said, so that a child under load handles a handful of messages in a run.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { ContenderName, TlsFiles } from "./contender.ts";

/** What a client does over and over until told to stop. */
export type LoadKind = "add" | "order" | "echo" | "down" | "up" | "both";
export interface LoadSpec {
  readonly kind: LoadKind;
  /** Closed loop: calls (or streams) in flight. */
  readonly concurrency: number;
  /** Open loop: calls started a second, whether or not earlier ones have ended; latency counts from the scheduled start. */
  readonly perSecond?: number | undefined;
}

/** A process's figures at one moment. */
export interface Sample {
  readonly atMs: number;
  /** User and system time of all threads so far. */
  readonly cpuMs: number;
  /** Items that a server's stream handlers have received so far. */
  readonly receivedItems: number;
}
/** What a client saw between `begin` and `end`. */
export interface LoadReport {
  readonly elapsedMs: number;
  readonly cpuMs: number;
  /** Calls that ended well. In streams: whole streams. */
  readonly calls: number;
  /** Stream items that arrived at the client. */
  readonly items: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Calls that failed since the start; the first failure's text. */
  readonly failed: number;
  readonly firstFailure: string | undefined;
  /** Open loop only: calls due or started that had not ended; they count in the quantiles with their age. */
  readonly unfinished: number;
}

export interface ServerCommands {
  serve(options: {
    readonly contender: ContenderName;
    readonly tls: TlsFiles | undefined;
  }): Promise<{ readonly port: number }>;
  sample(): Promise<Sample>;
  /** Resident memory after a full collection. */
  memory(): Promise<{ readonly rssBytes: number }>;
}
export interface ClientCommands {
  /** Opens connections in addition to those there are, and makes one call on each. */
  connect(options: {
    readonly contender: ContenderName;
    readonly tls: TlsFiles | undefined;
    readonly port: number;
    readonly connections: number;
  }): Promise<void>;
  /** Begins the load; it goes on until `stop`. */
  start(spec: LoadSpec): Promise<void>;
  /** Begins the measured window. */
  begin(): Promise<void>;
  /** Ends the measured window. */
  end(): Promise<LoadReport>;
  /** Ends the load; resolves when the calls in flight have ended. */
  stop(): Promise<void>;
  memory(): Promise<{ readonly rssBytes: number }>;
}

interface Question {
  readonly id: number;
  readonly name: string;
  readonly argument: unknown;
}
interface Answer {
  readonly id: number;
  readonly value?: unknown;
  readonly error?: string | undefined;
}

/** The child's end: answers each question with what the command of that name resolves to. */
export function answerCommands(commands: Readonly<Record<string, (argument: never) => Promise<unknown>>>): void {
  process.on("disconnect", () => process.exit(0));
  process.on("message", ({ id, name, argument }: Question) => {
    const reply = (answer: Answer): void => void process.send?.(answer);
    const command = commands[name];
    if (command === undefined) throw new Error(`no command ${name}`);
    command(argument as never).then(
      (value) => reply({ id, value }),
      (error: unknown) => reply({ id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
    );
  });
}

/** The main process's end of one child. */
export interface Child<C> {
  readonly ask: C;
  /** Sends it a signal; resolves when it has ended. */
  end(signal: NodeJS.Signals): Promise<void>;
  stop(): void;
}

const askTimeoutMsDefault = 60_000;

/** How else a child is started. */
export interface StartOptions {
  /** A command that begins Node with the arguments that follow. */
  readonly before?: readonly string[] | undefined;
  /** For the program. */
  readonly args?: readonly string[] | undefined;
  /** How long an answer may take; default a minute. */
  readonly askTimeoutMs?: number | undefined;
}

/**
 * Starts a child (a path beside this file, or an absolute one) on one CPU, if there are two and `taskset` is there; "any": on whichever is
 * free. Its stderr is ours.
 */
export function startChild<C>(
  file: string,
  cpuSlot: 0 | 1 | "any",
  { before, args: own, askTimeoutMs = askTimeoutMsDefault }: StartOptions = {},
): Child<C> {
  const path = fileURLToPath(new URL(file, import.meta.url));
  const flags = ["--conditions=holdfast-source", "--expose-gc"];
  const node = [...(before ?? []), process.execPath, ...flags, path, ...(own ?? [])];
  const cpu = cpuSlot === "any" ? undefined : pinnedCpus?.[cpuSlot];
  const [command = "", ...args] = cpu === undefined ? node : ["taskset", "-c", String(cpu), ...node];
  const child = spawn(command, args, { stdio: ["ignore", "ignore", "inherit", "ipc"], serialization: "advanced" });
  const waiting = new Map<number, (answer: Answer) => void>();
  const failAll = (error: string): void => {
    for (const [id, settle] of waiting) settle({ id, error });
  };
  child.on("message", (answer: Answer) => waiting.get(answer.id)?.(answer));
  child.on("error", (error) => failAll(`${file}: ${error.message}`));
  child.on("exit", (code, signal) => failAll(`${file} ended with ${code ?? signal}`));
  const stopWithUs = (): void => void child.kill("SIGKILL");
  process.once("exit", stopWithUs);
  let lastId = 0;
  const ask = new Proxy({} as Record<string, (argument: unknown) => Promise<unknown>>, {
    get: (_target, name) => (argument: unknown) =>
      question(child, waiting, ++lastId, String(name), argument, askTimeoutMs),
  });
  return {
    ask: ask as unknown as C,
    async end(signal): Promise<void> {
      const ended = once(child, "exit");
      child.kill(signal);
      await ended;
      process.off("exit", stopWithUs);
    },
    stop(): void {
      process.off("exit", stopWithUs);
      child.kill("SIGKILL");
    },
  };
}

function question(
  child: ChildProcess,
  waiting: Map<number, (answer: Answer) => void>,
  id: number,
  name: string,
  argument: unknown,
  askTimeoutMs: number,
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const settle = (answer: Answer): void => {
      clearTimeout(timer);
      waiting.delete(id);
      if (answer.error === undefined) resolve(answer.value);
      else reject(new Error(answer.error));
    };
    const timer = setTimeout(() => settle({ id, error: `no answer to "${name}" in ${askTimeoutMs} ms` }), askTimeoutMs);
    waiting.set(id, settle);
    child.send({ id, name, argument } satisfies Question, (error) => {
      if (error !== null) settle({ id, error: error.message });
    });
  });
}

/** The first two CPUs that this process may use: the client's, the server's. Undefined where pinning is not possible. */
export const pinnedCpus: readonly [number, number] | undefined = findCpus();

function findCpus(): readonly [number, number] | undefined {
  try {
    readFileSync("/usr/bin/taskset");
    const allowed = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "";
    const cpus = allowed.split(",").flatMap((range) => {
      const [first = NaN, last = first] = range.split("-").map(Number);
      return Array.from({ length: last - first + 1 }, (_, index) => first + index);
    });
    const [client, server] = cpus;
    return client === undefined || server === undefined ? undefined : [client, server];
  } catch {
    return undefined;
  }
}
