/** A server in a process of its own that may have so few descriptors, and raw connections to it. */
import { connect, type Socket } from "node:net";
import type { ServerOptions } from "holdfast";
import { type Child, startChild } from "../../bench/commands.ts";

export interface LimitedCommands {
  /** The port of loopback that it listens on. */
  listen(): Promise<number>;
  facts(): Promise<{ readonly connections: number; readonly cpuMs: number; readonly warnings: readonly string[] }>;
  /** Opens files until it may open no more. */
  takeFiles(): Promise<{ readonly taken: number; readonly code: string }>;
  giveFiles(): Promise<void>;
}

/** `descriptors` is what `ulimit -n` is set to before Node starts, so that Node cannot raise it. */
export function startLimited(descriptors: number, options: ServerOptions = {}): Child<LimitedCommands> {
  const file = new URL("./limited-server.ts", import.meta.url).href;
  return startChild<LimitedCommands>(file, "any", {
    before: ["bash", "-c", `ulimit -n ${descriptors} && exec "$0" "$@"`],
    args: [JSON.stringify(options)],
  });
}

/** A raw connection: whether it still stands, and whether anything has come, as a server's SETTINGS do as soon as it has been accepted. */
export interface RawConnection {
  readonly socket: Socket;
  /** Resolves to what came first: bytes, or the end. */
  readonly first: Promise<"accepted" | "closed">;
  isOpen(): boolean;
}

const PREFACE = Buffer.from("505249202a20485454502f322e300d0a0d0a534d0d0a0d0a000000040000000000", "hex");

export function rawConnection(port: number): RawConnection {
  const socket = connect(port, "127.0.0.1", () => socket.write(PREFACE));
  let isOpen = true;
  const { promise: first, resolve } = Promise.withResolvers<"accepted" | "closed">();
  socket.on("error", () => {});
  socket.on("data", () => resolve("accepted"));
  socket.once("close", () => {
    isOpen = false;
    resolve("closed");
  });
  return { socket, first, isOpen: () => isOpen };
}
