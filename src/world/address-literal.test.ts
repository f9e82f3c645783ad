import assert from "node:assert/strict";
import { isIP } from "node:net";
import { describe, it } from "node:test";
import fc from "fast-check";
import { isAddressLiteral } from "./address-literal.ts";

describe("an address literal", () => {
  it("is what Node takes for one", () => {
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6(), fc.domain(), fc.webAuthority()), (host) => {
        if (host.includes(":")) return;
        assert.equal(isAddressLiteral(host), isIP(host) !== 0, host);
      }),
    );
    fc.assert(fc.property(fc.ipV4(), (host) => assert.ok(isAddressLiteral(host), host)));
    fc.assert(fc.property(fc.ipV6(), (host) => assert.ok(isAddressLiteral(host), host)));
  });

  it("has four parts of 0 to 255 without leading zeros, and nothing around them", () => {
    const octets = fc.array(
      fc.oneof(fc.nat(300).map(String), fc.constantFrom("", "00", "01", "007", "1e2", " 1", "-1")),
      {
        minLength: 1,
        maxLength: 6,
      },
    );
    fc.assert(
      fc.property(octets, (parts) => {
        const host = parts.join(".");
        assert.equal(isAddressLiteral(host), isIP(host) === 4, JSON.stringify(host));
      }),
    );
    for (const host of ["", "localhost", "127.1", "1.2.3.4.", "1.2.3.4\n", "0x7f.0.0.1", "2130706433", "a1.2.3.4"]) {
      assert.equal(isAddressLiteral(host), false, JSON.stringify(host));
    }
  });

  it("is anything with a colon, zones and IPv4 written as IPv6 included", () => {
    for (const host of ["::1", "::", "fe80::1%eth0", "::ffff:127.0.0.1"]) assert.ok(isAddressLiteral(host), host);
  });
});
