/**
 * Sockets whose events are kept, so that a test of a network, real or simulated, can wait for them and compare them.
 */
import assert from "node:assert/strict";
import type {
  ClientTlsOptions,
  Listener,
  Network,
  NetworkError,
  ServerTlsOptions,
  Socket,
  SocketAddress,
  SocketEvents,
} from "../world/network.ts";

/** Keeps what a socket tells, and lets a test wait for it. */
export class SocketRecorder implements SocketEvents {
  /** Names of the events so far; several chunks in a row are one `data`. */
  readonly told: string[] = [];
  /** The first kilobyte or so that arrived. */
  text = "";
  byteLength = 0;
  /** What `closed` said. */
  error: NetworkError | undefined;
  private readonly waiting: { readonly isReached: () => boolean; readonly resolve: () => void }[] = [];

  opened(): void {
    this.tell("opened");
  }

  data(bytes: Buffer): void {
    if (this.text.length < 1000) this.text += bytes.toString();
    this.byteLength += bytes.length;
    if (this.told.at(-1) !== "data") this.told.push("data");
    this.check();
  }

  drained(): void {
    this.tell("drained");
  }

  ended(): void {
    this.tell("ended");
  }

  closed(error: NetworkError | undefined): void {
    this.error = error;
    this.tell("closed");
  }

  /** Resolves when one of `events` was told. */
  has(...events: readonly string[]): Promise<void> {
    return this.until(() => events.some((each) => this.told.includes(each)));
  }

  /** Resolves when `isReached` holds, which is asked after each event. */
  until(isReached: () => boolean): Promise<void> {
    if (isReached()) return Promise.resolve();
    return new Promise((resolve) => this.waiting.push({ isReached, resolve }));
  }

  private tell(what: string): void {
    this.told.push(what);
    this.check();
  }

  private check(): void {
    for (const { isReached, resolve } of this.waiting) if (isReached()) resolve();
  }
}

/** A socket and what it told. */
export interface RecordedSocket {
  readonly socket: Socket;
  readonly seen: SocketRecorder;
}

/** A listener and what it told. */
export interface RecordedListener {
  readonly listener: Listener;
  readonly address: SocketAddress;
  readonly failures: readonly NetworkError[];
  /** Sockets accepted so far. */
  readonly sockets: readonly RecordedSocket[];
  /** The next accepted socket, in order, that was not given out yet. */
  accepted(): Promise<RecordedSocket>;
}

export interface RecordedListenOptions {
  readonly address?: SocketAddress | undefined;
  readonly tls?: ServerTlsOptions | undefined;
  readonly alpn?: readonly string[] | undefined;
  readonly handshakeTimeoutMs?: number | undefined;
  readonly hasRoom?: ((opening: number) => boolean) | undefined;
  /** Runs inside `accept`. */
  readonly onAccept?: ((socket: Socket) => void) | undefined;
}

/** Listens, by default on a free port of 127.0.0.1 with a handshake timeout of a minute. The caller closes the listener. */
export async function listenRecorded(network: Network, options: RecordedListenOptions = {}): Promise<RecordedListener> {
  const sockets: RecordedSocket[] = [];
  const takers: ((socket: RecordedSocket) => void)[] = [];
  const failures: NetworkError[] = [];
  let given = 0;
  const listener = await network.listen({
    address: options.address ?? { kind: "tcp", host: "127.0.0.1", port: 0 },
    tls: options.tls,
    alpn: options.alpn ?? [],
    handshakeTimeoutMs: options.handshakeTimeoutMs ?? 60_000,
    ...(options.hasRoom !== undefined && { hasRoom: options.hasRoom }),
    accept: (socket) => {
      const accepted = { socket, seen: new SocketRecorder() };
      options.onAccept?.(socket);
      sockets.push(accepted);
      takers.shift()?.(accepted);
      return accepted.seen;
    },
    failed: (error) => failures.push(error),
  });
  const accepted = (): Promise<RecordedSocket> => {
    const ready = sockets[given];
    given += 1;
    return ready === undefined ? new Promise((resolve) => takers.push(resolve)) : Promise.resolve(ready);
  };
  return { listener, address: listener.address, failures, sockets, accepted };
}

/** Connects, and checks that nothing is told from inside `connect`. */
export function connectRecorded(
  network: Network,
  address: SocketAddress,
  tls?: ClientTlsOptions,
  alpn: readonly string[] = [],
): RecordedSocket {
  const seen = new SocketRecorder();
  const socket = network.connect(address, { tls, alpn }, seen);
  assert.deepEqual(seen.told, [], "nothing is told from inside connect");
  return { socket, seen };
}

/** A connected pair on a listener of its own. */
export async function connectPair(
  network: Network,
  options: RecordedListenOptions = {},
): Promise<{ readonly client: RecordedSocket; readonly server: RecordedSocket; readonly side: RecordedListener }> {
  const side = await listenRecorded(network, options);
  const client = connectRecorded(network, side.address);
  const server = await side.accepted();
  await client.seen.has("opened");
  return { client, server, side };
}
