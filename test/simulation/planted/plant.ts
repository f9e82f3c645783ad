/**
 * Plants a bug in the code that this process loads: for `node --import`. It fails loudly where the bug's text is not found exactly once,
 * and when the file was never loaded: a bug that was not planted would be "not found" for the wrong reason.
 */
import { registerHooks } from "node:module";
import { plantedBugs, plantedBugVariable } from "./bugs.ts";

const name = process.env[plantedBugVariable];
const bug = plantedBugs.find((each) => each.name === name);
if (bug === undefined) throw new Error(`${plantedBugVariable} must name a planted bug, got "${name ?? ""}"`);
const target = new URL(`../../../${bug.file}`, import.meta.url).href;
let isPlanted = false;

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context);
    if (url !== target || loaded.source === undefined || loaded.source === null) return loaded;
    const text =
      typeof loaded.source === "string" ? loaded.source : Buffer.from(loaded.source as Uint8Array).toString();
    const count = text.split(bug.find).length - 1;
    if (count !== 1)
      throw new Error(`${bug.name}: its text stands ${count} times in ${bug.file}, it must stand there once`);
    isPlanted = true;
    return { ...loaded, source: text.replace(bug.find, () => bug.replace) };
  },
});

process.on("exit", () => {
  if (isPlanted) return;
  console.error(`${bug.name}: ${bug.file} was not loaded, so the bug was not planted`);
  process.exitCode = 3;
});
