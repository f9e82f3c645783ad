import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { SocketAddress } from "../../world/network.ts";
import { addressText, isLocal, parseAddress } from "./address.ts";

const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?$/);
const names = fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join("."));
const hosts = fc.oneof(names, fc.ipV4(), fc.ipV6());
const ports = fc.integer({ min: 0, max: 65_535 });
const addresses: fc.Arbitrary<SocketAddress> = fc.oneof(
  fc.record({ kind: fc.constant("tcp" as const), host: hosts, port: ports }, { noNullPrototype: true }),
  fc.record(
    { kind: fc.constant("unix" as const), path: fc.stringMatching(/^[a-zA-Z0-9._-][a-zA-Z0-9/._ -]{0,30}$/) },
    { noNullPrototype: true },
  ),
);

describe("an address", () => {
  it("is read back from its text as it was", () => {
    fc.assert(fc.property(addresses, (address) => assert.deepEqual(parseAddress(addressText(address), "it"), address)));
  });

  it("of anything else throws a RangeError or TypeError that shows it, and nothing else ever", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.string({ unit: "grapheme" }), fc.anything()), (given) => {
        try {
          const address = parseAddress(given, "the target");
          assert.ok(address.kind === "unix" || (address.port >= 0 && address.port <= 65_535 && address.host !== ""));
        } catch (error) {
          assert.ok(error instanceof RangeError || error instanceof TypeError, String(error));
          assert.match(error.message, /^the target must /);
        }
      }),
    );
  });

  it("may be a port alone, which is loopback's", () => {
    assert.deepEqual(parseAddress(50_051, "it"), { kind: "tcp", host: "127.0.0.1", port: 50_051 });
    assert.deepEqual(parseAddress(0, "it"), { kind: "tcp", host: "127.0.0.1", port: 0 });
    for (const port of [-1, 65_536, 0.5, Number.NaN, Infinity])
      assert.throws(() => parseAddress(port, "it"), RangeError);
  });

  it("in the forms that users write", () => {
    const tcp = (host: string, port: number): SocketAddress => ({ kind: "tcp", host, port });
    assert.deepEqual(parseAddress("[::1]:443", "it"), tcp("::1", 443));
    assert.deepEqual(parseAddress("shop.internal:443", "it"), tcp("shop.internal", 443));
    assert.deepEqual(parseAddress("unix:/run/shop.sock", "it"), { kind: "unix", path: "/run/shop.sock" });
    assert.deepEqual(parseAddress("unix:///run/shop.sock", "it"), { kind: "unix", path: "/run/shop.sock" });
    assert.deepEqual(parseAddress("unix:shop.sock", "it"), { kind: "unix", path: "shop.sock" });
    assert.equal(addressText(tcp("::1", 1)), "[::1]:1");
  });

  it("that is nearly one is refused, not guessed", () => {
    for (const text of [
      "",
      ":1",
      "a:",
      "a",
      "a:b",
      "a:1:2",
      "::1:443",
      "[::1]",
      "[]:1",
      "a b:1",
      "a/b:1",
      "a@b:1",
      "a:1x",
      "a: 1",
      "a:999999",
      "unix:",
      "unix://",
      "unix://host/path",
      "http://a:1/",
    ]) {
      assert.throws(() => parseAddress(text, "it"), RangeError, JSON.stringify(text));
    }
  });
});

describe("what is local", () => {
  it("is loopback and Unix sockets, and nothing that only looks like it", () => {
    const is = (text: string): boolean => isLocal(parseAddress(text, "it"));
    for (const text of [
      "localhost:1",
      "LOCALHOST:1",
      "127.0.0.1:1",
      "127.255.0.9:1",
      "[::1]:1",
      "[::ffff:127.0.0.1]:1",
      "unix:/x",
    ]) {
      assert.ok(is(text), text);
    }
    for (const text of [
      "0.0.0.0:1",
      "[::]:1",
      "128.0.0.1:1",
      "127.0.0.1.example.com:1",
      "localhost.example.com:1",
      "mylocalhost:1",
      "[::2]:1",
      "[2001:db8::1]:1",
      "10.0.0.1:1",
      "1127.0.0.1:1",
    ]) {
      assert.ok(!is(text), text);
    }
  });
});
