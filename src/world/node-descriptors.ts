/**
 * Descriptors of this process: how many it may have open, and whether a connection that was accepted took one of the last.
 *
 * A server that lets connections take all of them cannot open a file, look up a name or dial any more, and the kernel, not the server, says
 * who gets in. POSIX gives out the lowest free descriptor, so the number of an accepted one says, without counting, that all below it are in use.
 */
import { readFile } from "node:fs/promises";

/** What connections leave to everything else, at the most and as a share of the limit. */
const RESERVE_MAX = 64;
const RESERVE_SHARE = 1 / 8;

/** How many descriptors connections may have: those that the process may, less the reserve. Infinity where the system does not say (no /proc). */
export async function descriptorsForConnections(): Promise<number> {
  try {
    return connectionShare(await readFile("/proc/self/limits", "utf8"));
  } catch {
    return Infinity;
  }
}

/** The same of what the kernel says (proc_pid_limits(5)). Node has raised the soft limit to the hard one when it started. */
export function connectionShare(limits: string): number {
  const soft = Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1] ?? Infinity);
  return soft === Infinity ? Infinity : soft - Math.min(RESERVE_MAX, Math.ceil(soft * RESERVE_SHARE));
}

/** The number of a socket's descriptor; -1 where there is none to see (Windows, or Node has closed it). */
export function descriptorOf(socket: object): number {
  // Node shows it nowhere else. Without it nothing is refused: what happens then is what happened before.
  const { _handle: handle } = socket as { readonly _handle?: { readonly fd?: unknown } | null };
  return typeof handle?.fd === "number" ? handle.fd : -1;
}
