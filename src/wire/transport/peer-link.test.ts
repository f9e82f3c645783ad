import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { manualWorld, type ManualWorld } from "../../../test/calls/manual-world.ts";
import type { Socket, SocketEvents } from "../../world/network.ts";
import { DEFAULT_HTTP2_LIMITS } from "../http2/limits.ts";
import type { ClientConnection } from "./client-connection.ts";
import { type LinkOwner, PeerLink } from "./peer-link.ts";
import { runtimeOf } from "./runtime.ts";

const SETTINGS = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);
/** Last id 2^31 - 1, NO_ERROR. */
const GOAWAY = Buffer.from([0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]);

/** The peer's end of one dial, as the test plays it. */
class Dialled implements Socket {
  readonly queuedBytes = 0;
  readonly localAddress = "here";
  readonly remoteAddress = "there";
  readonly tls = undefined;
  readonly events: SocketEvents;
  isClosed = false;

  constructor(events: SocketEvents) {
    this.events = events;
  }
  write(): void {}
  writeAll(): void {}
  pause(): void {}
  resume(): void {}
  end(): void {}
  destroy(): void {
    this.close();
  }
  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.events.closed({ phase: "connect", code: "ECONNREFUSED", text: "refused" });
  }
}

class Owner implements LinkOwner {
  isAnyReady = false;
  get isShort(): boolean {
    return !this.isAnyReady;
  }
  readonly open = new Set<ClientConnection>();
  linkReady(): void {}
  linkLost(): void {}
  linkFailed(): void {}
  linkHasRoom(): void {}
  connectionOpened(connection: ClientConnection): void {
    this.open.add(connection);
  }
  connectionProbed(): void {}
  connectionDraining(): void {}
  connectionEnded(connection: ClientConnection): void {
    this.open.delete(connection);
  }
}

function makeLink(world: ManualWorld): { link: PeerLink; dialled: Dialled[]; owner: Owner } {
  const dialled: Dialled[] = [];
  const owner = new Owner();
  const dial = (events: SocketEvents): Socket => {
    const socket = new Dialled(events);
    dialled.push(socket);
    return socket;
  };
  const link = new PeerLink(runtimeOf(world), "peer:1", dial, owner, {
    connectTimeoutMs: 1_000,
    keepaliveMs: Infinity,
    perPeerMax: 3,
    reuseCheckMs: Infinity,
    limits: DEFAULT_HTTP2_LIMITS,
    isTls: false,
  });
  return { link, dialled, owner };
}

/** What must hold whatever has happened: no state is a dead end. */
function check(link: PeerLink, dialled: readonly Dialled[], waiting: number): void {
  const underway = dialled.filter(({ isClosed }) => !isClosed).length;
  assert.equal(link.state === "ready", link.connections.length > 0, `${link.state} with ${link.connections.length}`);
  assert.ok(link.connections.length <= 3);
  assert.ok(
    link.connections.every((connection) => connection.isReady && !connection.isDraining && !connection.isClosed),
  );
  if (link.state === "connecting") assert.ok(underway > 0 && waiting > 0, "a dial is underway, and a timer bounds it");
  if (link.state === "backoff") assert.ok(link.isArmed, "the next dial has its time");
  if (link.state !== "backoff" && link.state !== "connecting") assert.ok(!link.isArmed);
}

type Step = "answer" | "lose" | "goaway" | "pass" | "long" | "grow" | "hurry" | "nobody" | "wanted";

describe("the way to a peer", () => {
  const steps = fc.array(
    fc.record({
      step: fc.constantFrom<Step>("answer", "lose", "goaway", "pass", "long", "grow", "hurry", "nobody", "wanted"),
      which: fc.nat(7),
    }),
    { maxLength: 60 },
  );

  it("never stands in a state that nothing ends, whatever its connections do", () => {
    fc.assert(
      fc.property(steps, (script) => {
        const world = manualWorld();
        const { link, dialled } = makeLink(world);
        link.connect();
        for (const { step, which } of script) {
          const alive = dialled.filter(({ isClosed }) => !isClosed);
          const socket = alive[which % Math.max(1, alive.length)];
          if (step === "answer") {
            socket?.events.opened();
            socket?.events.data(SETTINGS);
          } else if (step === "lose") socket?.close();
          else if (step === "goaway") socket?.events.data(GOAWAY);
          else if (step === "pass") world.advance(50);
          else if (step === "long") world.advance(130_000);
          else if (step === "hurry") link.hurry();
          else if (step === "nobody") link.nobodyReady();
          else if (step === "wanted") link.wanted();
          else for (let i = 0; i < 90; i++) link.take(world.clock.monotonicMs(), false)?.engine.openStream({}, 0);
          check(link, dialled, world.waiting);
        }
        // Whatever it was, a peer that answers again is ready within the longest wait of the backoff.
        for (let i = 0; i < 200 && link.state !== "ready"; i++) {
          for (const each of dialled) {
            if (each.isClosed) continue;
            each.events.opened();
            each.events.data(SETTINGS);
          }
          world.advance(1_000);
        }
        assert.equal(link.state, "ready");
        link.close(false);
        assert.equal(link.state, "closed");
        // A goodbye whose peer does not close is cut a second later.
        world.advance(1_010);
        assert.ok(
          dialled.every(({ isClosed }) => isClosed),
          "a socket is left open",
        );
        assert.equal(link.connectionCount, 0);
      }),
      { numRuns: 300 },
    );
  });

  it("dials at once after a connection that lived, and by backoff from a peer that refuses; new evidence ends the wait", () => {
    const world = manualWorld();
    const { link, dialled } = makeLink(world);
    link.connect();
    dialled[0]?.events.opened();
    dialled[0]?.events.data(SETTINGS);
    world.advance(10_000);
    dialled[0]?.close();
    assert.equal(dialled.length, 2);
    dialled[1]?.close();
    assert.equal(link.state, "backoff");
    const inMs = link.redialAtMs - world.clock.monotonicMs();
    assert.ok(inMs >= 800 && inMs <= 1_200, String(inMs));
    link.hurry();
    assert.equal(dialled.length, 3);
    assert.equal(link.state, "connecting");
  });

  it("waits 2 s at most from the moment on in which no peer is ready, and never longer than it would have", () => {
    const world = manualWorld();
    const { link, dialled, owner } = makeLink(world);
    owner.isAnyReady = true;
    link.connect();
    dialled[0]?.close();
    const firstDueMs = link.redialAtMs;
    link.nobodyReady();
    assert.equal(link.redialAtMs, firstDueMs, "a short wait stays as it is");
    while (link.redialAtMs - world.clock.monotonicMs() < 60_000) {
      world.advance(link.redialAtMs - world.clock.monotonicMs() + 1);
      dialled.at(-1)?.close();
    }
    link.nobodyReady();
    const inMs = link.redialAtMs - world.clock.monotonicMs();
    assert.ok(inMs >= 1_200 && inMs <= 2_000, `${inMs} ms`);
    const dials = dialled.length;
    world.advance(2_010);
    assert.equal(dialled.length, dials + 1);
    link.nobodyReady();
    assert.equal(link.state, "connecting", "what is dialled is left alone");
  });

  it("dials beside a dial that nothing answers twice a second while no peer is ready, and takes the first that is", () => {
    const world = manualWorld();
    const { link, dialled } = makeLink(world);
    const open = (): number => dialled.filter(({ isClosed }) => !isClosed).length;
    link.connect();
    world.advance(390);
    assert.equal(dialled.length, 1);
    world.advance(220);
    assert.equal(dialled.length, 2);
    assert.equal(open(), 2, "the first goes on: an answer may take longer");
    assert.equal(link.connectionCount, 2);
    world.advance(380);
    world.advance(220);
    // The first has had its connect timeout meanwhile, and the next one took its place.
    const last = dialled.at(-1);
    last?.events.opened();
    last?.events.data(SETTINGS);
    assert.equal(link.state, "ready");
    assert.equal(open(), 1, "the others are given up");
    const dials = dialled.length;
    world.advance(10_000);
    assert.equal(dialled.length, dials);
  });

  it("leaves a dial alone that was answered, or that nobody waits for", () => {
    const world = manualWorld();
    const answered = makeLink(world);
    answered.link.connect();
    answered.dialled[0]?.events.opened();
    const unneeded = makeLink(world);
    unneeded.owner.isAnyReady = true;
    unneeded.link.connect();
    world.advance(990);
    assert.equal(answered.dialled.length, 1, "a server at work: another handshake would not hurry it");
    assert.equal(unneeded.dialled.length, 1);
  });

  it("gives the next dial its own time: none begins beside it for what was left of the last one's", () => {
    for (let i = 0; i < 200; i++) {
      const world = manualWorld();
      const { link, dialled } = makeLink(world);
      link.connect();
      dialled[0]?.events.opened();
      for (let ms = 0; dialled.length < 2 && ms < 3_000; ms += 10) world.advance(10);
      assert.equal(dialled.length, 2);
      world.advance(380);
      assert.equal(dialled.length, 2, "half a second, a fifth more or less");
    }
  });

  it("waits about half a second at most from the moment on in which it is wanted", () => {
    const world = manualWorld();
    const { link, dialled, owner } = makeLink(world);
    owner.isAnyReady = true;
    link.connect();
    dialled[0]?.close();
    while (link.redialAtMs - world.clock.monotonicMs() < 60_000) {
      world.advance(link.redialAtMs - world.clock.monotonicMs() + 1);
      dialled.at(-1)?.close();
    }
    link.wanted();
    const inMs = link.redialAtMs - world.clock.monotonicMs();
    assert.ok(inMs >= 400 && inMs <= 600, `${inMs} ms`);
    world.advance(100);
    link.wanted();
    assert.ok(link.redialAtMs - world.clock.monotonicMs() <= 500, "to be wanted again puts nothing off");
  });

  it("gives a peer that accepts and says nothing its connect timeout, then goes on (grpc-node#2785)", () => {
    const world = manualWorld();
    const { link, dialled } = makeLink(world);
    link.connect();
    dialled[0]?.events.opened();
    world.advance(1_010);
    assert.equal(dialled[0]?.isClosed, true);
    assert.match(link.failure?.text ?? "", /did not send its HTTP\/2 SETTINGS within 1000 ms/);
    assert.ok(link.state === "backoff" || dialled.length === 2);
  });
});

describe("a peer that says goodbye", () => {
  const opened = (dialled: readonly Dialled[]): Dialled => {
    const socket = dialled.at(-1) as Dialled;
    socket.events.opened();
    socket.events.data(SETTINGS);
    return socket;
  };
  /** How long after a dial the next one follows, if its connection says goodbye after `livedMs`. */
  const gapAfter = (
    world: ManualWorld,
    dialled: readonly Dialled[],
    livedMs: number,
    end: (socket: Dialled) => void,
  ): number => {
    const socket = opened(dialled);
    const before = dialled.length;
    world.advance(livedMs);
    end(socket);
    for (let ms = livedMs; ms < 3_000; ms += 10) {
      if (dialled.length > before) return ms;
      world.advance(10);
    }
    return Infinity;
  };
  const goodbye = (socket: Dialled): void => socket.events.data(GOAWAY);

  it("is dialled again at once, though it had been dialled a moment ago", () => {
    const world = manualWorld();
    const { link, dialled } = makeLink(world);
    link.connect();
    assert.ok(gapAfter(world, dialled, 300, goodbye) <= 310);
    assert.ok(gapAfter(world, dialled, 900, goodbye) <= 910);
  });

  it("again and again, as soon as it is there, is dialled less and less often", () => {
    const world = manualWorld();
    const { link, dialled } = makeLink(world);
    link.connect();
    const gaps = Array.from({ length: 7 }, () => gapAfter(world, dialled, 0, goodbye));
    for (const [i, middle] of [50, 100, 200, 400, 800, 1_000, 1_000].entries()) {
      const gap = gaps[i] ?? 0;
      assert.ok(gap >= middle * 0.79 && gap <= middle * 1.2 + 10, gaps.join(" "));
    }
    world.advance(0);
    assert.ok(gapAfter(world, dialled, 600, goodbye) <= 610, "one that lived begins anew");
  });

  it("is no better off when it is lost without a word afterwards: a second, as ever", () => {
    const world = manualWorld();
    const { link, dialled } = makeLink(world);
    link.connect();
    gapAfter(world, dialled, 0, goodbye);
    const gap = gapAfter(world, dialled, 0, (socket) => socket.close());
    assert.ok(gap >= 790, `${gap} ms`);
  });
});
