import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Network, Socket } from "../../world/network.ts";
import { connectRacing } from "./happy-eyeballs.ts";
import { assertDoesNothing, PLAIN, RaceRig, SHOP } from "./testdata/race-rig.ts";

describe("destroying a race", () => {
  const moments: readonly (readonly [when: string, waitMs: number, dials: number])[] = [
    ["at once", 0, 0],
    ["while the name is looked up", 0.5, 0],
    ["while the first address is dialled", 100, 1],
    ["in the moment in which the second is dialled", 251, 2],
    ["while three are dialled and a timer waits", 600, 3],
    ["after the last was dialled", 5_000, 4],
  ];
  for (const [when, waitMs, dials] of moments) {
    it(`leaves nothing behind, ${when}`, async () => {
      const rig = new RaceRig();
      const addresses = ["10.9.0.1", "10.9.0.2", "10.9.0.3", "10.9.0.4"];
      for (const each of addresses) rig.names.place(each, "black-hole");
      const socket = rig.race(addresses);
      if (waitMs > 0) await rig.advance(waitMs);
      rig.owner.during(() => {
        socket.destroy();
        socket.destroy();
      });
      assert.equal(rig.ledger.timers.size + rig.ledger.questions.size, 0, "at once, not only in the end");
      await rig.closed();
      await rig.advance(200_000);
      assert.deepEqual(rig.owner.happenings, ["closed"]);
      assert.equal(rig.owner.error, undefined);
      assert.equal(rig.owner.wasNested, false);
      assert.equal(rig.ledger.dials.length, dials);
      await rig.assertQuiet(0);
      assertDoesNothing(rig, socket);
    });
  }

  it("bounds a name server that never answers, as the owner's timeout does", async () => {
    const rig = new RaceRig();
    rig.names.silence("shop.test");
    const socket = rig.race([]);
    rig.simulation.host("client").timers.schedule(10_000, () => socket.destroy());
    await rig.closed();
    assert.ok(rig.simulation.nowMs >= 10_000 && rig.simulation.nowMs < 10_001);
    assert.equal(rig.owner.error, undefined);
    await rig.assertQuiet(0);
  });

  it("holds against a name server that answers afterwards, because it cannot be stopped", async () => {
    for (const answer of ["addresses", "error"] as const) {
      const rig = new RaceRig();
      await rig.serve("10.9.0.1");
      if (answer === "addresses") rig.names.set("shop.test", ["10.9.0.1", "10.9.0.2"]);
      const { world } = rig.ledger;
      const network: Network = {
        ...world.network,
        resolve: (host, done) => {
          world.network.resolve(host, done);
          return () => undefined;
        },
      };
      connectRacing({ ...world, network }, SHOP, PLAIN, rig.owner).destroy();
      await rig.advance(10);
      assert.deepEqual(rig.owner.happenings, ["closed"]);
      assert.equal(rig.owner.error, undefined);
      assert.equal(rig.ledger.dials.length, 0);
    }
  });

  it("is no race any more once it is won: the winner is cut, and closed comes once", async () => {
    const rig = new RaceRig();
    const server = await rig.serve("10.9.0.1");
    const socket = rig.race(["10.9.0.1", "10.9.0.2"]);
    await rig.opened();
    server.socket?.write(Buffer.from("on the way"));
    rig.owner.during(() => socket.destroy());
    await rig.closed();
    await rig.advance(1000);
    assert.deepEqual(rig.owner.happenings, ["opened", "closed"]);
    assert.equal(rig.owner.error, undefined);
    assert.equal(rig.owner.wasNested, false);
    await rig.assertQuiet(0);
    assertDoesNothing(rig, socket);
  });

  it("from inside opened tells nothing but closed afterwards", async () => {
    const rig = new RaceRig({ opened: () => socket.destroy() });
    await rig.serve("10.9.0.1");
    const socket: Socket = rig.race(["10.9.0.1", "10.9.0.2"]);
    socket.write(Buffer.from("early"));
    await rig.closed();
    await rig.advance(1000);
    assert.deepEqual(rig.owner.happenings, ["opened", "closed"]);
    await rig.assertQuiet(0);
  });
});

describe("what is asked of a race before it is won", () => {
  it("is written first, before what is written in opened, and counted until it has left", async () => {
    const rig = new RaceRig({ opened: () => socket.write(Buffer.from("3")) });
    const server = await rig.serve("10.9.0.1");
    const socket: Socket = rig.race(["10.9.0.1"]);
    rig.owner.during(() => {
      socket.write(Buffer.from("0"));
      socket.write(Buffer.alloc(0));
      socket.writeAll([Buffer.from("1"), Buffer.from("2")]);
    });
    assert.equal(socket.queuedBytes, 3);
    await rig.simulation.settle(server.until(() => server.receivedBytes === 4));
    assert.equal(String(server.bytes), "0123");
    assert.equal(socket.queuedBytes, 0);
    assert.equal(rig.owner.count("drained"), 1);
    assert.equal(rig.owner.wasNested, false);
    server.socket?.end();
    await rig.simulation.settle(rig.owner.saw("ended"));
    socket.end();
    await rig.closed();
    assert.deepEqual(rig.owner.happenings, ["opened", "drained", "ended", "closed"]);
    assert.equal(rig.owner.error, undefined);
  });

  it("is more than the winner can take at once: drained comes once, when all has left", async () => {
    const rig = new RaceRig();
    const server = await rig.serve("10.9.0.1");
    const socket = rig.race(["10.9.0.1"]);
    const chunk = Buffer.alloc(1024 * 1024, 7);
    for (let count = 0; count < 4; count++) socket.write(Buffer.from(chunk));
    assert.equal(socket.queuedBytes, 4 * chunk.length);
    await rig.opened();
    assert.equal(rig.owner.count("drained"), 0);
    await rig.simulation.settle(server.until(() => server.receivedBytes === 4 * chunk.length));
    await rig.advance(1000);
    assert.equal(rig.owner.count("drained"), 1);
  });

  it("was taken, while the owner has queued more in opened: drained comes when that has left too", async () => {
    const queuedBytes: number[] = [];
    const rig = new RaceRig({
      opened: () => socket.write(Buffer.alloc(1024 * 1024, 7)),
      drained: () => queuedBytes.push(socket.queuedBytes),
    });
    const server = await rig.serve("10.9.0.1");
    const socket: Socket = rig.race(["10.9.0.1"]);
    socket.write(Buffer.from("early"));
    await rig.opened();
    await rig.advance(0);
    assert.ok(socket.queuedBytes > 0);
    await rig.simulation.settle(server.until(() => server.receivedBytes === 1024 * 1024 + 5));
    await rig.advance(1000);
    assert.deepEqual(queuedBytes, [0]);
  });

  it("is a pause, which holds until resume, and a resume, which lifts it", async () => {
    const rig = new RaceRig();
    const server = await rig.serve("10.9.0.1");
    const socket = rig.race(["10.9.0.1"]);
    socket.pause();
    await rig.opened();
    await rig.advance(10);
    server.socket?.write(Buffer.from("hello"));
    await rig.advance(1000);
    assert.equal(rig.owner.receivedBytes, 0);
    rig.owner.during(() => socket.resume());
    await rig.simulation.settle(rig.owner.saw("data"));
    assert.equal(rig.owner.wasNested, false);

    const lifted = new RaceRig();
    const other = await lifted.serve("10.9.0.1");
    const again = lifted.race(["10.9.0.1"]);
    again.pause();
    again.resume();
    await lifted.opened();
    await lifted.advance(10);
    other.socket?.write(Buffer.from("hello"));
    await lifted.simulation.settle(lifted.owner.saw("data"));
    assert.equal(String(lifted.owner.bytes), "hello");
  });

  it("is an end, which comes after the bytes before it; those after it are not sent", async () => {
    const rig = new RaceRig();
    const server = await rig.serve("10.9.0.1");
    const socket = rig.race(["10.9.0.1"]);
    socket.write(Buffer.from("all"));
    socket.end();
    socket.write(Buffer.from(" and more"));
    await rig.simulation.settle(server.saw("ended"));
    assert.equal(String(server.bytes), "all");
    assert.deepEqual(rig.owner.happenings.slice(0, 1), ["opened"]);
  });
});

describe("an owner that throws", () => {
  for (const what of ["opened", "data", "drained", "ended"] as const) {
    it(`in ${what} loses its socket, and closed carries what was thrown`, async () => {
      const cause = new Error("a defect");
      const rig = new RaceRig({
        [what]: () => {
          throw cause;
        },
      });
      const server = await rig.serve("10.9.0.1");
      rig.race(["10.9.0.1", "10.9.0.2"]).write(Buffer.from("x"));
      await rig.opened();
      await rig.advance(10);
      server.socket?.write(Buffer.from("y"));
      server.socket?.end();
      await rig.closed();
      await rig.advance(1000);
      assert.equal(rig.owner.error?.code, "HANDLER_THREW");
      assert.equal(rig.owner.error?.phase, "open");
      assert.equal(rig.owner.error?.cause, cause);
      assert.match(rig.owner.error?.text ?? "", /^10\.9\.0\.1:80: the socket's owner threw: a defect$/);
      assert.equal(rig.owner.count("closed"), 1);
      assert.equal(rig.owner.happenings.at(-1), "closed");
      await rig.assertQuiet(0);
    });
  }
});
