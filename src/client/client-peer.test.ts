import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { turns } from "../../test/calls/gate.ts";
import { manualWorld } from "../../test/calls/manual-world.ts";
import { failureOf, Probe } from "../../test/simulation/probe-cluster.ts";
import type { Socket, SocketEvents } from "../world/network.ts";
import type { HoldfastChannel } from "./channel.ts";
import { createChannel } from "./channel.ts";

const SETTINGS = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);
/** Last id 2^31 - 1, NO_ERROR. */
const GOAWAY = Buffer.from([0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]);

/** The peer's end of a connection on which it says what the test says, and nothing else. */
class Silent implements Socket {
  readonly queuedBytes = 0;
  readonly localAddress = "here";
  readonly remoteAddress = "there";
  readonly tls = undefined;
  readonly events: SocketEvents;
  isClosed = false;

  constructor(events: SocketEvents) {
    this.events = events;
  }
  accept(): void {
    this.events.opened();
    this.events.data(SETTINGS);
  }
  write(): void {}
  writeAll(): void {}
  pause(): void {}
  resume(): void {}
  end(): void {}
  destroy(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.events.closed({ phase: "connect", code: "ECONNRESET", text: "reset" });
  }
}

/** A channel with one peer whose every dial the test answers. */
function open() {
  const world = manualWorld();
  const dialled: Silent[] = [];
  const dial = (events: SocketEvents): Socket => {
    const socket = new Silent(events);
    dialled.push(socket);
    return socket;
  };
  const channel = createChannel("127.0.0.1:1", { world }) as HoldfastChannel;
  const facts = { zone: undefined, version: undefined, weight: 1, tier: 0, authority: "a", dial };
  channel.core.setPeers([{ id: "a", address: "a:1", ...facts }]);
  return { world, channel, dialled, health: () => channel.peers()[0]?.health };
}

describe("a peer", () => {
  it("is no suspect for the silence of a connection that drains, while another takes its calls", async () => {
    const { world, channel, dialled, health } = open();
    const call = failureOf(channel.client(Probe).unary({}, { timeoutMs: 60_000, policy: { retry: false } }));
    dialled[0]?.accept();
    await turns(2);
    dialled[0]?.events.data(GOAWAY);
    await turns(2);
    for (let ms = 0; dialled.length < 2; ms += 100) {
      assert.ok(ms < 3_000);
      world.advance(100);
      dialled[0]?.events.data(SETTINGS);
    }
    dialled[1]?.accept();
    const suspected: unknown[] = [];
    channel.on("suspected", (event) => suspected.push(event));
    for (let ms = 0; ms < 20_000 && suspected.length === 0; ms += 10) world.advance(10);
    assert.equal(suspected.length, 1, "the silence is seen, and asked about");
    assert.equal(health(), "ready");
    void channel.close({ timeoutMs: 0 });
    await call;
  });

  it("is a suspect when the connection that was not silent has ended, or drains", async () => {
    for (const ends of [(socket: Silent) => socket.destroy(), (socket: Silent) => socket.events.data(GOAWAY)]) {
      const { world, channel, dialled, health } = open();
      const client = channel.client(Probe);
      const calls = Array.from({ length: 90 }, () => failureOf(client.unary({}, { timeoutMs: 60_000 })));
      dialled[0]?.accept();
      await turns(2);
      dialled[1]?.accept();
      assert.equal(channel.core.peers[0]?.link.connections.length, 2);
      const suspected: unknown[] = [];
      channel.on("suspected", (event) => suspected.push(event));
      for (let ms = 0; ms < 20_000 && suspected.length === 0; ms += 10) world.advance(10);
      assert.equal(health(), "ready");
      ends(dialled[1] as Silent);
      assert.equal(health(), "suspect");
      void channel.close({ timeoutMs: 0 });
      await Promise.all(calls);
    }
  });

  it("is a suspect while every connection that takes calls is silent", async () => {
    const { world, channel, dialled, health } = open();
    const call = failureOf(channel.client(Probe).unary({}, { timeoutMs: 60_000, policy: { retry: false } }));
    dialled[0]?.accept();
    await turns(2);
    for (let ms = 0; ms < 20_000 && health() === "ready"; ms += 10) world.advance(10);
    assert.equal(health(), "suspect");
    void channel.close({ timeoutMs: 0 });
    await call;
  });
});
