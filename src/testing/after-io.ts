/** One call in the I/O phase of a process's next turn: how a kernel answers what needs no waiting. */
import type { IoTask, Process } from "./process.ts";

export function afterIo(process: Process, callback: () => void): void {
  process.post(new OneCall(callback));
}

class OneCall implements IoTask {
  isPosted = false;
  private callback: (() => void) | undefined;

  constructor(callback: () => void) {
    this.callback = callback;
  }

  runOne(): boolean {
    const callback = this.callback;
    this.callback = undefined;
    callback?.();
    return callback !== undefined;
  }
}
