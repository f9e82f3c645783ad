/**
 * Addresses as users write them: `host:port`, `[::1]:443`, `unix:/path`, or a port alone.
 */
import type { SocketAddress } from "../../world/network.ts";

/** Parses an address. `what` names it in errors. A number is a port on 127.0.0.1. RangeError or TypeError for anything else. */
export function parseAddress(given: unknown, what: string): SocketAddress {
  if (typeof given === "number") return { kind: "tcp", host: "127.0.0.1", port: parsePort(given, String(given), what) };
  if (typeof given !== "string") {
    throw new TypeError(
      `${what} must be "host:port", "unix:/path" or a port, got ${given === null ? "null" : typeof given}`,
    );
  }
  if (given.startsWith("unix:")) {
    if (/^unix:\/\/(?!\/)/.test(given)) {
      throw new RangeError(`${what} must be "unix:path" or "unix:///absolute/path", got ${JSON.stringify(given)}`);
    }
    const path = given.startsWith("unix:///") ? given.slice("unix://".length) : given.slice("unix:".length);
    if (path === "") throw new RangeError(`${what} must name a socket after "unix:", got ${JSON.stringify(given)}`);
    return { kind: "unix", path };
  }
  const colon = given.lastIndexOf(":");
  let host = given.slice(0, Math.max(0, colon));
  if (host.startsWith("[") && host.endsWith("]")) host = host.slice(1, -1);
  else if (host.includes(":")) {
    throw new RangeError(
      `${what} must have an IPv6 host in brackets, such as [::1]:50051, got ${JSON.stringify(given)}`,
    );
  }
  const port = given.slice(colon + 1);
  if (colon < 1 || host === "" || !/^\d{1,5}$/.test(port) || /[\s/?#@]/.test(host)) {
    throw new RangeError(`${what} must be "host:port" or "unix:/path", got ${JSON.stringify(given)}`);
  }
  return { kind: "tcp", host, port: parsePort(Number(port), given, what) };
}

function parsePort(port: number, given: string, what: string): number {
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new RangeError(`${what} must have a port in 0..65535, got ${JSON.stringify(given)}`);
  }
  return port;
}

/** As a user would write it. */
export function addressText(address: SocketAddress): string {
  if (address.kind === "unix") return `unix:${address.path}`;
  return address.host.includes(":") ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}

/** Whether it can only be reached from this machine. */
export function isLocal(address: SocketAddress): boolean {
  if (address.kind === "unix") return true;
  const host = address.host.toLowerCase();
  return host === "localhost" || host === "::1" || /^127(?:\.\d{1,3}){3}$/.test(host) || host === "::ffff:127.0.0.1";
}
