/** What the processes of the demo have in common: the word to their parent, and that none outlives it. */
import type { ChildWord } from "./child.ts";

/** Ends this process when its parent is gone, after `before`; a terminal's Ctrl-C and hang-up go to the whole group, and are not for it. */
export function endWithParent(before: () => void = () => undefined): void {
  process.on("SIGINT", () => undefined);
  process.on("SIGHUP", () => undefined);
  process.on("disconnect", () => {
    before();
    process.exit(0);
  });
}

/** Tells the parent. */
export function tell(word: ChildWord): void {
  if (process.send === undefined || !process.connected) {
    console.error("this process is started by npm run demo");
    process.exit(1);
  }
  // The parent died while this process began: there is nobody to serve.
  process.send(word, undefined, {}, (error) => {
    if (error !== null) process.exit(1);
  });
}

/** The same for what went wrong. */
export function tellFailure(error: unknown): void {
  tell({ kind: "failed", text: error instanceof Error ? error.message : String(error) });
}
