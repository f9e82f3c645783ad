import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Disk } from "../../world/disk.ts";
import { readClientTls, readServerTls } from "./tls-files.ts";

const CERT = "subject=x\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
const KEY = "-----BEGIN EC PRIVATE KEY-----\nSECRET\n-----END EC PRIVATE KEY-----\n";

const disk: Disk = {
  readText: async (path) => {
    if (path === "a.crt") return CERT;
    if (path === "ca.crt") return `${CERT}${CERT}`;
    if (path === "a.key") return KEY;
    throw Object.assign(new Error(`ENOENT: no such file or directory, open '${path}'`), { code: "ENOENT" });
  },
};

describe("TLS files", () => {
  it("reads a server's files, and requires proof from clients when their authority is given", async () => {
    assert.deepEqual(await readServerTls(disk, { certFile: "a.crt", keyFile: "a.key" }), {
      cert: CERT,
      key: KEY,
      clientCa: undefined,
      clientCert: "none",
    });
    const mutual = await readServerTls(disk, { certFile: "a.crt", keyFile: "a.key", clientCaFile: "ca.crt" });
    assert.equal(mutual.clientCa, CERT + CERT);
    assert.equal(mutual.clientCert, "require");
    const asked = { certFile: "a.crt", keyFile: "a.key", clientCaFile: "ca.crt", clientCert: "request" } as const;
    assert.equal((await readServerTls(disk, asked)).clientCert, "request");
  });

  it("reads a client's files, all of them optional", async () => {
    assert.deepEqual(await readClientTls(disk, {}), {
      ca: undefined,
      cert: undefined,
      key: undefined,
      serverName: undefined,
    });
    const files = { caFile: "ca.crt", certFile: "a.crt", keyFile: "a.key", serverName: "x.test" };
    assert.deepEqual(await readClientTls(disk, files), { ca: CERT + CERT, cert: CERT, key: KEY, serverName: "x.test" });
  });

  it("names the option, the file and the cause of a file that cannot be read", async () => {
    await assert.rejects(readServerTls(disk, { certFile: "gone.crt", keyFile: "a.key" }, "listen.tls"), (error) => {
      assert.ok(error instanceof Error);
      assert.match(error.message, /^listen\.tls\.certFile: cannot read "gone\.crt": ENOENT: no such file/);
      assert.equal((error.cause as NodeJS.ErrnoException).code, "ENOENT");
      return true;
    });
    await assert.rejects(readClientTls(disk, { caFile: "gone.ca" }), /^Error: tls\.caFile: cannot read "gone\.ca"/);
  });

  it("refuses a key for a certificate and a certificate for a key, without showing what is in the file", async () => {
    await assert.rejects(readServerTls(disk, { certFile: "a.key", keyFile: "a.key" }), (error) => {
      assert.ok(error instanceof Error);
      assert.equal(error.message, 'tls.certFile: "a.key" holds no PEM certificate');
      assert.doesNotMatch(error.message, /SECRET/);
      return true;
    });
    await assert.rejects(
      readClientTls(disk, { certFile: "a.crt", keyFile: "a.crt" }),
      /tls\.keyFile: "a\.crt" holds no PEM private key/,
    );
  });

  it("refuses options that do not belong together", async () => {
    await assert.rejects(readClientTls(disk, { certFile: "a.crt" }), /tls\.certFile needs tls\.keyFile/);
    await assert.rejects(readClientTls(disk, { keyFile: "a.key" }), /tls\.keyFile needs tls\.certFile/);
    await assert.rejects(
      readServerTls(disk, { certFile: "a.crt", keyFile: "a.key", clientCert: "require" }),
      /RangeError: tls\.clientCert needs tls\.clientCaFile/,
    );
  });
});
