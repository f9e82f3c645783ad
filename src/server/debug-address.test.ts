import assert from "node:assert/strict";
import { BlockList } from "node:net";
import { describe, it } from "node:test";
import fc from "fast-check";
import { debugAddress } from "./debug-address.ts";

function bytesOf(text: string): readonly number[] | string {
  const address = debugAddress(text)?.address;
  if (address?.case === "tcpipAddress") return [...address.value.ipAddress, address.value.port];
  return address === undefined ? "none" : `${address.case} ${Object.values(address.value).join()}`;
}

describe("an address for channelz", () => {
  it("is bytes and a port, a path, or a name", () => {
    const one = [...new Array<number>(15).fill(0), 1];
    assert.deepEqual(["127.0.0.1:80", "[::1]:443", "[::]:1", "[::ffff:10.0.0.9]:2", "[fe80::1%eth0]:3"].map(bytesOf), [
      [127, 0, 0, 1, 80],
      [...one, 443],
      [...new Array<number>(16).fill(0), 1],
      [...new Array<number>(10).fill(0), 255, 255, 10, 0, 0, 9, 2],
      [0xfe, 0x80, ...one.slice(2), 3],
    ]);
    assert.deepEqual(
      ["unix:/run/a", "/run/b", "shop:1", "256.1.1.1:1", "[1::2::3]:1", "[1:2]:1", "[g::]:1", "127.0.0.1", ""].map(
        bytesOf,
      ),
      [
        "udsAddress /run/a",
        "udsAddress /run/b",
        "otherAddress shop:1",
        "otherAddress 256.1.1.1:1",
        "otherAddress [1::2::3]:1",
        "otherAddress [1:2]:1",
        "otherAddress [g::]:1",
        "otherAddress 127.0.0.1",
        "none",
      ],
    );
  });

  it("has the bytes that were meant, for whatever IPv6 address", () => {
    fc.assert(
      fc.property(fc.ipV6(), (text) => {
        const bytes = bytesOf(`[${text}]:7`) as readonly number[];
        assert.equal(bytes.length, 17);
        const groups = Array.from({ length: 8 }, (_, at) =>
          ((bytes[2 * at] ?? 0) * 256 + (bytes[2 * at + 1] ?? 0)).toString(16),
        );
        const list = new BlockList();
        list.addAddress(text, "ipv6");
        assert.ok(list.check(groups.join(":"), "ipv6"), text);
      }),
    );
  });
});
