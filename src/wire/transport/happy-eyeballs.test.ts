import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { Network, Socket, SocketAddress } from "../../world/network.ts";
import { connectRacing, dialOrder } from "./happy-eyeballs.ts";
import { assertDoesNothing, clientTls, PLAIN, RaceRig, serverTls, SHOP } from "./testdata/race-rig.ts";

describe("the order of dials", () => {
  const address = fc.oneof(
    fc.nat(12).map((n) => `10.0.0.${n}`),
    fc.nat(12).map((n) => `fd00::${n}`),
  );
  const isV6 = (each: string): boolean => each.includes(":");

  it("takes turns between the families while both last, beginning with that of the first", () => {
    fc.assert(
      fc.property(fc.array(address, { maxLength: 30 }), (addresses) => {
        const order = dialOrder(addresses);
        const distinct = [...new Set(addresses)];
        assert.equal(order.length, Math.min(8, distinct.length));
        assert.equal(new Set(order).size, order.length, "none twice");
        assert.ok(order.every((each) => distinct.includes(each)));
        assert.equal(order[0], addresses[0]);
        for (const family of [true, false]) {
          const inOrder = distinct.filter((each) => isV6(each) === family);
          const taken = order.filter((each) => isV6(each) === family);
          assert.deepEqual(taken, inOrder.slice(0, taken.length), "within a family as the resolver has it");
        }
        const scarce = Math.min(distinct.filter(isV6).length, distinct.filter((each) => !isV6(each)).length);
        for (let at = 1; at < Math.min(2 * scarce, order.length); at++) {
          assert.notEqual(isV6(order[at] ?? ""), isV6(order[at - 1] ?? ""), order.join());
        }
      }),
    );
  });

  it("reaches the other family among the first eight, however many come before it", () => {
    const many = Array.from({ length: 1000 }, (_, index) => `fd00::${index}`);
    assert.deepEqual(dialOrder([...many, "10.0.0.1"]), ["fd00::0", "10.0.0.1", ...many.slice(1, 7)]);
  });
});

describe("a race in virtual time", () => {
  it("dials the second address 250 ms after the first, which stays silent", async () => {
    const rig = new RaceRig();
    await rig.serve("10.9.0.1");
    rig.names.place("fd00::dead", "black-hole");
    const socket = rig.race(["fd00::dead", "10.9.0.1"]);
    assert.equal(socket.remoteAddress, "shop.test:80");
    await rig.opened();
    assert.equal(rig.simulation.nowMs, 253);
    await rig.assertQuiet(1);
    assert.deepEqual(rig.ledger.dials, [
      { host: "fd00::dead", atMs: 1, outcome: "closed" },
      { host: "10.9.0.1", atMs: 251, outcome: "opened" },
    ]);
    assert.equal(socket.remoteAddress, "10.9.0.1:80");
  });

  it("dials the next at once when the youngest has been refused, and waits its whole delay again", async () => {
    const rig = new RaceRig();
    await rig.serve("10.9.0.1");
    rig.names.place("fd00::1", "refusing");
    rig.names.place("10.9.0.9", "black-hole");
    rig.race(["fd00::1", "10.9.0.9", "10.9.0.1"], { attemptDelayMs: 100 });
    await rig.opened();
    assert.deepEqual(rig.ledger.hosts, ["fd00::1", "10.9.0.9", "10.9.0.1"]);
    assert.deepEqual(rig.ledger.timesMs, [1, 2, 102]);
    await rig.assertQuiet(1);
  });

  it("reaches a peer that is further away than the delay, which Node's own cuts", async () => {
    const rig = new RaceRig();
    await rig.serve("10.9.0.1", 200);
    rig.names.place("10.9.0.2", "black-hole");
    const socket = rig.race(["10.9.0.1", "10.9.0.2"]);
    await rig.opened();
    assert.deepEqual(rig.ledger.timesMs, [1, 251]);
    assert.equal(rig.simulation.nowMs, 401);
    assert.equal(socket.remoteAddress, "10.9.0.1:80");
    await rig.assertQuiet(1);
  });

  it("is not hurried by the failure of an older dial while the youngest still has time", async () => {
    const rig = new RaceRig();
    await rig.serve("10.9.0.3");
    rig.refuse("10.9.0.1", 150);
    rig.names.place("10.9.0.2", "black-hole");
    rig.race(["10.9.0.1", "10.9.0.2", "10.9.0.3"]);
    await rig.opened();
    assert.deepEqual(rig.ledger.timesMs, [1, 251, 501]);
  });

  it("goes on with those under way when the last address has been refused", async () => {
    const rig = new RaceRig();
    await rig.serve("10.9.0.1", 400);
    rig.names.place("10.9.0.2", "refusing");
    rig.race(["10.9.0.1", "10.9.0.2"]);
    await rig.advance(300);
    assert.deepEqual(rig.owner.happenings, []);
    await rig.opened();
    assert.equal(rig.simulation.nowMs, 801);
  });

  it("sets no timer for one address, nor after the last", async () => {
    const rig = new RaceRig();
    await rig.serve("10.9.0.1", 300);
    rig.race(["10.9.0.1", "10.9.0.1"]);
    await rig.opened();
    assert.equal(rig.ledger.timersMade, 0);
    const two = new RaceRig();
    for (const host of ["10.9.0.1", "10.9.0.2"]) two.names.place(host, "black-hole");
    two.race(["10.9.0.1", "10.9.0.2"]);
    await two.advance(10_000);
    assert.equal(two.ledger.timersMade, 1);
    assert.equal(two.ledger.timers.size, 0);
  });

  it("dials eight of twenty addresses, and no more", async () => {
    const rig = new RaceRig();
    const addresses = Array.from({ length: 20 }, (_, index) => `10.9.1.${index}`);
    for (const each of addresses) rig.names.place(each, "refusing");
    rig.race(addresses);
    await rig.closed();
    assert.deepEqual(rig.ledger.hosts, addresses.slice(0, 8));
    assert.equal(
      rig.owner.error?.text,
      "no address of shop.test:80 could be reached: 10.9.1.0:80 ECONNREFUSED, 10.9.1.1:80 ECONNREFUSED, " +
        "10.9.1.2:80 ECONNREFUSED, 10.9.1.3:80 ECONNREFUSED and 4 more",
    );
  });

  it("refuses a delay out of its range, before anything is done", () => {
    const rig = new RaceRig();
    for (const attemptDelayMs of [99, 2_001, Number.NaN, -1, Number.POSITIVE_INFINITY]) {
      assert.throws(() => rig.race(["10.9.0.1"], { attemptDelayMs }), {
        name: "RangeError",
        message: `attemptDelayMs must be 100..2000, got ${attemptDelayMs}`,
      });
    }
    assert.equal(rig.ledger.resolves, 0);
  });

  it("does not dial for a delay that passed while its own process stood still", async () => {
    const rig = new RaceRig();
    await rig.serve("10.9.0.1", 60);
    rig.names.place("10.9.0.2", "black-hole");
    rig.race(["10.9.0.1", "10.9.0.2"]);
    await rig.advance(50);
    rig.simulation.freeze("client");
    await rig.advance(1000);
    rig.simulation.thaw("client");
    await rig.opened();
    assert.deepEqual(rig.ledger.hosts, ["10.9.0.1"]);
    await rig.assertQuiet(1);
  });
});

describe("a race that nobody wins", () => {
  it("tells once, with every address and its reason", async () => {
    const rig = new RaceRig();
    rig.names.place("fd00::1", "refusing");
    rig.names.place("10.9.0.9", "black-hole");
    const socket = rig.race(["fd00::1", "10.9.0.9", "203.0.113.1"]);
    await rig.closed();
    await rig.advance(10_000);
    assert.deepEqual(rig.owner.happenings, ["closed"]);
    assert.equal(rig.owner.error?.phase, "connect");
    assert.equal(rig.owner.error?.code, "ETIMEDOUT", "the last to fail");
    assert.equal(
      rig.owner.error?.text,
      "no address of shop.test:80 could be reached: [fd00::1]:80 ECONNREFUSED, 203.0.113.1:80 EHOSTUNREACH, 10.9.0.9:80 ETIMEDOUT",
    );
    await rig.assertQuiet(0);
    assertDoesNothing(rig, socket);
  });

  it("tells the one address's own error when there is one, with the name", async () => {
    const rig = new RaceRig();
    rig.names.place("10.9.0.1", "refusing");
    rig.race(["10.9.0.1"]);
    await rig.closed();
    assert.deepEqual(rig.owner.error, {
      phase: "connect",
      code: "ECONNREFUSED",
      text: "shop.test:80: 10.9.0.1:80: connect: ECONNREFUSED",
    });
  });

  it("tells a failed handshake before a refusal, for that one came further", async () => {
    const rig = new RaceRig();
    await rig.serve("10.9.0.1", 1, serverTls("require"));
    rig.names.place("10.9.0.2", "refusing");
    rig.race(["10.9.0.1", "10.9.0.2"], { tls: clientTls() });
    await rig.closed();
    const code = "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED";
    assert.deepEqual([rig.owner.error?.phase, rig.owner.error?.code], ["tls", code]);
    assert.equal(
      rig.owner.error?.text,
      `no address of shop.test:80 could be reached: 10.9.0.1:80 ${code}, 10.9.0.2:80 ECONNREFUSED` +
        `; 10.9.0.1:80: tls: refused by the server: ${code}`,
    );
  });

  it("tells that the name did not resolve, in that phase, and dials nobody", async () => {
    const rig = new RaceRig();
    rig.names.fail("shop.test", "EAI_AGAIN");
    rig.race([]);
    await rig.closed();
    assert.deepEqual(rig.owner.happenings, ["closed"]);
    assert.deepEqual(rig.owner.error, {
      phase: "resolve",
      code: "EAI_AGAIN",
      text: "shop.test:80: getaddrinfo EAI_AGAIN shop.test",
    });
    assert.equal(rig.simulation.nowMs, 1);
    await rig.assertQuiet(0);
    assert.equal(rig.ledger.dials.length, 0);
  });
});

describe("a race with TLS", () => {
  it("is won by who finishes the handshake, not by who accepts", async () => {
    const rig = new RaceRig();
    // Accepts, and has no idea what a ClientHello is.
    const mute = await rig.serve("10.9.0.1");
    await rig.serve("10.9.0.2", 1, serverTls("none"));
    const socket = rig.race(["10.9.0.1", "10.9.0.2"], { tls: clientTls() });
    await rig.opened();
    assert.ok(mute.receivedBytes > 0, "it was connected");
    assert.equal(rig.simulation.nowMs, 255, "a round trip for TCP, and one for TLS");
    assert.equal(socket.remoteAddress, "10.9.0.2:80");
    assert.equal(socket.tls?.protocol, "TLSv1.3");
    await rig.assertQuiet(1);
    await rig.advance(10);
    assert.ok(mute.isClosed || mute.happenings.includes("ended"), "the loser was let go");
  });

  it("asks every address for the name that was wanted", async () => {
    const rig = new RaceRig();
    const asked: unknown[] = [];
    const { world } = rig.ledger;
    const network: Network = {
      ...world.network,
      connect: (address, options, events) => {
        asked.push([address, options]);
        return world.network.connect(address, options, events);
      },
    };
    for (const host of ["10.9.0.1", "fd00::1"]) rig.names.place(host, "refusing");
    rig.names.set("shop.test", ["10.9.0.1", "fd00::1"]);
    const tls = clientTls();
    connectRacing({ ...world, network }, SHOP, { tls, alpn: ["h2"] }, rig.owner);
    await rig.closed();
    const options = { tls, alpn: ["h2"], name: "shop.test" };
    assert.deepEqual(asked, [
      [{ kind: "tcp", host: "10.9.0.1", port: 80 }, options],
      [{ kind: "tcp", host: "fd00::1", port: 80 }, options],
    ]);
  });
});

describe("an address that needs no race", () => {
  it("is dialled as it is: the network's own socket, no look-up, no timer", async () => {
    const addresses: readonly SocketAddress[] = [
      { kind: "unix", path: "/run/shop.sock" },
      { kind: "tcp", host: "10.9.0.1", port: 80 },
      { kind: "tcp", host: "::1", port: 80 },
      { kind: "tcp", host: "fe80::1%eth0", port: 80 },
    ];
    for (const address of addresses) {
      const rig = new RaceRig();
      const made: Socket[] = [];
      const network: Network = {
        ...rig.ledger.world.network,
        connect: (...dial) => {
          assert.equal(dial[2], rig.owner);
          made.push(rig.ledger.world.network.connect(...dial));
          return made[0] as Socket;
        },
      };
      const socket = connectRacing({ ...rig.ledger.world, network }, address, PLAIN, rig.owner);
      assert.deepEqual(made, [socket]);
      assert.deepEqual([rig.ledger.resolves, rig.ledger.timersMade], [0, 0]);
      await rig.closed();
      assert.equal(rig.owner.count("closed"), 1);
    }
  });
});
