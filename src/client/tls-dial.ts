/**
 * Dialling with TLS: the certificates are read from their files first, while the connection already has its socket.
 */
import { connectRacing } from "../wire/transport/happy-eyeballs.ts";
import { readClientTls } from "../wire/transport/tls-files.ts";
import type { ClientTlsOptions, Socket, SocketAddress, SocketEvents, TlsFacts } from "../world/network.ts";
import type { World } from "../world/world.ts";
import type { ClientTls } from "./options.ts";

/** Reads the files at the first dial, and again after a failure. */
export function tlsOnce(world: World, files: ClientTls): () => Promise<ClientTlsOptions> {
  let reading: Promise<ClientTlsOptions> | undefined;
  return () => {
    reading ??= readClientTls(world.disk, files).catch((error: unknown) => {
      reading = undefined;
      throw error;
    });
    return reading;
  };
}

/** Connects as soon as the certificates have been read. */
export function connectWithTls(
  world: World,
  address: SocketAddress,
  tls: () => Promise<ClientTlsOptions>,
  events: SocketEvents,
): Socket {
  const late = new LateSocket(world, events);
  tls().then(
    (options) => late.settle(() => connectRacing(world, address, { tls: options, alpn: ["h2"] }, events)),
    (error: unknown) => late.fail(error),
  );
  return late;
}

/** A socket that is not there yet: keeps what is asked of it until it is. */
class LateSocket implements Socket {
  readonly #world: World;
  readonly #events: SocketEvents;
  #socket: Socket | undefined;
  #isDestroyed: boolean;
  #kept: Buffer[];

  constructor(world: World, events: SocketEvents) {
    this.#world = world;
    this.#events = events;
    this.#socket = undefined;
    this.#isDestroyed = false;
    this.#kept = [];
  }

  settle(connect: () => Socket): void {
    if (this.#isDestroyed) return;
    this.#socket = connect();
    if (this.#kept.length > 0) this.#socket.writeAll(this.#kept);
    this.#kept = [];
  }
  fail(error: unknown): void {
    if (this.#isDestroyed) return;
    this.#isDestroyed = true;
    const text = error instanceof Error ? error.message : String(error);
    this.#events.closed({ phase: "tls", code: "TLS_FILES", text, cause: error });
  }

  get queuedBytes(): number {
    return this.#socket?.queuedBytes ?? 0;
  }
  get localAddress(): string {
    return this.#socket?.localAddress ?? "";
  }
  get remoteAddress(): string {
    return this.#socket?.remoteAddress ?? "";
  }
  get tls(): TlsFacts | undefined {
    return this.#socket?.tls;
  }
  write(bytes: Buffer): void {
    if (this.#socket === undefined) this.#kept.push(bytes);
    else this.#socket.write(bytes);
  }
  writeAll(chunks: readonly Buffer[], spent?: readonly Buffer[]): void {
    if (this.#socket === undefined) this.#kept.push(...chunks);
    else this.#socket.writeAll(chunks, spent);
  }
  pause(): void {
    this.#socket?.pause();
  }
  resume(): void {
    this.#socket?.resume();
  }
  end(): void {
    if (this.#socket === undefined) this.destroy();
    else this.#socket.end();
  }
  destroy(): void {
    if (this.#socket !== undefined) {
      this.#socket.destroy();
      return;
    }
    if (this.#isDestroyed) return;
    this.#isDestroyed = true;
    this.#world.timers.afterTurn(() => this.#events.closed(undefined));
  }
}
