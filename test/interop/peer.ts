/**
 * One way to speak to any implementation of gRPC: a plan of a call goes in, what came back comes out, both as plain
 * data. Each peer has one adapter to it (test/peers), and the suites here run the same claims over any pair.
 */
import type { DescMethod, MessageInitShape, MessageShape } from "@bufbuild/protobuf";

/** Fields in order; a name may stand several times; `-bin` names hold bytes. */
export type Fields = readonly (readonly [name: string, value: string | Uint8Array])[];

export interface CallPlan<M extends DescMethod = DescMethod> {
  readonly method: M;
  /** Exactly one where the method takes one. */
  readonly requests: readonly MessageInitShape<M["input"]>[];
  readonly metadata?: Fields | undefined;
  /** Default: no deadline. */
  readonly timeoutMs?: number | undefined;
  /** Sends the next request, and ends the stream, only when a reply to the last has come. */
  readonly isLockstep?: boolean | undefined;
  /** Waits so long before each request of a stream. */
  readonly requestDelayMs?: number | undefined;
  /** Told when all requests are under way: given to the call, its end not yet said. */
  readonly onAllSent?: (() => void) | undefined;
  /** Does not end the request stream after the last request: the call is going to be cancelled. */
  readonly keepsOpen?: boolean | undefined;
  /** Cancels when so many replies have come. */
  readonly cancelAfterReplies?: number | undefined;
  /** Cancels when it resolves. */
  readonly cancelWhen?: Promise<unknown> | undefined;
  /** Compresses requests with gzip. */
  readonly isCompressed?: boolean | undefined;
}

export interface CallOutcome<M extends DescMethod = DescMethod> {
  readonly replies: readonly MessageShape<M["output"]>[];
  readonly header: Fields;
  readonly trailer: Fields;
  /** gRPC's number; 0 is OK. */
  readonly code: number;
  readonly text: string;
  readonly details: readonly { readonly typeUrl: string; readonly value: Uint8Array }[];
}

export interface PeerClient {
  /** Resolves for calls that fail too. */
  call<M extends DescMethod>(plan: CallPlan<M>): Promise<CallOutcome<M>>;
  close(): Promise<void>;
}
export interface PeerServer {
  readonly port: number;
  close(): Promise<void>;
}

/** Names of files in PEM. */
export interface TlsFiles {
  readonly caFile: string;
  readonly certFile: string;
  readonly keyFile: string;
}
/** A client may have no certificate. */
export type ClientTlsFiles = Pick<TlsFiles, "caFile"> & Partial<TlsFiles>;
export interface PeerServerOptions {
  readonly tls?: TlsFiles | undefined;
  /** Compresses its replies with gzip, where it can and the client takes it. */
  readonly isCompressed?: boolean | undefined;
}
export interface PeerClientOptions {
  /** Default "localhost". */
  readonly host?: string | undefined;
  readonly port: number;
  /** Of a reply. Default what the peer has, 4 MiB. */
  readonly messageBytesMax?: number | undefined;
  readonly tls?: ClientTlsFiles | undefined;
}

export interface PeerTraits {
  readonly name: string;
  /** Sends several values of a `-bin` name as one field, joined by a comma and a space. */
  readonly joinsBytes?: boolean | undefined;
  /** Takes such a field for a broken connection. */
  readonly refusesJoinedBytes?: boolean | undefined;
  /**
   * Loses replies when several calls at once run over TLS, whatever the server (connect-node 2.2 on Node 24 loses a third of
   * 90 with grpc-go's): its calls over TLS are made one after the other.
   */
  readonly losesRepliesOverTls?: boolean | undefined;
}
export interface CallingPeer extends PeerTraits {
  createClient(options: PeerClientOptions): Promise<PeerClient>;
}
export interface ServingPeer extends PeerTraits {
  /** Serves the probe (holdfast.interop.v1.Probe). */
  startServer(options: PeerServerOptions): Promise<PeerServer>;
}

/** All values of a name, in order. */
export function valuesOf(fields: Fields, name: string): readonly (string | Uint8Array)[] {
  return fields.filter(([key]) => key === name).map(([, value]) => value);
}

/** `/shop.v1.Orders/Place` */
export function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}
