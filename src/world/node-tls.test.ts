import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect as connectRaw, type LookupFunction } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { makeCertificates } from "../testing/certificates.ts";
import {
  connectRecorded,
  listenRecorded,
  type RecordedListener,
  type RecordedListenOptions,
  type RecordedSocket,
} from "../testing/recorded-sockets.ts";
import type { ClientTlsOptions, Listener, ServerTlsOptions, SocketAddress } from "./network.ts";
import { createNodeNetwork } from "./node-network.ts";
import { deadPort } from "./testdata/dead-port.ts";

const network = createNodeNetwork();
const listeners: Listener[] = [];
after(() => Promise.all(listeners.map((listener) => listener.close())));

async function listen(options: RecordedListenOptions = {}): Promise<RecordedListener> {
  const side = await listenRecorded(network, options);
  listeners.push(side.listener);
  return side;
}

function connect(address: SocketAddress, tls?: ClientTlsOptions, alpn?: readonly string[]): RecordedSocket {
  return connectRecorded(network, address, tls, alpn);
}

async function inDirectory(work: (directory: string) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "holdfast-"));
  try {
    await work(directory);
  } finally {
    await rm(directory, { recursive: true });
  }
}

function portOf(side: RecordedListener): number {
  return side.address.kind === "tcp" ? side.address.port : assert.fail();
}

describe("TLS", () => {
  const made = makeCertificates({
    hosts: ["localhost", "127.0.0.1", "a.test"],
    clientNames: ["spiffe://house/caller", "c.test"],
  });
  const stranger = makeCertificates();
  const serverTls: ServerTlsOptions = {
    cert: made.serverCertPem,
    key: made.serverKeyPem,
    clientCa: undefined,
    clientCert: "none",
  };
  const clientTls: ClientTlsOptions = { ca: made.caPem, cert: undefined, key: undefined, serverName: undefined };
  const mutual: ServerTlsOptions = { ...serverTls, clientCa: made.caPem, clientCert: "require" };
  const identified: ClientTlsOptions = { ...clientTls, cert: made.clientCertPem, key: made.clientKeyPem };

  it("carries bytes both ways, and both sides know what was proved", async () => {
    const side = await listen({ tls: serverTls, alpn: ["h2"] });
    const client = connect(side.address, clientTls, ["h2", "http/1.1"]);
    client.socket.write(Buffer.from("early "));
    const server = await side.accepted();
    await client.seen.has("opened");
    client.socket.writeAll([Buffer.from("and "), Buffer.from("late")]);
    await server.seen.until(() => server.seen.text === "early and late");
    server.socket.write(Buffer.from("yes"));
    await client.seen.until(() => client.seen.text === "yes");
    assert.deepEqual(client.socket.tls, { protocol: "TLSv1.3", alpn: "h2", identities: ["localhost", "a.test"] });
    assert.deepEqual(server.socket.tls, { protocol: "TLSv1.3", alpn: "h2", identities: [] });
    await client.seen.has("drained");
    client.socket.end();
    await server.seen.has("ended");
    server.socket.write(Buffer.from(" and goodbye"));
    server.socket.end();
    await Promise.all([client.seen.has("closed"), server.seen.has("closed")]);
    assert.equal(client.seen.text, "yes and goodbye");
    assert.equal(client.seen.error, undefined);
    assert.equal(server.seen.error, undefined);
  });

  it("carries megabytes through a pause on either side", async () => {
    const side = await listen({ tls: serverTls });
    const client = connect(side.address, clientTls);
    client.socket.pause();
    const server = await side.accepted();
    await client.seen.has("opened");
    const chunk = Buffer.alloc(1024 * 1024, 7);
    for (let i = 0; i < 16; i += 1) server.socket.write(chunk);
    assert.ok(server.socket.queuedBytes > 4 * chunk.length);
    client.socket.resume();
    await Promise.all([
      server.seen.has("drained"),
      client.seen.until(() => client.seen.byteLength === 16 * chunk.length),
    ]);
    assert.equal(server.socket.queuedBytes, 0);
    client.socket.destroy();
    server.socket.destroy();
  });

  it("asks before the handshake whether there is room, and says how many handshakes are under way", async () => {
    const asked: number[] = [];
    let isFull = false;
    const side = await listen({
      tls: serverTls,
      hasRoom: (opening) => {
        asked.push(opening);
        return !isFull;
      },
    });
    const client = connect(side.address, clientTls);
    const server = await side.accepted();
    // Two begin and say nothing; of the one that has shaken hands nothing is counted.
    const silent = [connectRaw(portOf(side), "127.0.0.1"), connectRaw(portOf(side), "127.0.0.1")];
    await Promise.all(silent.map((socket) => once(socket, "connect")));
    const next = connect(side.address, clientTls);
    await side.accepted();
    assert.deepEqual(asked, [0, 0, 1, 2]);
    isFull = true;
    const refused = connect(side.address, clientTls);
    await refused.seen.has("closed");
    assert.equal(side.sockets.length, 2);
    for (const socket of silent) socket.destroy();
    for (const { socket } of [client, server, next]) socket.destroy();
    await server.seen.has("closed");
    isFull = false;
    const last = connect(side.address, clientTls);
    await side.accepted();
    last.socket.destroy();
    assert.equal(asked.length, 6);
    assert.ok((asked[5] ?? 9) <= 2, "who is gone is not counted");
  });

  it("knows the client's names, and lets no client in without a certificate where one is required", async () => {
    const side = await listen({ tls: mutual });
    const client = connect(side.address, identified);
    const server = await side.accepted();
    assert.deepEqual(server.socket.tls?.identities, ["spiffe://house/caller", "c.test"]);
    client.socket.destroy();
    const anonymous = connect(side.address, clientTls);
    await anonymous.seen.has("closed");
    assert.equal(anonymous.seen.error?.phase, "tls");
    assert.match(anonymous.seen.error?.code ?? "", /CERTIFICATE_REQUIRED/);
    assert.match(
      anonymous.seen.error?.text ?? "",
      /^127\.0\.0\.1:\d+: tlsv13 alert certificate required \(ERR_SSL_\w+\)$/,
    );
    const unknown = connect(side.address, { ...clientTls, cert: stranger.clientCertPem, key: stranger.clientKeyPem });
    await unknown.seen.has("ended", "closed");
    unknown.socket.destroy();
    assert.equal(side.sockets.length, 1);
    server.socket.destroy();
  });

  it("knows a client by its common name where its certificate has no other", async () => {
    const old = makeCertificates({ clientNames: [] });
    const side = await listen({
      tls: { cert: old.serverCertPem, key: old.serverKeyPem, clientCa: old.caPem, clientCert: "require" },
    });
    const tls = { ca: old.caPem, cert: old.clientCertPem, key: old.clientKeyPem, serverName: undefined };
    const client = connect(side.address, tls);
    assert.deepEqual((await side.accepted()).socket.tls?.identities, ["CN=nobody"]);
    client.socket.destroy();
  });

  it("lets a client without a certificate in where one is requested, but none with a false one", async () => {
    const side = await listen({ tls: { ...mutual, clientCert: "request" } });
    const anonymous = connect(side.address, clientTls);
    assert.deepEqual((await side.accepted()).socket.tls?.identities, []);
    const unknown = connect(side.address, { ...clientTls, cert: stranger.clientCertPem, key: stranger.clientKeyPem });
    await unknown.seen.has("ended", "closed");
    const known = connect(side.address, identified);
    assert.equal((await side.accepted()).socket.tls?.identities[0], "spiffe://house/caller");
    assert.equal(side.sockets.length, 2);
    for (const each of [anonymous, unknown, known]) each.socket.destroy();
  });

  const refusals: readonly [string, ServerTlsOptions, ClientTlsOptions, RegExp][] = [
    [
      "an unknown authority",
      serverTls,
      { ...clientTls, ca: stranger.caPem },
      /UNABLE_TO_(GET_ISSUER_CERT_LOCALLY|VERIFY_LEAF_SIGNATURE)/,
    ],
    ["an authority that Node does not know", serverTls, { ...clientTls, ca: undefined }, /UNABLE_TO|SELF_SIGNED/],
    ["another name", serverTls, { ...clientTls, serverName: "b.test" }, /ERR_TLS_CERT_ALTNAME_INVALID/],
    ["another address", serverTls, { ...clientTls, serverName: "10.0.0.1" }, /ERR_TLS_CERT_ALTNAME_INVALID/],
  ];
  for (const [what, server, client, code] of refusals) {
    it(`is refused by a client for ${what}`, async () => {
      const side = await listen({ tls: server });
      const refused = connect(side.address, client);
      await refused.seen.has("closed");
      assert.deepEqual(refused.seen.told, ["closed"]);
      assert.equal(refused.seen.error?.phase, "tls");
      assert.match(refused.seen.error?.code ?? "", code);
      assert.match(refused.seen.error?.text ?? "", /127\.0\.0\.1:\d+/);
    });
  }

  it("is refused by a client for a certificate that is over", async () => {
    const old = makeCertificates({ isExpired: true });
    const side = await listen({ tls: { ...serverTls, cert: old.serverCertPem, key: old.serverKeyPem } });
    const client = connect(side.address, { ...clientTls, ca: old.caPem });
    await client.seen.has("closed");
    assert.deepEqual([client.seen.error?.phase, client.seen.error?.code], ["tls", "CERT_HAS_EXPIRED"]);
  });

  it("verifies names and addresses, and serverName instead of the host", async () => {
    const side = await listen({ tls: serverTls });
    for (const [host, serverName] of [
      ["127.0.0.1", undefined],
      ["localhost", undefined],
      ["127.0.0.1", "a.test"],
      ["localhost", "127.0.0.1"],
    ] as const) {
      const client = connect({ kind: "tcp", host, port: portOf(side) }, { ...clientTls, serverName });
      await client.seen.until(() => client.seen.told.length > 0);
      assert.deepEqual(client.seen.told, ["opened"], `${host} as ${serverName}: ${client.seen.error?.text}`);
      client.socket.destroy();
    }
  });

  it("goes to the next address of a name when the first refuses", async () => {
    const lookup: LookupFunction = (_, __, callback) =>
      process.nextTick(() =>
        callback(null, [
          { address: "127.0.0.2", family: 4 },
          { address: "127.0.0.1", family: 4 },
        ]),
      );
    const byName = createNodeNetwork({ lookup });
    const side = await listen({ tls: serverTls });
    const address: SocketAddress = { kind: "tcp", host: "a.test", port: portOf(side) };
    const client = connectRecorded(byName, address, clientTls);
    await client.seen.has("opened", "closed");
    assert.deepEqual(client.seen.told, ["opened"], client.seen.error?.text);
    client.socket.destroy();
    await side.listener.close();
    const refused = connectRecorded(byName, address, clientTls);
    await refused.seen.has("closed");
    assert.deepEqual([refused.seen.error?.phase, refused.seen.error?.code], ["connect", "ECONNREFUSED"]);
  });

  it("refuses a handshake without a common protocol, and lets a client in that names none", async () => {
    const side = await listen({ tls: serverTls, alpn: ["h2"] });
    const wrong = connect(side.address, clientTls, ["http/1.1"]);
    await wrong.seen.has("closed");
    assert.deepEqual(wrong.seen.told, ["closed"]);
    assert.equal(wrong.seen.error?.phase, "tls");
    assert.match(wrong.seen.error?.code ?? "", /NO_APPLICATION_PROTOCOL/);
    const silent = connect(side.address, clientTls);
    const server = await side.accepted();
    assert.equal(server.socket.tls?.alpn, undefined);
    silent.socket.destroy();
    assert.equal(side.sockets.length, 1);
  });

  it("says that a handshake was cut, or answered by something that is no TLS", async () => {
    const cutting = await listen({
      onAccept: (socket) => {
        socket.end();
      },
    });
    const cut = connect(cutting.address, clientTls);
    await cut.seen.has("closed");
    assert.deepEqual(cut.seen.told, ["closed"]);
    assert.deepEqual([cut.seen.error?.phase, cut.seen.error?.code], ["tls", "ECONNRESET"]);
    const babbling = await listen({
      onAccept: (socket) => {
        socket.write(Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n"));
      },
    });
    const answered = connect(babbling.address, clientTls);
    await answered.seen.has("closed");
    assert.equal(answered.seen.error?.phase, "tls");
    using dead = await deadPort();
    const { port } = dead;
    const nobody = connect({ kind: "tcp", host: "127.0.0.1", port }, clientTls);
    await nobody.seen.has("closed");
    assert.deepEqual([nobody.seen.error?.phase, nobody.seen.error?.code], ["connect", "ECONNREFUSED"]);
  });

  it("survives clients that speak no TLS, say nothing or leave, and cuts those that take too long", async () => {
    const side = await listen({ tls: serverTls, handshakeTimeoutMs: 50 });
    const plain = connect(side.address);
    plain.socket.write(Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
    const silent = connect(side.address);
    const gone = connectRaw(portOf(side), "127.0.0.1");
    await once(gone, "connect");
    gone.resetAndDestroy();
    await Promise.all([plain, silent].map((each) => each.seen.has("ended", "closed")));
    plain.socket.destroy();
    silent.socket.destroy();
    const client = connect(side.address, clientTls);
    // The client is the first that is accepted. It may open before the server does.
    await Promise.all([client.seen.has("opened"), side.accepted()]);
    client.socket.destroy();
    assert.equal(side.sockets.length, 1);
    assert.deepEqual(side.failures, []);
  });

  it("tells by closed that a PEM text cannot be read", async () => {
    const side = await listen({ tls: serverTls });
    const client = connect(side.address, { ...clientTls, cert: "nothing", key: "nothing" });
    await client.seen.has("closed");
    assert.equal(client.seen.error?.phase, "tls");
  });

  it("works on a Unix socket, and when destroyed in the middle of a handshake", () =>
    inDirectory(async (directory) => {
      const address: SocketAddress = { kind: "unix", path: join(directory, "t.sock") };
      const side = await listen({ address, tls: serverTls });
      const client = connect(address, clientTls);
      await client.seen.has("opened");
      client.socket.destroy();
      const cut = connect(address, clientTls);
      cut.socket.destroy();
      await Promise.all([client.seen.has("closed"), cut.seen.has("closed")]);
      assert.deepEqual(cut.seen.told, ["closed"]);
      assert.equal(cut.seen.error, undefined);
      await side.listener.close();
    }));
});
