/**
 * A replica made of frames, for what no server of ours does. It says its SETTINGS, and then what the test says to each request.
 */
import type { Simulation } from "holdfast/testing";
import {
  CLIENT_PREFACE,
  FLAG_ACK,
  FRAME_HEADER_BYTES,
  FRAME_HEADERS,
  FRAME_PING,
  FRAME_SETTINGS,
} from "../../src/wire/http2/frame.ts";
import {
  type Pair,
  data,
  frame,
  headers,
  parseFrames,
  settings,
  settingsAck,
} from "../../src/wire/http2/testdata/frame-script.ts";
import type { Socket, SocketEvents } from "../../src/world/network.ts";

/** One request, on a connection. */
export interface RawRequest {
  readonly id: number;
  /** Of all that came to this replica, from 1. */
  readonly number: number;
  write(...frames: readonly Buffer[]): void;
}

const PORT = 7;
const RESPONSE: readonly Pair[] = [
  [":status", "200"],
  ["content-type", "application/grpc+proto"],
];

/** Starts one on this host; gives back its address. `isMute`: it takes connections, and never says a word. */
export function bootRawReplica(
  simulation: Simulation,
  host: string,
  answer: (request: RawRequest) => void,
  isMute = false,
): string {
  let requests = 0;
  const accept = (socket: Socket): SocketEvents => {
    let held: Buffer = Buffer.alloc(0);
    let isBegun = false;
    return {
      opened() {},
      data(bytes) {
        if (isMute) return;
        held = Buffer.concat([held, bytes]);
        if (!isBegun && held.length >= CLIENT_PREFACE.length) {
          isBegun = true;
          held = held.subarray(CLIENT_PREFACE.length);
          socket.write(settings());
        }
        if (!isBegun) return;
        for (const { type, flags, id, payload } of parseFrames(held)) {
          // The last one may be cut off.
          if (held.length < FRAME_HEADER_BYTES + payload.length) break;
          if (held.readUIntBE(0, 3) !== payload.length) break;
          held = held.subarray(FRAME_HEADER_BYTES + payload.length);
          if ((flags & FLAG_ACK) === 0 && type === FRAME_SETTINGS) socket.write(settingsAck());
          if ((flags & FLAG_ACK) === 0 && type === FRAME_PING) socket.write(frame(FRAME_PING, FLAG_ACK, 0, payload));
          if (type !== FRAME_HEADERS) continue;
          requests += 1;
          answer({ id, number: requests, write: (...frames) => socket.write(Buffer.concat(frames)) });
        }
      },
      drained() {},
      ended: () => socket.end(),
      closed() {},
    };
  };
  simulation.boot(host, (world) =>
    world.network.listen({
      address: { kind: "tcp", host: "0.0.0.0", port: PORT },
      tls: undefined,
      alpn: [],
      handshakeTimeoutMs: 1_000,
      accept,
      failed() {},
    }),
  );
  return `${simulation.address(host)}:${PORT}`;
}

/** A whole good answer: an empty message. */
export function goodAnswer(id: number): Buffer {
  return Buffer.concat([headers(id, RESPONSE), data(id, Buffer.alloc(5)), headers(id, [["grpc-status", "0"]], true)]);
}

/** A failure without headers before it. */
export function failedAnswer(id: number, status: number, ...trailer: readonly Pair[]): Buffer {
  return headers(id, [...RESPONSE, ["grpc-status", String(status)], ...trailer], true);
}
