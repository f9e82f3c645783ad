/**
 * A server of the benchmarks' service in a process of its own, for signals: what it prints is what it says.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

/** `add` of 1 answers at once, of 2 when the process is sent "release", of 3 never. It closes its servers when it is sent "close". */
const PROGRAM = `
  import { writeSync } from "node:fs";
  import { createServer } from "holdfast";
  import { Bench } from "./bench/gen/bench/v1/bench_pb.ts";
  const say = (text) => writeSync(1, text + "\\n");
  const { address, servers = 1, listen, options } = JSON.parse(process.env.SERVER_PROCESS);
  let release;
  const released = new Promise((resolve) => { release = resolve; });
  let handled = 0;
  const handlers = {
    add: ({ a }) => {
      handled += 1;
      if (a === 1) return { result: a };
      say("began " + a);
      return a === 2 ? released.then(() => ({ result: a })) : new Promise(() => {});
    },
    echo: (blob) => blob, placeOrder: (order) => order, up: () => ({}), both: () => [],
    async *down({ count }, call) {
      for (let index = count; !call.draining.aborted; index++) {
        yield { index };
        await new Promise((resolve) => setTimeout(resolve, 5));
        if (call.draining.aborted) call.resumeWith(String(index + 1));
      }
    },
  };
  for (let i = 0; i < servers; i++) {
    const server = createServer(options).service(Bench, handlers);
    server.on("drain", ({ state, report }) => say(report === undefined ? "drain " + state : "drain " + state + " cut " + report.cut.length + " handled " + handled));
    say("listening " + (await server.listen(address, listen)).address);
    process.on("message", (what) => (what === "close" ? server.close() : release()));
  }
  say("all listen");
`;

export interface ServerProcessOptions {
  /** What it listens at. Default a free port of loopback. */
  readonly address?: number | string | undefined;
  readonly servers?: number | undefined;
  readonly listen?: object | undefined;
  readonly options?: object | undefined;
}

export interface ServerProcess extends AsyncDisposable {
  readonly child: ChildProcess;
  readonly address: string;
  /** Lines so far. */
  readonly said: readonly string[];
  /** Resolves when it has said a line that begins so. */
  saying(start: string): Promise<string>;
  /** With what it ended. */
  readonly exited: Promise<readonly [code: number | null, signal: string | null]>;
}

export async function startServerProcess({ address = 0, ...rest }: ServerProcessOptions = {}): Promise<ServerProcess> {
  const node = ["--conditions=holdfast-source", "--input-type=module-typescript", "-e", PROGRAM];
  const child = spawn(process.execPath, node, {
    stdio: ["ignore", "pipe", "inherit", "ipc"],
    env: { ...process.env, SERVER_PROCESS: JSON.stringify({ address, ...rest }) },
  });
  assert.ok(child.stdout !== null);
  const said: string[] = [];
  const waiting = new Map<string, (line: string) => void>();
  const exited = once(child, "exit") as Promise<[number | null, string | null]>;
  createInterface({ input: child.stdout }).on("line", (line) => {
    said.push(line);
    for (const [start, tell] of waiting) if (line.startsWith(start)) tell(line);
  });
  const saying = (start: string): Promise<string> => {
    const known = said.find((line) => line.startsWith(start));
    if (known !== undefined) return Promise.resolve(known);
    return new Promise((resolve, reject) => {
      waiting.set(start, resolve);
      void exited.then(() => reject(new Error(`the server ended without saying "${start}": ${said.join("; ")}`)));
    });
  };
  await saying("all listen");
  const line = await saying("listening");
  return {
    child,
    address: line.slice("listening ".length),
    said,
    saying,
    exited,
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await exited;
    },
  };
}
