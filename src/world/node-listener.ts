/**
 * Listening, done by node:net and node:tls. A listener survives everything that one client can do: failed handshakes are
 * cut in silence, failed accepts are told to `failed`, a handler that throws costs its own socket.
 *
 * Connections may not take a process's last descriptors: one that would is cut as soon as the kernel has given it, and that is told to
 * `failed`. If something else takes them, libuv itself accepts and cuts the connections that wait, so that they fail fast and the loop does
 * not spin; that is not told. Either way the next one is let in as soon as a descriptor is free.
 */
import { lstat, unlink } from "node:fs/promises";
import { connect, createServer, type Server, type Socket as NetSocket } from "node:net";
import { createServer as createTlsServer, type TLSSocket } from "node:tls";
import type { Listener, ListenRequest, SocketAddress } from "./network.ts";
import { descriptorOf, descriptorsForConnections } from "./node-descriptors.ts";
import { addressText, listenError, networkErrorOf } from "./node-network-error.ts";
import { HANDLER_THREW, NodeSocket } from "./node-socket.ts";
import { isFalseProof, serverTlsOptions } from "./node-tls.ts";

/** Listens as asked, or rejects with an Error that names address, phase and cause. */
export async function listenOn(request: ListenRequest): Promise<Listener> {
  const target = addressText(request.address);
  let server: Server;
  try {
    server = makeServer(request);
  } catch (error) {
    throw listenError(error, "tls", target);
  }
  const listener = new NodeListener(server, request, target, await descriptorsForConnections());
  try {
    await listening(server, request);
  } catch (error) {
    throw listenError(error, "listen", target);
  }
  return listener;
}

/**
 * When a listening socket closes, the kernel resets the connections that wait in its queue, and libuv takes one a turn of the event
 * loop: measured on Linux, 50 of 50 that waited were reset by a close without these turns, and none with them. Node's own backlog is 511.
 */
const PENDING_TURNS_MAX = 1_024;
/** Quiet for so long, an accepted TCP connection is probed by the kernel: a client's machine that is gone says nothing. */
const KEEPALIVE_DELAY_MS = 60_000;

function makeServer(request: ListenRequest): Server {
  const common = {
    allowHalfOpen: true,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: KEEPALIVE_DELAY_MS,
  };
  if (request.tls === undefined) return createServer(common);
  return createTlsServer({ ...serverTlsOptions(request.tls, request), ...common });
}

/** Binds; a Unix socket's file that nobody listens to any more is removed, once. */
async function listening(server: Server, { address, isPortShared }: ListenRequest): Promise<void> {
  try {
    await bound(server, address, isPortShared);
  } catch (error) {
    if (address.kind === "tcp" || (error as NodeJS.ErrnoException).code !== "EADDRINUSE") throw error;
    if (!(await isStale(address.path))) throw error;
    await unlink(address.path);
    await bound(server, address, isPortShared);
  }
}

function bound(server: Server, address: SocketAddress, reusePort = false): Promise<void> {
  return new Promise((resolve, reject) => {
    const refused = (error: Error): void => {
      server.off("listening", done);
      reject(error);
    };
    const done = (): void => {
      server.off("error", refused);
      resolve();
    };
    server.once("error", refused);
    server.once("listening", done);
    try {
      if (address.kind === "tcp") server.listen({ host: address.host, port: address.port, reusePort });
      else if (reusePort) throw Object.assign(new Error("a Unix path cannot be shared"), { code: "EINVAL" });
      else server.listen({ path: address.path });
    } catch (error) {
      server.off("listening", done);
      server.off("error", refused);
      reject(error);
    }
  });
}

/** Whether `path` is a socket that refuses: its listener died without removing it. A file that is no socket is not ours to remove. */
async function isStale(path: string): Promise<boolean> {
  const file = await lstat(path).catch(() => undefined);
  if (file === undefined || !file.isSocket()) return false;
  return new Promise((resolve) => {
    const probe = connect({ path });
    probe.once("connect", () => {
      probe.destroy();
      resolve(false);
    });
    probe.once("error", (error: NodeJS.ErrnoException) => resolve(error.code === "ECONNREFUSED"));
  });
}

class NodeListener implements Listener {
  private readonly server: Server;
  private readonly request: ListenRequest;
  private readonly target: string;
  private readonly descriptorsMax: number;
  private closing: Promise<void> | undefined;
  private isListening: boolean;
  private isClosed: boolean;
  /** Connections that the kernel gave us. */
  private arrivals: number;
  /** TLS only: of them, those that are open, and how many have shaken hands. Counted by their ends, which Node never forgets. */
  private open: number;
  private secured: number;

  constructor(server: Server, request: ListenRequest, target: string, descriptorsMax: number) {
    this.server = server;
    this.request = request;
    this.target = target;
    this.descriptorsMax = descriptorsMax;
    this.closing = undefined;
    this.isListening = false;
    this.isClosed = false;
    this.arrivals = 0;
    this.open = 0;
    this.secured = 0;
    // Of TLS too, before the handshake: who is not let in costs none.
    server.on("connection", (stream: NetSocket) => {
      this.arrivals += 1;
      if (!this.isLetIn(stream)) stream.destroy();
    });
    server.once("listening", () => {
      this.isListening = true;
    });
    // Before it listens, an error is the answer to `listen`.
    server.on("error", (error) => {
      if (this.isListening) this.tellFailed(error);
    });
    if (request.tls === undefined) {
      server.on("connection", (stream: NetSocket) => this.accept(stream));
    } else {
      const { tls } = request;
      server.on("connection", (stream: NetSocket) => {
        this.open += 1;
        stream.once("close", () => (this.open -= 1));
      });
      server.on("secureConnection", (stream: TLSSocket) => {
        this.secured += 1;
        stream.once("close", () => (this.secured -= 1));
        if (isFalseProof(stream, tls)) stream.destroy();
        else this.accept(stream);
      });
      // A failed or slow handshake concerns its client alone; node:tls leaves cutting a slow one to us.
      server.on("tlsClientError", (_: Error, stream: TLSSocket) => stream.destroy());
    }
  }

  get address(): SocketAddress {
    const at = this.server.address();
    if (at === null || typeof at === "string") return this.request.address;
    return { kind: "tcp", host: at.address, port: at.port };
  }

  close(): Promise<void> {
    this.closing ??= this.closeNow();
    return this.closing;
  }

  private async closeNow(): Promise<void> {
    await this.takePending();
    this.isClosed = true;
    // The descriptor is closed inside server.close(), so the address is free when that returns; its callback waits for
    // the accepted sockets, which live on. A turn later Node has also told everyone else.
    this.server.close();
    await turn();
  }

  /** A turn of the loop in which nobody came shows that nobody waits. The first may have begun behind the loop's look at the socket. */
  private async takePending(): Promise<void> {
    await turn();
    let before = -1;
    for (let turns = 0; turns < PENDING_TURNS_MAX && this.arrivals !== before; turns++) {
      before = this.arrivals;
      await turn();
    }
  }

  /** Whether it may stay, as soon as the kernel has given it. */
  private isLetIn(stream: NetSocket): boolean {
    const descriptor = descriptorOf(stream);
    if (descriptor >= this.descriptorsMax) {
      const text = `${descriptor} descriptors are in use, the last are not for connections`;
      this.tellFailed(Object.assign(new Error(text), { code: "EMFILE" }));
      return false;
    }
    return this.request.hasRoom?.(Math.max(0, this.open - this.secured)) ?? true;
  }

  private accept(stream: NetSocket): void {
    if (stream.destroyed) return;
    // A handshake that began before close() may end after it: its client has sent nothing yet, and knows it.
    if (this.isClosed) {
      stream.destroy();
      return;
    }
    const socket = new NodeSocket(stream, this.target, "open");
    try {
      socket.listen(this.request.accept(socket));
    } catch (cause) {
      socket.destroy();
      this.tellFailed(Object.assign(new Error("accept threw", { cause }), { code: HANDLER_THREW }));
    }
  }

  private tellFailed(error: unknown): void {
    try {
      this.request.failed(networkErrorOf(error, "listen", this.target));
    } catch (thrown) {
      // As in NodeSocket: nobody is left to tell.
      process.nextTick(() => {
        throw thrown;
      });
    }
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
