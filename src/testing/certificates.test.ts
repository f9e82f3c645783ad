import assert from "node:assert/strict";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { describe, it } from "node:test";
import fc from "fast-check";
import { makeCertificates } from "./certificates.ts";

const NOW_MS = Date.UTC(2024, 1, 29, 23, 59, 58);

describe("throw-away certificates", () => {
  it("are issued by their authority, for the names asked for, and their keys fit", () => {
    const made = makeCertificates({
      hosts: ["a.test", "10.1.2.3", "fd00::12:1"],
      clientNames: ["spiffe://house/x", "y.test"],
    });
    const [ca, server, client] = [made.caPem, made.serverCertPem, made.clientCertPem].map(
      (pem) => new X509Certificate(pem),
    );
    assert.ok(ca !== undefined && server !== undefined && client !== undefined);
    assert.equal(ca.ca, true);
    for (const leaf of [server, client]) {
      assert.equal(leaf.ca, false);
      assert.ok(leaf.checkIssued(ca));
      assert.ok(leaf.verify(ca.publicKey));
    }
    assert.equal(server.subjectAltName, "DNS:a.test, IP Address:10.1.2.3, IP Address:FD00:0:0:0:0:0:12:1");
    assert.equal(client.subjectAltName, "URI:spiffe://house/x, DNS:y.test");
    assert.ok(server.checkPrivateKey(createPrivateKey(made.serverKeyPem)));
    assert.ok(client.checkPrivateKey(createPrivateKey(made.clientKeyPem)));
    assert.deepEqual(server.keyUsage, ["1.3.6.1.5.5.7.3.1"]);
    assert.deepEqual(client.keyUsage, ["1.3.6.1.5.5.7.3.2"]);
  });

  it("come from a new authority each time", () => {
    const [one, other] = [makeCertificates(), makeCertificates()];
    const stranger = new X509Certificate(other.caPem);
    assert.equal(new X509Certificate(one.serverCertPem).checkIssued(stranger), false);
  });

  it("are over when they are asked to be", () => {
    const { serverCertPem } = makeCertificates({ isExpired: true, nowMs: NOW_MS });
    assert.equal(new X509Certificate(serverCertPem).validTo, "Feb 28 23:59:58 2024 GMT");
  });

  it("are valid from two days before any day to one day after it", () => {
    fc.assert(
      fc.property(fc.integer({ min: Date.UTC(1971, 0), max: Date.UTC(2049, 11, 30) }), (nowMs) => {
        const certificate = new X509Certificate(makeCertificates({ nowMs }).serverCertPem);
        const wholeMs = Math.floor(nowMs / 1000) * 1000;
        assert.equal(Date.parse(certificate.validFrom), wholeMs - 2 * 86_400_000);
        assert.equal(Date.parse(certificate.validTo), wholeMs + 86_400_000);
      }),
      { numRuns: 50 },
    );
  });
});
