#!/usr/bin/env node
/**
 * The `holdfast` command. The one file of this room that touches the real process: its arguments, its streams, its signals.
 */
import { nodeWorld } from "../world/node.ts";
import { runCommandLine } from "./command-line.ts";
import { COMMANDS } from "./commands.ts";

const interruption = new AbortController();
const interrupt = (): void => interruption.abort();
// Once: whoever interrupts twice wants it to stop at once, which is what the signal does by itself.
process.once("SIGINT", interrupt);
process.once("SIGTERM", interrupt);
// Whoever read our lines has left (`| head`): nobody is there to tell.
process.stdout.on("error", interrupt);
process.stderr.on("error", interrupt);

process.exitCode = await runCommandLine(process.argv.slice(2), COMMANDS, {
  world: nodeWorld,
  print: (line) => void process.stdout.write(`${line}\n`),
  say: (line) => void process.stderr.write(`${line}\n`),
  interrupted: interruption.signal,
});
