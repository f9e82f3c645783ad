/**
 * A client's network that flips one bit in the payload of its DATA frames, on the way there or back, where a test says, and that may
 * hand on what arrives in small pieces. Client and server run unchanged.
 */
import { CLIENT_PREFACE, FRAME_DATA, FRAME_HEADER_BYTES } from "../../src/wire/http2/frame.ts";
import type { Socket, SocketEvents } from "../../src/world/network.ts";
import type { World } from "../../src/world/world.ts";

/** The payload of one direction's DATA frames, of all connections, counted in bytes since it was last told to do something. */
export class PayloadWay {
  /** Payload bytes that went by. */
  bytes = 0;
  /** Bits that were flipped. */
  flips = 0;
  private bit = -1;

  /** Flips the bit with this number, counted from the next byte of payload on. */
  flip(bit: number): void {
    this.bytes = 0;
    this.flips = 0;
    this.bit = bit;
  }

  /** Changes nothing from now on, and counts. */
  watch(): void {
    this.flip(-1);
  }

  passed(bytes: Buffer, at: number, count: number): void {
    const left = this.bit - this.bytes * 8;
    this.bytes += count;
    if (left < 0 || left >= count * 8) return;
    const place = at + (left >>> 3);
    bytes[place] = (bytes[place] as number) ^ (1 << (left & 7));
    this.flips += 1;
  }
}

export interface DamagedNetwork {
  readonly world: World;
  readonly requests: PayloadWay;
  readonly replies: PayloadWay;
  /** What arrives is handed on in pieces of so many bytes at most. */
  pieceBytesMax: number;
}

export function damagedNetwork(world: World): DamagedNetwork {
  const requests = new PayloadWay();
  const replies = new PayloadWay();
  const { network } = world;
  const connect: World["network"]["connect"] = (address, options, events) => {
    const arriving = new FrameWalk(replies, 0);
    const told: SocketEvents = {
      opened: () => events.opened(),
      drained: () => events.drained(),
      ended: () => events.ended(),
      closed: (error) => events.closed(error),
      data(bytes) {
        arriving.walk(bytes);
        for (let at = 0; at < bytes.length; at += damaged.pieceBytesMax) {
          events.data(bytes.subarray(at, at + damaged.pieceBytesMax));
        }
      },
    };
    return writingThrough(network.connect(address, options, told), new FrameWalk(requests, CLIENT_PREFACE.length));
  };
  const damaged: DamagedNetwork = {
    requests,
    replies,
    pieceBytesMax: Number.MAX_SAFE_INTEGER,
    world: {
      ...world,
      network: {
        connect,
        listen: (request) => network.listen(request),
        resolve: (host, done) => network.resolve(host, done),
      },
    },
  };
  return damaged;
}

function writingThrough(inner: Socket, walk: FrameWalk): Socket {
  const walked = (bytes: Buffer): Buffer => {
    // What is written belongs to the socket, but its slab may be shared.
    const own = Buffer.from(bytes);
    walk.walk(own);
    return own;
  };
  return {
    write: (bytes) => inner.write(walked(bytes)),
    writeAll: (chunks) => inner.writeAll(chunks.map(walked)),
    pause: () => inner.pause(),
    resume: () => inner.resume(),
    end: () => inner.end(),
    destroy: () => inner.destroy(),
    get queuedBytes() {
      return inner.queuedBytes;
    },
    get localAddress() {
      return inner.localAddress;
    },
    get remoteAddress() {
      return inner.remoteAddress;
    },
    get tls() {
      return inner.tls;
    },
  };
}

/** Finds the payload of DATA frames in a stream of bytes. */
class FrameWalk {
  private readonly way: PayloadWay;
  private readonly header = Buffer.alloc(FRAME_HEADER_BYTES);
  private headerBytes = 0;
  private skip: number;
  private payloadLeft = 0;

  constructor(way: PayloadWay, skip: number) {
    this.way = way;
    this.skip = skip;
  }

  walk(bytes: Buffer): void {
    let at = 0;
    while (at < bytes.length) {
      const left = bytes.length - at;
      if (this.skip > 0) {
        const count = Math.min(this.skip, left);
        this.skip -= count;
        at += count;
      } else if (this.payloadLeft > 0) {
        const count = Math.min(this.payloadLeft, left);
        if (this.header[3] === FRAME_DATA) this.way.passed(bytes, at, count);
        this.payloadLeft -= count;
        at += count;
      } else {
        const count = Math.min(FRAME_HEADER_BYTES - this.headerBytes, left);
        bytes.copy(this.header, this.headerBytes, at, at + count);
        this.headerBytes += count;
        at += count;
        if (this.headerBytes < FRAME_HEADER_BYTES) return;
        this.headerBytes = 0;
        this.payloadLeft = this.header.readUIntBE(0, 3);
      }
    }
  }
}
