import assert from "node:assert/strict";
import { test } from "node:test";
import { createSwitches } from "holdfast/policy";
import { createClient } from "holdfast";
import { createSimulation, type Simulation } from "holdfast/testing";
import {
  CLIENT_PREFACE,
  FLAG_ACK,
  FRAME_GOAWAY,
  FRAME_HEADER_BYTES,
  FRAME_HEADERS,
  FRAME_PING,
  FRAME_SETTINGS,
} from "../../src/wire/http2/frame.ts";
import { type Frame, frame, parseFrames, settings, settingsAck } from "../../src/wire/http2/testdata/frame-script.ts";
import type { Socket, SocketEvents } from "../../src/world/network.ts";
import { failureOf, Probe } from "./probe-cluster.ts";

const ENHANCE_YOUR_CALM = 11;

/** A peer that answers PINGs and no call, and says goodbye on its first connections as soon as a call has begun there. Gives when PINGs came, by connection. */
function listen(simulation: Simulation, goodbyes: readonly (readonly [code: number, debug: string])[]): number[][] {
  const seen: number[][] = [];
  const accept = (socket: Socket): SocketEvents => {
    const goodbye = goodbyes[seen.length];
    const pingsMs: number[] = [];
    seen.push(pingsMs);
    let held: Buffer = Buffer.alloc(0);
    let isBegun = false;
    return {
      opened() {},
      data(bytes) {
        held = Buffer.concat([held, bytes]);
        if (!isBegun) {
          isBegun = true;
          socket.write(settings());
          held = held.subarray(CLIENT_PREFACE.length);
        }
        for (const { type, flags, payload } of wholeFrames(held)) {
          held = held.subarray(FRAME_HEADER_BYTES + payload.length);
          if (type === FRAME_SETTINGS && (flags & FLAG_ACK) === 0) socket.write(settingsAck());
          if (type === FRAME_PING) {
            pingsMs.push(simulation.nowMs);
            socket.write(frame(FRAME_PING, FLAG_ACK, 0, payload));
          }
          if (type === FRAME_HEADERS && goodbye !== undefined) socket.write(goAway(1, ...goodbye));
        }
      },
      drained() {},
      ended: () => socket.end(),
      closed() {},
    };
  };
  simulation.boot("peer", (world) =>
    world.network.listen({
      address: { kind: "tcp", host: "0.0.0.0", port: 1 },
      tls: undefined,
      alpn: [],
      handshakeTimeoutMs: 1000,
      accept,
      failed() {},
    }),
  );
  return seen;
}

/** The frames that have arrived to their end. */
function wholeFrames(bytes: Buffer): Frame[] {
  let end = 0;
  while (end + FRAME_HEADER_BYTES <= bytes.length) {
    const next = end + FRAME_HEADER_BYTES + bytes.readUIntBE(end, 3);
    if (next > bytes.length) break;
    end = next;
  }
  return parseFrames(bytes.subarray(0, end));
}

function goAway(lastId: number, code: number, debug: string): Buffer {
  const payload = Buffer.concat([Buffer.alloc(8), Buffer.from(debug)]);
  payload.writeUInt32BE(lastId, 0);
  payload.writeUInt32BE(code, 4);
  return frame(FRAME_GOAWAY, 0, 0, payload);
}

/** The silence between two PINGs on the connection after the goodbyes. */
async function silenceAfter(goodbyes: readonly (readonly [number, string])[], keepaliveMs?: number): Promise<number> {
  const simulation = createSimulation();
  const seen = listen(simulation, goodbyes);
  await simulation.advance(1);
  const options = keepaliveMs === undefined ? {} : { connections: { keepaliveMs } };
  // Suspicion has PINGs of its own, when a call waits.
  const switches = createSwitches({ states: { suspicion: "off" } });
  const world = simulation.host("client");
  const client = createClient(Probe, "peer:1", { world, plaintext: true, switches, ...options });
  for (const _ of goodbyes) {
    assert.equal((await simulation.settle(failureOf(client.unary({}, { timeoutMs: 5000 })))).reason, "DEADLINE");
  }
  const lost = failureOf(client.unary({}, { timeoutMs: 3_600_000 }));
  await simulation.advance(3_000_000);
  const [firstMs = 0, secondMs = 0] = seen[goodbyes.length] ?? [];
  await simulation.settle(client.$close({ timeoutMs: 0 }));
  assert.equal((await lost).text, "the client was closed");
  return secondMs - firstMs;
}

function assertNear(actual: number, expectedMs: number): void {
  assert.ok(Math.abs(actual - expectedMs) < 10, `PINGs every ${actual} ms, expected ${expectedMs}`);
}

test("a server is pinged after 330 s of silence, and half as often each time it says too_many_pings", async () => {
  assertNear(await silenceAfter([]), 330_000);
  assertNear(await silenceAfter([[ENHANCE_YOUR_CALM, "too_many_pings"]]), 660_000);
  assertNear(
    await silenceAfter([
      [ENHANCE_YOUR_CALM, "too_many_pings"],
      [ENHANCE_YOUR_CALM, "too_many_pings"],
    ]),
    1_320_000,
  );
});

test("another goodbye changes nothing, nor does one under a keepalive that its user chose", async () => {
  assertNear(await silenceAfter([[0, "too_many_pings"]]), 330_000);
  assertNear(await silenceAfter([[ENHANCE_YOUR_CALM, "calm down"]]), 330_000);
  assertNear(await silenceAfter([[ENHANCE_YOUR_CALM, "too_many_pings"]], 20_000), 20_000);
});
