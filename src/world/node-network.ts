/**
 * The network, done by node:net and node:tls: TCP_NODELAY on, TCP keepalive off (HTTP/2 PING does that work), sockets half-open
 * until their owner ends them. A name is connected as node:net does it, one address after the other; who wants them to race
 * (RFC 8305) asks `resolve` and connects to the addresses.
 */
import { connect, isIP, type LookupFunction, Socket as NetSocket } from "node:net";
import { type ConnectionOptions, connect as connectTls } from "node:tls";
import type { ConnectOptions, Network, SocketAddress, SocketEvents } from "./network.ts";
import { listenOn } from "./node-listener.ts";
import { addressText } from "./node-network-error.ts";
import { createNodeResolve } from "./node-resolve.ts";
import { NodeSocket } from "./node-socket.ts";
import { clientTlsOptions } from "./node-tls.ts";

/** How long node:net gives each address of a name but the last, which it does not cut. */
const ATTEMPT_DELAY_MS = 250;

/** Node's network. `lookup` replaces the system's name resolution. */
export function createNodeNetwork(options: { readonly lookup?: LookupFunction | undefined } = {}): Network {
  const { lookup } = options;
  return {
    connect: (address, options, events) =>
      options.tls === undefined
        ? connectPlain(address, lookup, events)
        : connectWithTls(address, lookup, options.tls, options, events),
    resolve: createNodeResolve(lookup),
    listen: listenOn,
  };
}

function connectPlain(address: SocketAddress, lookup: LookupFunction | undefined, events: SocketEvents): NodeSocket {
  const stream = orFailed(() => connect({ ...placeOf(address, lookup), allowHalfOpen: true, noDelay: true }));
  const socket = new NodeSocket(stream, addressText(address), "connect");
  stream.once("connect", () => {
    if (!cutIfItself(stream, address)) socket.open();
  });
  socket.listen(events);
  return socket;
}

function connectWithTls(
  address: SocketAddress,
  lookup: LookupFunction | undefined,
  tls: NonNullable<ConnectOptions["tls"]>,
  { alpn, name }: ConnectOptions,
  events: SocketEvents,
): NodeSocket {
  const named = name === undefined || address.kind === "unix" ? address : { ...address, host: name };
  const stream = orFailed(() => {
    // node:tls takes allowHalfOpen too (since 13.11); its types do not know.
    const options: ConnectionOptions & { readonly allowHalfOpen: true } = {
      ...placeOf(address, lookup),
      ...clientTlsOptions(tls, alpn, named),
      allowHalfOpen: true,
    };
    return connectTls(options);
  });
  const socket = new NodeSocket(stream, addressText(address), stream.connecting ? "connect" : "tls");
  stream.once("connect", () => {
    if (cutIfItself(stream, address)) return;
    socket.enter("tls");
    stream.setNoDelay(true);
  });
  stream.once("secureConnect", () => socket.open());
  socket.listen(events);
  return socket;
}

/**
 * TCP lets a dial to an ephemeral port of this machine, on which nobody listens, meet itself when the kernel chose that very port
 * for our side (RFC 9293 3.5, simultaneous open). Such a connection would also keep the server from coming back.
 */
function cutIfItself(stream: NetSocket, address: SocketAddress): boolean {
  if (stream.localPort === undefined || stream.localPort !== stream.remotePort) return false;
  if (stream.localAddress !== stream.remoteAddress) return false;
  const error = new Error(`connect ECONNREFUSED ${addressText(address)}: nobody listens, the dial met itself`);
  stream.destroy(Object.assign(error, { code: "ECONNREFUSED" }));
  return true;
}

type Place =
  | { host: string; port: number; autoSelectFamily: false }
  | {
      host: string;
      port: number;
      autoSelectFamily: true;
      autoSelectFamilyAttemptTimeout: number;
      lookup?: LookupFunction;
    }
  | { path: string };

function placeOf(address: SocketAddress, lookup: LookupFunction | undefined): Place {
  if (address.kind === "unix") return { path: address.path };
  const { host, port } = address;
  if (isIP(host) !== 0) return { host, port, autoSelectFamily: false };
  return {
    host,
    port,
    autoSelectFamily: true,
    autoSelectFamilyAttemptTimeout: ATTEMPT_DELAY_MS,
    ...(lookup !== undefined && { lookup }),
  };
}

/** A bad port or PEM text makes Node throw; its owner hears it by `closed`, like everything else. */
function orFailed<S extends NetSocket>(make: () => S): S | NetSocket {
  try {
    return make();
  } catch (error) {
    return new NetSocket().destroy(error instanceof Error ? error : new Error(String(error)));
  }
}
