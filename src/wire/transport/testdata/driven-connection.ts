/** A server's connection on a socket that a test holds in its hands, with a clock that only the test moves. */
import { type ManualWorld, manualWorld } from "../../../../test/calls/manual-world.ts";
import type { Socket } from "../../../world/network.ts";
import type { FieldSection } from "../../http2/field.ts";
import { DEFAULT_HTTP2_LIMITS, type Http2Limits } from "../../http2/limits.ts";
import type { Http2Stream } from "../../http2/stream.ts";
import { type Frame, clientStart, parseFrames, settingsAck } from "../../http2/testdata/frame-script.ts";
import type { StreamOwner } from "../connection.ts";
import { runtimeOf } from "../runtime.ts";
import { ServerConnection } from "../server-connection.ts";
import type { ServerExchange } from "../server-exchange.ts";

/** A socket that takes everything and says nothing. */
export class HeldSocket implements Socket {
  readonly localAddress = "here";
  readonly remoteAddress = "there";
  readonly tls = undefined;
  /** What the test says is not taken yet. */
  queuedBytes = 0;
  isPaused = false;
  hasEnded = false;
  isDestroyed = false;
  readonly written: Buffer[] = [];

  write(bytes: Buffer): void {
    this.written.push(Buffer.from(bytes));
  }
  writeAll(chunks: readonly Buffer[]): void {
    for (const chunk of chunks) this.write(chunk);
  }
  pause(): void {
    this.isPaused = true;
  }
  resume(): void {
    this.isPaused = false;
  }
  end(): void {
    this.hasEnded = true;
  }
  destroy(): void {
    this.isDestroyed = true;
  }

  /** The frames written since the last time. */
  frames(): Frame[] {
    return parseFrames(Buffer.concat(this.written.splice(0)));
  }
}

export interface DrivenConnection {
  readonly world: ManualWorld;
  readonly socket: HeldSocket;
  readonly connection: ServerConnection;
  /** The streams of calls that arrived, in order; without an owner. */
  readonly streams: Http2Stream[];
  /** How often the owner heard that it is over. */
  readonly closings: number;
  /** Thrown to the connection when the next call arrives. */
  failNext: Error | undefined;
}

/** A connection whose client has sent its preface and SETTINGS, on a world that may be shared. */
export function drivenConnection(
  world: ManualWorld = manualWorld(),
  options: { readonly isSilent?: boolean; readonly limits?: Http2Limits; readonly start?: Buffer } = {},
): DrivenConnection {
  const socket = new HeldSocket();
  const made = { world, socket, streams: [] as Http2Stream[], closings: 0, failNext: undefined as Error | undefined };
  const owner = {
    callArrived(exchange: ServerExchange, _section: FieldSection): void {
      const error = made.failNext;
      made.failNext = undefined;
      if (error !== undefined) throw error;
      exchange.stream.owner = undefined;
      made.streams.push(exchange.stream);
    },
    healthField: undefined,
    connectionClosed(): void {
      made.closings += 1;
    },
  };
  const connection = new ServerConnection(
    runtimeOf(world),
    socket,
    owner,
    options.limits ?? DEFAULT_HTTP2_LIMITS,
    undefined,
  );
  if (options.isSilent !== true) {
    connection.data(options.start ?? clientStart());
    connection.data(settingsAck());
  }
  return Object.assign(made, { connection });
}

/** Notes what a stream's owner is told. */
export function notingOwner(told: string[], onWritable: () => void = () => {}): StreamOwner {
  return {
    onHeaders: () => void told.push("headers"),
    onData: () => void told.push("data"),
    onReset: (_code, _isUnprocessed, text) => void told.push(text),
    onWritable,
  };
}
