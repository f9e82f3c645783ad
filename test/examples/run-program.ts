/** Runs one of our programs as a user would, to its end or to a line it prints. */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import type { Readable } from "node:stream";
import { ROOT } from "../house/source.ts";

/** A program that runs longer hangs. On a busy machine the demo may wait several seconds for each of its faults to heal. */
const RUN_MS_MAX = 180_000;

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Program extends Disposable {
  kill(signal: NodeJS.Signals): void;
  /** What it has printed when `pattern` first matches its stdout. Rejects if it ends before that. */
  printed(pattern: RegExp): Promise<string>;
  readonly ended: Promise<Ended>;
}

/** Starts `file` (from the root). Disposing kills it. */
export function runProgram(file: string, args: readonly string[] = []): Program {
  const child = spawn(process.execPath, ["--conditions=holdfast-source", file, ...args], {
    cwd: ROOT,
    env: { ...process.env, FORCE_COLOR: undefined },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: RUN_MS_MAX,
    killSignal: "SIGKILL",
  });
  const text = { stdout: "", stderr: "" };
  const listeners = new Set<() => void>();
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    text.stdout += chunk;
    for (const listener of listeners) listener();
  });
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
    text.stderr += chunk;
  });
  const ended = endOf(child, text);
  return {
    kill: (signal) => void child.kill(signal),
    printed: async (pattern) => {
      const found = new Promise<string>((resolve) => {
        const look = (): void => {
          if (pattern.test(text.stdout)) resolve(text.stdout);
        };
        listeners.add(look);
        look();
      });
      const early = ended.then(({ stdout, stderr }) => {
        if (pattern.test(stdout)) return stdout;
        throw new Error(`${file} ended before it printed ${String(pattern)}: ${stdout}${stderr}`);
      });
      return Promise.race([found, early]);
    },
    ended,
    [Symbol.dispose]: () => void child.kill("SIGKILL"),
  };
}

function endOf(
  child: ChildProcessByStdio<null, Readable, Readable>,
  text: { readonly stdout: string; readonly stderr: string },
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => resolve({ code, signal, ...text }));
  });
}
