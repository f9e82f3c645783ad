/**
 * The network as a port: byte streams to and from addresses, with or without TLS. One real adapter (node.ts), one
 * simulated (testing/). Nothing here knows HTTP/2.
 */

/** Where a stream goes: a TCP host and port (a name is resolved by the network), or a Unix socket's path. */
export type SocketAddress =
  | { readonly kind: "tcp"; readonly host: string; readonly port: number }
  | { readonly kind: "unix"; readonly path: string };

/** In which step of a connection's life an error happened. */
export type NetworkPhase = "resolve" | "connect" | "tls" | "open" | "listen";

/** What the network says went wrong. `code` is the system's own (`ECONNREFUSED`, `ENOTFOUND`, `CERT_HAS_EXPIRED` ...). */
export interface NetworkError {
  readonly phase: NetworkPhase;
  readonly code: string;
  readonly text: string;
  readonly cause?: unknown;
}

/** TLS for a client. Contents, not file names: reading files is the caller's. PEM text. */
export interface ClientTlsOptions {
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
  /** The name to prove and to send as SNI; default the host. */
  readonly serverName: string | undefined;
}

/** TLS for a listener. PEM text. */
export interface ServerTlsOptions {
  readonly cert: string;
  readonly key: string;
  readonly clientCa: string | undefined;
  /** Whether a client must ("require"), may ("request") or need not ("none") prove who it is. */
  readonly clientCert: "require" | "request" | "none";
}

/** What the TLS handshake proved. */
export interface TlsFacts {
  readonly protocol: string;
  /** The negotiated ALPN protocol, or undefined if none was. */
  readonly alpn: string | undefined;
  /** Names in the peer's verified certificate: URI and DNS subject alternative names, or `CN=name` if it has none; empty without a certificate. */
  readonly identities: readonly string[];
}

/** What a socket tells its owner. Calls never nest: none is made from inside a method of {@link Socket}. */
export interface SocketEvents {
  /** Connected, TLS handshake done. Not called for accepted sockets: those are open when handed over. */
  opened(): void;
  /** Bytes arrived. The chunk is valid until this call returns, and then gone: what is kept must be copied. */
  data(bytes: Buffer): void;
  /** All queued bytes have left for the kernel, after `queuedBytes` was not 0. */
  drained(): void;
  /** The peer sends no more. */
  ended(): void;
  /** The last event, exactly once. `error` is undefined after an orderly close. */
  closed(error: NetworkError | undefined): void;
}

/** One byte stream. Methods on a closed socket do nothing. */
export interface Socket {
  /** Queues bytes, which the socket owns from then on. Before `opened` they wait. */
  write(bytes: Buffer): void;
  /**
   * Queues several chunks in order as one write. `spent`: buffers, each alone in its memory, of which these chunks hold the last; once they
   * have left for the kernel, that memory may be given back at once, for nobody reads it any more.
   */
  writeAll(chunks: readonly Buffer[], spent?: readonly Buffer[]): void;
  /** Bytes queued and not yet taken by the kernel. */
  readonly queuedBytes: number;
  /** Stops reading, so that the peer feels it. */
  pause(): void;
  resume(): void;
  /** Sends what is queued, then the end of the stream. */
  end(): void;
  /** Cuts at once; what is queued is lost. `closed` follows. */
  destroy(): void;
  /**
   * Breaks the stream: like `destroy`, and the other side hears ECONNRESET, as it does when a process is gone. Where a stream knows no
   * reset (TLS, Unix, one that still connects) it is `destroy`. Absent where there is no kernel between the two sides.
   */
  reset?(): void;
  readonly localAddress: string;
  /** `host:port` of the other side, or the Unix path. */
  readonly remoteAddress: string;
  readonly tls: TlsFacts | undefined;
}

export interface Listener {
  /** Where it listens, with the port the system chose if 0 was asked for. */
  readonly address: SocketAddress;
  /**
   * Accepts who had connected before, then no more; accepted sockets live on. Resolves when the address is free. Who connects in the same
   * instant may be refused or reset.
   */
  close(): Promise<void>;
}

export interface ListenRequest {
  readonly address: SocketAddress;
  /**
   * Others may listen on this port too, if they say so as well (SO_REUSEPORT): each connection goes to one of them. Default false. Unix
   * paths and systems without it refuse.
   */
  readonly isPortShared?: boolean | undefined;
  readonly tls: ServerTlsOptions | undefined;
  /** ALPN protocols offered, most wanted first. */
  readonly alpn: readonly string[];
  /** TLS handshakes that take longer are cut. */
  readonly handshakeTimeoutMs: number;
  /**
   * Whether one more is wanted, asked as soon as it has come and before its TLS handshake, with the number of handshakes under way. If not, it
   * is cut. Default all are; a network without the step in between need not ask.
   */
  hasRoom?(opening: number): boolean;
  /** A socket was accepted (and its TLS handshake done): gives back who listens to it. It may destroy the socket at once. */
  accept(socket: Socket): SocketEvents;
  /** Accepting one failed (for instance no descriptors left); the listener goes on. */
  failed(error: NetworkError): void;
}

/** How to connect. */
export interface ConnectOptions {
  /** Undefined: plaintext. */
  readonly tls: ClientTlsOptions | undefined;
  /** ALPN protocols offered, most wanted first. */
  readonly alpn: readonly string[];
  /**
   * The name that the address was resolved from: in TLS it is what the peer must prove and what SNI says, unless `serverName` says
   * otherwise. Default the address's own host.
   */
  readonly name?: string | undefined;
}

/** What a name resolves to: at least one address literal, or why there is none (phase `resolve`). */
export type ResolveResult = { readonly addresses: readonly string[] } | { readonly error: NetworkError };

export interface Network {
  /** Begins to connect; never throws for what the network does, it says so by `closed`. */
  connect(address: SocketAddress, options: ConnectOptions, events: SocketEvents): Socket;
  /**
   * The addresses of a name, IPv6 and IPv4 mixed, in the order in which the system would dial them (RFC 6724). An address
   * literal resolves to itself, without being looked up. Never throws and never rejects: `done` is called once, not from inside
   * this call, unless the function that is given back was called before. A look-up that hangs is not ended by us: who waits
   * bounds the wait and cancels.
   */
  resolve(host: string, done: (result: ResolveResult) => void): () => void;
  /** Rejects with an Error whose `cause` is a {@link NetworkError} if it cannot listen. */
  listen(request: ListenRequest): Promise<Listener>;
}
