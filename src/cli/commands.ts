/** The commands that there are, in the order in which help names them. Each stands in a file of its own. */
import { chaosProxy } from "./chaos-proxy.ts";
import type { Command } from "./command.ts";

/** All commands. */
export const COMMANDS: readonly Command[] = [chaosProxy];
