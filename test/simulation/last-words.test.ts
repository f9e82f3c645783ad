/** What a peer says last comes in one chunk: its goodbye, what it has learned, and the end of the call that it still had. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createClient } from "holdfast";
import { createSimulation, type Simulation } from "holdfast/testing";
import { CLIENT_PREFACE, FLAG_ACK, FRAME_HEADERS, FRAME_SETTINGS } from "../../src/wire/http2/frame.ts";
import { goAway, headers, parseFrames, settings, settingsAck } from "../../src/wire/http2/testdata/frame-script.ts";
import type { Socket, SocketEvents } from "../../src/world/network.ts";
import { failureOf, Probe } from "./probe-cluster.ts";

const refusal = headers(
  1,
  [
    [":status", "200"],
    ["content-type", "application/grpc+proto"],
    ["grpc-status", "9"],
    ["grpc-message", "not now"],
  ],
  true,
);

/** A peer that writes these bytes, in one piece, when the first call has come. */
function listen(simulation: Simulation, lastWords: Buffer): void {
  const accept = (socket: Socket): SocketEvents => {
    let isBegun = false;
    return {
      opened() {},
      data(bytes) {
        const frames = parseFrames(isBegun ? bytes : bytes.subarray(CLIENT_PREFACE.length));
        if (!isBegun) socket.write(settings());
        isBegun = true;
        for (const { type, flags } of frames) {
          if (type === FRAME_SETTINGS && (flags & FLAG_ACK) === 0) socket.write(settingsAck());
          if (type === FRAME_HEADERS) socket.write(lastWords);
        }
      },
      drained() {},
      ended: () => socket.end(),
      closed() {},
    };
  };
  const address = { kind: "tcp", host: "0.0.0.0", port: 1 } as const;
  const request = { address, tls: undefined, alpn: [], handshakeTimeoutMs: 1000, accept, failed() {} };
  simulation.boot("peer", (world) => world.network.listen(request));
}

const orders = {
  "goodbye, settings, answer": [goAway(1), settings(), refusal],
  "settings, goodbye, answer": [settings(), goAway(1), refusal],
  "answer, goodbye, settings": [refusal, goAway(1), settings()],
} as const;

for (const [order, frames] of Object.entries(orders)) {
  test(`the last answer of a connection that drains is heard, whatever comes with it: ${order}`, async () => {
    const simulation = createSimulation({ link: { splitShare: 0 } });
    listen(simulation, Buffer.concat(frames));
    await simulation.advance(1);
    const client = createClient(Probe, "peer:1", { world: simulation.host("client"), plaintext: true });
    const startMs = simulation.nowMs;
    const error = await simulation.settle(failureOf(client.unary({}, { timeoutMs: 5_000 })));
    assert.equal(error.code, "FAILED_PRECONDITION", error.message);
    assert.ok(simulation.nowMs - startMs < 100, `${simulation.nowMs - startMs} ms`);
    await simulation.settle(client.$close({ timeoutMs: 0 }));
  });
}
