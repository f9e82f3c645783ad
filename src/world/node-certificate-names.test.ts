import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { certificateNames } from "./node-certificate-names.ts";

describe("names in a certificate", () => {
  it("are its URIs and DNS names, URIs first, without addresses and repeats", () => {
    const text = "DNS:a.test, IP Address:10.0.0.1, URI:spiffe://house/a, DNS:b.test, DNS:a.test, email:x@a.test";
    assert.deepEqual(certificateNames(text), ["spiffe://house/a", "a.test", "b.test"]);
    assert.deepEqual(certificateNames(undefined), []);
    assert.deepEqual(certificateNames(""), []);
    assert.deepEqual(certificateNames("IP Address:0:0:0:0:0:0:0:1"), []);
  });

  it("do not come from within a quoted value", () => {
    assert.deepEqual(certificateNames('DNS:"a.test, DNS:evil.test", DNS:b.test'), ["a.test, DNS:evil.test", "b.test"]);
    assert.deepEqual(certificateNames('URI:"x\\", URI:spiffe://evil", DNS:b.test'), [
      'x", URI:spiffe://evil',
      "b.test",
    ]);
  });

  it("are none when the text cannot be read to its end", () => {
    for (const text of [
      'DNS:a.test, DNS:"b',
      "DNS:a.test, nothing",
      'DNS:"a"b, DNS:c',
      'DNS:a"b, DNS:c',
      "DNS:a,DNS:b",
      'DNS:"\\x"',
      "DNS:a, ",
    ]) {
      assert.deepEqual(certificateNames(text), [], text);
    }
  });

  it("survive whatever is in a value, by the way Node writes it", () => {
    const written = (value: string): string => (/^[^\s",'\\]*$/.test(value) ? value : JSON.stringify(value));
    fc.assert(
      fc.property(fc.array(fc.string({ minLength: 1 }), { minLength: 1 }), (values) => {
        const text = values.map((value) => `URI:${written(value)}`).join(", ");
        assert.deepEqual(certificateNames(text), [...new Set(values)]);
      }),
    );
  });
});
