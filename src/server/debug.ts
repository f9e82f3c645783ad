/**
 * grpc.channelz.v1.Channelz (gRFC A14): what operators' tools ask a running process. Off unless asked for, and on loopback doors only: it names
 * whoever is connected. Whatever is asked is worked out then; a server that is not asked keeps nothing for it.
 */
import type { MessageInitShape as Init } from "@bufbuild/protobuf";
import { timestampFromMs as timestampFromWholeMs, type Timestamp } from "@bufbuild/protobuf/wkt";
import { RpcError } from "../call/error.ts";
import {
  ChannelConnectivityState_State as State,
  Channelz,
  type ChannelDataSchema,
  type ChannelSchema,
  type GetChannelRequest,
  type GetChannelResponseSchema,
  type GetServerSocketsRequest,
  type GetServerSocketsResponseSchema,
  type GetServersRequest,
  type GetServersResponseSchema,
  type GetSocketRequest,
  type GetSocketResponseSchema,
  type GetSubchannelRequest,
  type GetSubchannelResponseSchema,
  type GetTopChannelsRequest,
  type GetTopChannelsResponseSchema,
  type ServerSchema,
  type SocketDataSchema,
  type SocketSchema,
  type SubchannelSchema,
} from "../schema/gen/grpc/channelz/v1/channelz_pb.ts";
import type { BuiltIn } from "./built-ins.ts";
import { debugAddress } from "./debug-address.ts";
import type {
  DebugCalls,
  DebugChannel,
  DebugChannelState,
  DebugPeer,
  DebugServer,
  DebugSocket,
  DebugSource,
} from "./debug-source.ts";

/** Items of a page where the caller names no number, and at most. */
const PAGE_ITEMS = 100;
const PAGE_ITEMS_MAX = 1_000;

const STATES: Readonly<Record<DebugChannelState, State>> = {
  idle: State.IDLE,
  connecting: State.CONNECTING,
  ready: State.READY,
  failed: State.TRANSIENT_FAILURE,
  closed: State.SHUTDOWN,
};

/** The service to add: on doors that only this machine can reach, whatever else is asked for. */
export function debugBuiltIn(source: DebugSource): BuiltIn {
  return { contract: Channelz, handlers: new DebugService(source), isLocalOnly: true };
}

/** The handlers of the contract `Channelz`. */
export class DebugService {
  readonly #source: DebugSource;

  constructor(source: DebugSource) {
    this.#source = source;
  }

  getServers(request: GetServersRequest): Init<typeof GetServersResponseSchema> {
    const { items, end } = pageOf(this.#source.servers(), request.startServerId, request.maxResults);
    return { server: items.map(serverOf), end };
  }

  getServerSockets(request: GetServerSocketsRequest): Init<typeof GetServerSocketsResponseSchema> {
    const server = find(this.#source.servers(), request.serverId, "server");
    const own = this.#source.sockets().filter(({ serverId }) => serverId === server.id);
    const { items, end } = pageOf(own, request.startSocketId, request.maxResults);
    return { socketRef: items.map(socketRef), end };
  }

  /** A connection, or a door. */
  getSocket({ socketId }: GetSocketRequest): Init<typeof GetSocketResponseSchema> {
    const doors = this.#source.servers().flatMap((server) => server.doors);
    const door = doors.find(({ id }) => BigInt(id) === socketId);
    if (door !== undefined) return { socket: doorOf(door) };
    return { socket: socketOf(find(this.#source.sockets(), socketId, "socket")) };
  }

  getTopChannels(request: GetTopChannelsRequest): Init<typeof GetTopChannelsResponseSchema> {
    const { items, end } = pageOf(this.#source.channels(), request.startChannelId, request.maxResults);
    return { channel: items.map(channelOf), end };
  }

  getChannel({ channelId }: GetChannelRequest): Init<typeof GetChannelResponseSchema> {
    return { channel: channelOf(find(this.#source.channels(), channelId, "channel")) };
  }

  getSubchannel({ subchannelId }: GetSubchannelRequest): Init<typeof GetSubchannelResponseSchema> {
    const peers = this.#source.channels().flatMap((channel) => channel.peers);
    return { subchannel: subchannelOf(find(peers, subchannelId, "subchannel")) };
  }
}

/** One page, by ascending id. INVALID_ARGUMENT for a number of items below zero. */
function pageOf<T extends { readonly id: number }>(
  all: readonly T[],
  start: bigint,
  asked: bigint,
): { readonly items: readonly T[]; readonly end: boolean } {
  if (asked < 0n) throw new RpcError("INVALID_ARGUMENT", `max_results must be 0 or more, got ${asked}`);
  const count = asked === 0n ? PAGE_ITEMS : asked > PAGE_ITEMS_MAX ? PAGE_ITEMS_MAX : Number(asked);
  const rest = all.filter(({ id }) => BigInt(id) >= start).sort((a, b) => a.id - b.id);
  return { items: rest.slice(0, count), end: rest.length <= count };
}

function find<T extends { readonly id: number }>(all: readonly T[], wanted: bigint, what: string): T {
  const found = all.find(({ id }) => BigInt(id) === wanted);
  if (found === undefined) throw new RpcError("NOT_FOUND", `there is no ${what} ${wanted}`);
  return found;
}

function serverOf(server: DebugServer): Init<typeof ServerSchema> {
  const ref = { serverId: BigInt(server.id), name: server.name };
  return { ref, data: callsOf(server), listenSocket: server.doors.map(doorRef) };
}

function channelOf(channel: DebugChannel): Init<typeof ChannelSchema> {
  return {
    ref: { channelId: BigInt(channel.id), name: channel.target },
    data: channelData(channel, channel.target),
    subchannelRef: channel.peers.map(subchannelRef),
  };
}

function subchannelOf(peer: DebugPeer): Init<typeof SubchannelSchema> {
  const sockets = peer.socketIds.map((id) => ({ socketId: BigInt(id) }));
  return { ref: subchannelRef(peer), data: channelData(peer, peer.address), socketRef: sockets };
}

function channelData(
  channel: DebugCalls & { readonly state: DebugChannelState },
  target: string,
): Init<typeof ChannelDataSchema> {
  return { ...callsOf(channel), state: { state: STATES[channel.state] }, target };
}

/** What servers, channels and peers have in common. */
interface Calls {
  callsStarted: bigint;
  callsSucceeded: bigint;
  callsFailed: bigint;
  lastCallStartedTimestamp?: Timestamp;
}

function callsOf({ started, succeeded, failed, lastAtMs }: DebugCalls): Calls {
  return {
    callsStarted: BigInt(started),
    callsSucceeded: BigInt(succeeded),
    callsFailed: BigInt(failed),
    ...(lastAtMs === undefined ? {} : { lastCallStartedTimestamp: timestampFromMs(lastAtMs) }),
  };
}

function socketOf(socket: DebugSocket): Init<typeof SocketSchema> {
  const local = debugAddress(socket.localAddress);
  const remote = debugAddress(socket.remoteAddress);
  return {
    ref: socketRef(socket),
    data: socketData(socket),
    ...(local === undefined ? {} : { local }),
    ...(remote === undefined ? {} : { remote }),
    // Of TLS, channelz wants the cipher suite and the certificates; the protocol is what is known here.
    ...(socket.tls === undefined ? {} : { security: { model: { case: "other", value: { name: socket.tls } } } }),
  };
}

function socketData(socket: DebugSocket): Init<typeof SocketDataSchema> {
  const { receivedAtMs, sendWindowBytes, receiveWindowBytes } = socket;
  return {
    streamsStarted: BigInt(socket.streamsStarted),
    streamsSucceeded: BigInt(socket.streamsSucceeded),
    streamsFailed: BigInt(socket.streamsFailed),
    messagesSent: BigInt(socket.messagesSent ?? 0),
    messagesReceived: BigInt(socket.messagesReceived ?? 0),
    keepAlivesSent: BigInt(socket.pingsSent ?? 0),
    ...(receivedAtMs === undefined ? {} : { lastMessageReceivedTimestamp: timestampFromMs(receivedAtMs) }),
    ...(sendWindowBytes === undefined ? {} : { localFlowControlWindow: BigInt(sendWindowBytes) }),
    ...(receiveWindowBytes === undefined ? {} : { remoteFlowControlWindow: BigInt(receiveWindowBytes) }),
  };
}

function doorOf(door: { readonly id: number; readonly address: string }): Init<typeof SocketSchema> {
  const local = debugAddress(door.address);
  return { ref: doorRef(door), data: {}, ...(local === undefined ? {} : { local }) };
}

function doorRef(door: { readonly id: number; readonly address: string }): { socketId: bigint; name: string } {
  return { socketId: BigInt(door.id), name: door.address };
}

function socketRef({ id, remoteAddress }: DebugSocket): { socketId: bigint; name: string } {
  return { socketId: BigInt(id), name: remoteAddress };
}

function subchannelRef({ id, address }: DebugPeer): { subchannelId: bigint; name: string } {
  return { subchannelId: BigInt(id), name: address };
}

/** A moment in milliseconds may have a fraction; protobuf-es makes nanoseconds with one of it, which cannot be encoded. */
function timestampFromMs(ms: number): Timestamp {
  return timestampFromWholeMs(Math.round(ms));
}
