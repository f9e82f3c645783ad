import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer as createTcpServer, type Server as TcpServer, type Socket as TcpSocket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { Bench, benchHandlers, benchServer } from "../../test/calls/bench-service.ts";
import { assertFails } from "../../test/calls/failure.ts";
import { makeCertificates } from "../testing/certificates.ts";
import type { Peer } from "../call/peer.ts";
import { createServer } from "../server/create-server.ts";
import { createClient } from "./create-client.ts";
import { createChannel } from "./channel.ts";

/** Files of one authority, its server and its client. */
interface Files {
  readonly caFile: string;
  readonly certFile: string;
  readonly keyFile: string;
  readonly clientCertFile: string;
  readonly clientKeyFile: string;
}

let folder = "";
const house = {} as { -readonly [K in keyof Files]: string };
const stranger = {} as { -readonly [K in keyof Files]: string };

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "holdfast-calls-"));
  Object.assign(house, await writeCertificates("house", { clientNames: ["spiffe://house/caller", "caller.test"] }));
  Object.assign(stranger, await writeCertificates("stranger", {}));
});
after(() => rm(folder, { recursive: true, force: true }));

async function writeCertificates(name: string, options: Parameters<typeof makeCertificates>[0]): Promise<Files> {
  const made = makeCertificates(options);
  const file = async (part: string, text: string): Promise<string> => {
    const path = join(folder, `${name}-${part}.pem`);
    await writeFile(path, text);
    return path;
  };
  return {
    caFile: await file("ca", made.caPem),
    certFile: await file("cert", made.serverCertPem),
    keyFile: await file("key", made.serverKeyPem),
    clientCertFile: await file("client-cert", made.clientCertPem),
    clientKeyFile: await file("client-key", made.clientKeyPem),
  };
}

/** A TCP server that does with each socket what the test says. */
async function tcpServer(accept: (socket: TcpSocket) => void): Promise<{ address: string; server: TcpServer }> {
  const server = createTcpServer(accept).listen(0, "127.0.0.1");
  await once(server, "listening");
  const at = server.address();
  return { server, address: `127.0.0.1:${typeof at === "object" && at !== null ? at.port : 0}` };
}

async function refusedAddress(): Promise<string> {
  const { server, address } = await tcpServer(() => {});
  server.close();
  await once(server, "close");
  return address;
}

describe("a peer that cannot be reached", () => {
  it("because nobody listens: UNAVAILABLE with address, phase and cause, at once and not after a timeout", async () => {
    const address = await refusedAddress();
    await using client = createClient(Bench, address);
    const error = await assertFails(client.add({}), "UNAVAILABLE");
    assert.equal(error.reason, "CONNECT_FAILED");
    assert.equal(error.reached, "no");
    assert.ok(error.isRepeatable);
    assert.match(error.text, new RegExp(`${address}.*ECONNREFUSED`));
    assert.match(error.verdict, /ECONNREFUSED/);
    assert.equal(client.$channel.peers()[0]?.health, "failed");
  });

  it("because its name does not exist", async () => {
    await using client = createClient(Bench, "no-such-host.invalid:443", { plaintext: true });
    const error = await assertFails(client.add({}, { timeoutMs: 20_000 }), "UNAVAILABLE");
    assert.match(error.text, /no-such-host\.invalid/);
    assert.match(error.text, /ENOTFOUND|EAI_AGAIN/);
    assert.equal(error.reached, "no");
  });

  it("because its Unix socket is not there", async () => {
    await using client = createClient(Bench, `unix:${join(folder, "nobody.sock")}`);
    const error = await assertFails(client.add({}), "UNAVAILABLE");
    assert.match(error.text, /nobody\.sock.*ENOENT|ENOENT.*nobody\.sock/);
  });

  it("because it closes each connection, or answers with something else than HTTP/2", async () => {
    for (const accept of [
      (socket: TcpSocket) => socket.destroy(),
      (socket: TcpSocket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"),
      (socket: TcpSocket) => socket.end(),
    ]) {
      const { server, address } = await tcpServer(accept);
      await using client = createClient(Bench, address);
      const error = await assertFails(client.add({}), "UNAVAILABLE");
      assert.ok(error.text.includes(address), error.text);
      assert.equal(error.reached, "no");
      server.close();
    }
  });

  it("because it never answers: connectTimeoutMs ends it", async () => {
    const sockets: TcpSocket[] = [];
    const { server, address } = await tcpServer((socket) => sockets.push(socket));
    await using client = createClient(Bench, address, { connections: { connectTimeoutMs: 50 } });
    const error = await assertFails(client.add({}), "UNAVAILABLE");
    assert.match(error.text, /did not send its HTTP\/2 SETTINGS within 50 ms/);
    await assertFails(createClient(Bench, address).add({}, { timeoutMs: 50 }), "DEADLINE_EXCEEDED");
    for (const socket of sockets) socket.destroy();
    server.close();
  });

  it("does not keep a call from one that can", async () => {
    await using server = benchServer();
    const { address } = await server.listen(0);
    await using client = createClient(Bench, [await refusedAddress(), address, await refusedAddress()]);
    for (let a = 0; a < 10; a++) assert.equal((await client.add({ a })).result, a);
    await using none = createClient(Bench, [await refusedAddress(), await refusedAddress()]);
    const error = await assertFails(none.add({}), "UNAVAILABLE");
    assert.equal(error.reason, "NO_PEER");
    assert.equal(error.text.match(/ECONNREFUSED/g)?.length, 2);
  });

  it("is found out by ready: it waits, says what it saw, and honours signal and timeout during the wait", async () => {
    const address = await refusedAddress();
    await using channel = createChannel(address);
    const late = await assertFails(channel.ready({ timeoutMs: 30 }), "UNAVAILABLE");
    assert.match(late.text, /30 ms.*ECONNREFUSED/);
    const controller = new AbortController();
    const waiting = channel.ready({ signal: controller.signal, timeoutMs: 60_000 });
    controller.abort("enough");
    assert.equal((await assertFails(waiting, "CANCELLED")).cause, "enough");
    const early = await assertFails(channel.ready({ signal: AbortSignal.abort("early") }), "CANCELLED");
    assert.equal(early.cause, "early");
    const closing = channel.ready({ timeoutMs: 60_000 });
    await channel.close();
    assert.equal((await assertFails(closing, "CANCELLED")).reason, "CLIENT_CLOSED");
    assert.throws(() => channel.ready({ timeout: 5 } as object), /did you mean "timeoutMs"/);
    await using server = benchServer();
    await using good = createChannel((await server.listen(0)).address);
    await good.ready();
    assert.deepEqual(
      good.peers().map(({ health, inFlight }) => [health, inFlight]),
      [["ready", 0]],
    );
  });
});

describe("TLS", () => {
  it("serves all kinds, with the name proven, by file names alone", async () => {
    await using server = benchServer();
    const { port } = await server.listen(0, { tls: { certFile: house.certFile, keyFile: house.keyFile } });
    for (const host of ["localhost", "127.0.0.1"]) {
      await using client = createClient(Bench, `${host}:${port}`, { tls: { caFile: house.caFile } });
      assert.equal((await client.add({ a: 1 })).result, 1);
      assert.equal((await client.echo({ data: Buffer.alloc(1_000_000) })).data.length, 1_000_000);
    }
  });

  it("by an unknown authority, or for another name, is TLS_FAILED and nothing was sent", async () => {
    let calls = 0;
    await using server = benchServer({ add: () => (calls++, {}) });
    const { address } = await server.listen(0, { tls: { certFile: house.certFile, keyFile: house.keyFile } });
    for (const [tls, words] of [
      [{ caFile: stranger.caFile }, /UNABLE_TO|unable to|SELF_SIGNED|certificate/i],
      [{}, /UNABLE_TO|unable to|certificate/i],
      [{ caFile: house.caFile, serverName: "other.test" }, /other\.test|altname/i],
    ] as const) {
      await using client = createClient(Bench, address, { tls });
      const error = await assertFails(client.add({}), "UNAVAILABLE");
      assert.equal(error.reason, "TLS_FAILED", error.text);
      assert.equal(error.reached, "no");
      assert.match(error.text, words);
      assert.ok(error.text.includes(address), error.text);
    }
    assert.equal(calls, 0);
  });

  it("on one side only is an error on the other, not a hang and no uncaught exception", async () => {
    await using secure = benchServer();
    const tlsAddress = (await secure.listen(0, { tls: { certFile: house.certFile, keyFile: house.keyFile } })).address;
    await using plain = benchServer();
    const plainAddress = (await plain.listen(0)).address;
    await using plainClient = createClient(Bench, tlsAddress);
    const refused = await assertFails(plainClient.add({}, { timeoutMs: 5_000 }), "UNAVAILABLE");
    assert.ok(refused.text.includes(tlsAddress), refused.text);
    assert.equal(refused.reached, "no");
    await using tlsClient = createClient(Bench, plainAddress, { tls: { caFile: house.caFile } });
    const wrong = await assertFails(tlsClient.add({}, { timeoutMs: 5_000 }), "UNAVAILABLE");
    assert.equal(wrong.reason, "TLS_FAILED", wrong.text);
    await using good = createClient(Bench, tlsAddress, { tls: { caFile: house.caFile } });
    assert.equal((await good.add({ a: 1 })).result, 1, "the server lives on");
  });

  it("to a peer that does not speak HTTP/2 is refused by ALPN", async () => {
    const { createServer } = await import("node:tls");
    const { readFile } = await import("node:fs/promises");
    const [cert, key] = await Promise.all([readFile(house.certFile), readFile(house.keyFile)]);
    const server = createServer({ cert, key }, (socket) => socket.on("error", () => {})).listen(0, "127.0.0.1");
    server.on("tlsClientError", () => {});
    await once(server, "listening");
    const at = server.address();
    const port = typeof at === "object" && at !== null ? at.port : 0;
    await using client = createClient(Bench, `127.0.0.1:${port}`, { tls: { caFile: house.caFile } });
    const error = await assertFails(client.add({}), "UNAVAILABLE");
    assert.match(error.text, /ALPN|h2/);
    server.close();
  });

  it("with files that are not there or hold something else fails each call and names the option", async () => {
    await using client = createClient(Bench, "127.0.0.1:1", { tls: { caFile: join(folder, "none.pem") } });
    const error = await assertFails(client.add({}), "UNAVAILABLE");
    assert.match(error.text, /tls\.caFile: cannot read .*none\.pem/);
    assert.equal(error.reason, "TLS_FAILED");
    await using keyless = createClient(Bench, "127.0.0.1:1", { tls: { certFile: house.clientCertFile } });
    assert.match((await assertFails(keyless.add({}), "UNAVAILABLE")).text, /tls\.certFile needs tls\.keyFile/);
    await using swapped = createClient(Bench, "127.0.0.1:1", { tls: { caFile: house.keyFile } });
    assert.match((await assertFails(swapped.add({}), "UNAVAILABLE")).text, /holds no PEM certificate/);
  });
});

describe("mutual TLS", () => {
  const mutual = (): { certFile: string; keyFile: string; clientCaFile: string } => ({
    certFile: house.certFile,
    keyFile: house.keyFile,
    clientCaFile: house.caFile,
  });

  it("shows the handler the caller's proven names, and the caller the server's", async () => {
    const peers: Peer[] = [];
    const seen: (Peer | undefined)[] = [];
    await using server = benchServer({ add: (_, call) => (peers.push(call.peer), {}) });
    const { address } = await server.listen(0, { tls: mutual() });
    const tls = { caFile: house.caFile, certFile: house.clientCertFile, keyFile: house.clientKeyFile };
    await using client = createClient(Bench, address, { tls });
    await client.add({}, { onReply: ({ peer }) => seen.push(peer) });
    assert.deepEqual(peers[0]?.identities, ["spiffe://house/caller", "caller.test"]);
    assert.match(peers[0]?.address ?? "", /^127\.0\.0\.1:\d+$/);
    assert.equal(seen[0]?.address, address);
    assert.ok(seen[0]?.identities.includes("localhost"), String(seen[0]?.identities));
  });

  it("refuses a caller without a certificate, or with a stranger's, before any handler", async () => {
    let calls = 0;
    await using server = benchServer({ add: () => (calls++, {}) });
    const { address } = await server.listen(0, { tls: mutual() });
    for (const own of [{}, { certFile: stranger.clientCertFile, keyFile: stranger.clientKeyFile }]) {
      await using client = createClient(Bench, address, { tls: { caFile: house.caFile, ...own } });
      const error = await assertFails(client.add({}, { timeoutMs: 5_000 }), "UNAVAILABLE");
      assert.ok(error.text.includes(address), error.text);
    }
    assert.equal(calls, 0);
  });

  it("that only asks lets a caller without a certificate in, unnamed, where anyone may call", async () => {
    const peers: Peer[] = [];
    await using server = createServer({ drain: { signals: [] } }).service(
      Bench,
      { ...benchHandlers, add: (_, call) => (peers.push(call.peer), {}) },
      { authorize: "anyone" },
    );
    const { address } = await server.listen(0, { tls: { ...mutual(), clientCert: "request" } });
    await using client = createClient(Bench, address, { tls: { caFile: house.caFile } });
    await client.add({});
    assert.deepEqual(peers[0]?.identities, []);
  });

  it("that only asks refuses a caller without a certificate where nothing else is said", async () => {
    let calls = 0;
    await using server = benchServer({ add: () => (calls++, {}) });
    const { address } = await server.listen(0, { tls: { ...mutual(), clientCert: "request" } });
    await using client = createClient(Bench, address, { tls: { caFile: house.caFile } });
    await assertFails(client.add({}), "UNAUTHENTICATED");
    assert.equal(calls, 0);
  });
});

describe("a Unix socket", () => {
  it("serves like a port, and takes the place of one whose server died", async () => {
    const path = join(folder, "calls.sock");
    const seen: Peer[] = [];
    for (let round = 0; round < 2; round++) {
      await using server = benchServer({ add: ({ a }, call) => (seen.push(call.peer), { result: a }) });
      const bound = await server.listen(`unix:${path}`);
      assert.deepEqual(bound, { address: `unix:${path}`, port: 0 });
      await using client = createClient(Bench, round === 0 ? `unix:${path}` : `unix://${path}`);
      assert.equal((await client.add({ a: 5 })).result, 5);
    }
    assert.equal(seen.length, 2);
  });
});
