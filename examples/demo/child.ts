/**
 * A process of the demo, as the demo sees it: forked, told to be ready or failed, asked for one thing after the other, killed.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import type { Stall } from "./stalls.ts";

/** What a child tells the process that forked it: how its start went, that it has done what it was asked, that it stood still. */
export type ChildWord<R = unknown> =
  | { readonly kind: "ready"; readonly result: R }
  | { readonly kind: "failed"; readonly text: string }
  | { readonly kind: "stalled"; readonly stall: Stall };

/** Its answer to what it was asked. */
type Answer<R> = Exclude<ChildWord<R>, { readonly kind: "stalled" }>;

/** On a busy machine a process may take half a minute to begin. */
const START_TIMEOUT_MS = 60_000;

export class Child {
  readonly #process: ChildProcess;

  /** Resolves when it is ready, with what it says then. Rejects with the reason why it is not, and leaves nothing behind. */
  static async start<R>(
    file: string,
    args: readonly string[],
    name: string,
  ): Promise<{ readonly child: Child; readonly said: R }> {
    const child = new Child(file, args);
    const word = await child.#firstWord<R>();
    if (word.kind === "ready") return { child, said: word.result };
    child.signal("SIGKILL");
    throw new Error(`${name}: ${word.text}`);
  }

  private constructor(file: string, args: readonly string[]) {
    this.#process = fork(new URL(file, import.meta.url), args, {
      // What it prints must not get into the report.
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  /** Tells of its end, once, with a signal or an exit code. */
  onExit(listener: (by: string) => void): void {
    this.#process.once("exit", (code, signal) => listener(signal ?? `exit code ${code}`));
  }

  /** Tells of each of its standstills when it is over. */
  onStall(listener: (stall: Stall) => void): void {
    this.#process.on("message", (word: ChildWord) => {
      if (word.kind === "stalled") listener(word.stall);
    });
  }

  /** Resolves when it has done what `order` says, with what it answers; undefined if it has ended. Not to be asked again before that. */
  ask<R>(order: object): Promise<R | undefined> {
    const child = this.#process;
    return new Promise((resolve) => {
      const answered = (word: ChildWord<R>): void => {
        if (word.kind !== "stalled") finish(word);
      };
      const gone = (): void => finish(undefined);
      const finish = (word: Answer<R> | undefined): void => {
        child.off("message", answered);
        child.off("exit", gone);
        resolve(word?.kind === "ready" ? word.result : undefined);
      };
      child.on("message", answered);
      child.on("exit", gone);
      // Its end is told to who must know; here there is nobody to ask any more.
      if (child.connected) child.send(order, () => undefined);
      else gone();
    });
  }

  signal(signal: NodeJS.Signals): void {
    this.#process.kill(signal);
  }

  /** Sends the signal, which is to end it. Resolves when the process is gone. */
  async end(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    const gone = once(this.#process, "exit");
    this.#process.kill(signal);
    await gone;
  }

  #firstWord<R>(): Promise<Answer<R>> {
    return new Promise((resolve) => {
      const tell = (word: Answer<R>): void => {
        clearTimeout(timer);
        resolve(word);
      };
      const failed = (text: string): void => tell({ kind: "failed", text });
      const timer = setTimeout(() => failed(`was not ready within ${START_TIMEOUT_MS / 1_000} s`), START_TIMEOUT_MS);
      this.#process.once("message", (word) => tell(word as Answer<R>));
      this.#process.once("error", (error) => failed(error.message));
      this.#process.once("exit", (code, signal) =>
        failed(`ended before it was ready (${signal ?? `exit code ${code}`})`),
      );
    });
  }
}
